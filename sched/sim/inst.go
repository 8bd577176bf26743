package sim

import (
	"fmt"
	"time"

	"sigmaos/sched/elect"
	"sigmaos/sched/pull"
)

// world is one simulation.
type world struct {
	engine
	cfg      Config
	records  records
	stats    *stats
	cur      []*inst   // by number, from 1; the latest boot
	versions []version // of what gossip tells
	links    map[[2]uint16]time.Duration
	epoch    uint64 // the last that etcd gave out
	spawned  int
	spread   int  // of those, in groups
	live     int  // without a final status
	down     int  // machines that are dead
	quiet    bool // nothing is spawned, and nothing dies or is lost, any more
}

// version is the cluster between two changes.
type version struct {
	shards  []uint16
	serving []uint16 // those, and shards of before that are not empty yet
	nodes   int
	lcsched uint16 // 0 is none
}

// inst is one boot of a node, with all roles that it may have.
type inst struct {
	*world
	number uint16
	boot   uint32
	domain string
	dead   bool
	died   int            // version that tells of it; 0 is none
	view   int            // the latest version that gossip has told it
	tombs  map[*proc]bool // it was asked for them and did not know them

	homeState
	nodeState
	shardState
	lcState
}

// roles that every node offers.
var roles = []string{"node", "besched", "lcsched"}

// start starts a node, or starts it again.
func (w *world) start(number uint16) *inst {
	n := &inst{world: w, number: number, boot: 1, view: -1, tombs: make(map[*proc]bool)}
	if w.cfg.Domains > 0 {
		n.domain = fmt.Sprint("rack", int(number)%w.cfg.Domains)
	}
	if old := w.cur[number]; old != nil {
		n.boot = old.boot + 1
	}
	n.initNode()
	w.cur[number] = n
	return n
}

// changed makes a version of who is there now, and gossip tells all of it in time.
func (w *world) changed(died *inst) {
	v := len(w.versions)
	members := make([]elect.Member, 0, len(w.cur))
	var ver version
	for _, n := range w.cur {
		if n == nil || n.dead {
			continue
		}
		members = append(members, elect.Member{Number: n.number, Roles: roles})
		if n.shard != nil && !n.takes && n.shard.Queue.Len() > 0 {
			ver.serving = append(ver.serving, n.number)
		}
	}
	ver.nodes = len(members)
	ver.shards = elect.Shards(members, w.cfg.Shards)
	ver.serving = append(ver.serving, ver.shards...)
	ver.lcsched, _ = elect.One(members, "lcsched", "")
	w.versions = append(w.versions, ver)
	from, to := time.Duration(0), w.cfg.Notice/3
	if died != nil {
		died.died = v
		from, to = w.cfg.Notice/3, w.cfg.Notice
	}
	for _, n := range w.cur {
		if n != nil && !n.dead {
			w.after(w.between(from, to), func() { n.see(v) })
		}
	}
}

// see is gossip telling n of a version, and of all before it.
func (n *inst) see(v int) {
	if n.dead || v <= n.view {
		return
	}
	n.view = v
	ver := &n.versions[v]
	n.records.node.note(n, op[*pull.Puller]{do: func(p *pull.Puller) { p.SetShards(ver.serving, ver.nodes) }})
	n.puller.SetShards(ver.serving, ver.nodes)
	n.seeShard(ver)
	n.seeLC(ver)
	n.seeHome()
	n.tick()
}

// knowsDead says whether n knows that o is dead.
func (n *inst) knowsDead(o *inst) bool { return o.died > 0 && o.died <= n.view }

// kill is the death of a machine. It comes back.
func (w *world) kill(n *inst) {
	if n.dead {
		return
	}
	n.dead = true
	w.stats.deaths++
	w.down++
	w.stats.died(n)
	n.dieNode()
	n.dieShard()
	n.dieLC()
	n.dieHome()
	w.changed(n)
	w.after(w.between(time.Second, 10*time.Second), func() {
		w.down--
		b := w.start(n.number)
		w.changed(nil)
		b.see(len(w.versions) - 1)
	})
}

// someone is a living node, drawn evenly; nil if none is found.
func (w *world) someone() *inst {
	for range 20 {
		if n := w.cur[1+w.rng.IntN(w.cfg.Nodes)]; !n.dead {
			return n
		}
	}
	return nil
}
