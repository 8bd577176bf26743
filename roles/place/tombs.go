package place

import "sigmaos/api"

// maxTombs bounds the drops that a node remembers.
const maxTombs = 1 << 16

// tombs are procs that are not to start here, the newest ones.
type tombs struct {
	set  map[api.ProcID]struct{}
	ring []api.ProcID
	next int
}

func (t *tombs) add(id api.ProcID) {
	if t.has(id) {
		return
	}
	if t.set == nil {
		t.set = make(map[api.ProcID]struct{})
	}
	if len(t.ring) < maxTombs {
		t.ring = append(t.ring, id)
	} else {
		delete(t.set, t.ring[t.next])
		t.ring[t.next] = id
		t.next = (t.next + 1) % maxTombs
	}
	t.set[id] = struct{}{}
}

func (t *tombs) has(id api.ProcID) bool {
	_, ok := t.set[id]
	return ok
}
