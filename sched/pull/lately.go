package pull

import "sigmaos/sched/be"

// lately are the programs of the procs that a node was given last, newest first. It
// has run them, or is about to, and so has them in its cache: that is all that a
// shard needs to know for a tie-break, and no node has to say it. Programs that the
// node had from elsewhere, or has dropped meanwhile, cost no more than that procs
// which came together change places in vain, or do not.
type lately struct {
	list [remembered]program
	n    int
}

// remembered is how many programs of a node a shard knows.
const remembered = 32

// program is one of a realm: caches are kept apart.
type program struct{ realm, digest string }

func programOf(it be.Item) program { return program{it.Realm, it.Digest} }

func (l *lately) has(p program) bool {
	for i := range l.n {
		if l.list[i] == p {
			return true
		}
	}
	return false
}

// add makes p the newest.
func (l *lately) add(p program) {
	if p.digest == "" || l.n > 0 && l.list[0] == p {
		return
	}
	at := 0
	for at < l.n && l.list[at] != p {
		at++
	}
	if at == l.n {
		if l.n < remembered {
			l.n++
		} else {
			at--
		}
	}
	copy(l.list[1:at+1], l.list[:at])
	l.list[0] = p
}
