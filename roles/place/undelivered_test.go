package place

import (
	"slices"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/net/talk"
	"sigmaos/sched/elect"
)

// underWay steps until a message of node a to node b is under way for which is holds.
func (w *world) underWay(a, b uint16, is func(m any) bool) {
	w.t.Helper()
	c, side := w.conv(a, b)
	for range 100_000 {
		for _, f := range c.queue[side] {
			if !f.arrived && is(f.m) {
				return
			}
		}
		w.clk.Advance(time.Microsecond)
	}
	w.t.Fatalf("nothing of that is ever on its way from node %d to node %d", a, b)
}

// endsLost wants a proc to be lost, and never started.
func (w *world) endsLost(id api.ProcID) {
	w.t.Helper()
	if r, ok := w.ends[id]; !ok || r.Status.State != api.Lost || w.starts[id] != 0 {
		w.t.Errorf("it ended %+v, %v, and was started %d times; want it lost, and started nowhere", r.Status, ok, w.starts[id])
	}
	w.settle([]api.ProcID{id})
}

// A decision of lcsched whose conversation ended may have arrived. It is not made
// anew, though another node has room: its home is told that the proc is lost, also
// where lcsched has forgotten the node and all that it gave it.
func TestFAULTS_F29_AnUndeliveredDecisionIsNotMadeAnew(t *testing.T) {
	for _, c := range []struct {
		name      string
		arrives   bool // of which lcsched does not know
		forgotten bool // gossip at lcsched takes the node for dead
	}{
		{name: "it has not arrived"}, {name: "it has arrived", arrives: true},
		{name: "its node is forgotten", forgotten: true}, {name: "its node is forgotten and it has arrived", arrives: true, forgotten: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			home, master, best := w.lcWorld()
			id, err := home.spawn(lcDesc(600, 1))
			if err != nil {
				t.Fatal(err)
			}
			w.underWay(master, best, func(m any) bool { d, ok := m.(decide); return ok && d.o.ID == id })
			for c.arrives && w.starts[id] == 0 {
				w.clk.Advance(time.Microsecond)
			}
			if c.forgotten {
				w.nodes[master].SetMembers(slices.DeleteFunc(w.members(), func(m Member) bool { return m.Number == best }))
			}
			w.breakUp(master, best)
			w.pass(5 * time.Second)
			w.gossip()
			if !c.arrives {
				w.endsLost(id)
				return
			}
			w.settle([]api.ProcID{id})
			if w.starts[id] != 1 {
				t.Errorf("it was started %d times", w.starts[id])
			}
		})
	}
}

// lcWorld has four nodes: a home and lcsched, which are small, and two others, of
// which best is the one that lcsched takes for 600 mCPU.
func (w *world) lcWorld() (home *machine, master, best uint16) {
	var all []elect.Member
	for i := range uint16(4) {
		all = append(all, elect.Member{Number: i + 1, Roles: []string{"lcsched"}})
	}
	master, _ = elect.One(all, "lcsched", "")
	for i := range uint16(4) {
		number, mcpu := i+1, int64(1000)
		switch {
		case number == master:
			mcpu = 100
		case home == nil:
			mcpu = 100
		case best == 0:
			best, mcpu = number, 700
		}
		n := w.start(number, mcpu, 1<<30)
		if number != master && home == nil {
			home = n
		}
	}
	w.gossip()
	w.pass(50 * time.Millisecond)
	return home, master, best
}

// What a node gives back may be lost on the way to the shard. Nobody would start the
// proc any more, so its home is told, and its waits end.
func TestFAULTS_F29_AnUndeliveredGiveBackIsReported(t *testing.T) {
	w := newWorld(t, 1)
	home, shard, node := w.start(1, 1000, 64<<20), w.start(2, 1000, 64<<20), w.start(3, 1000, 1<<30)
	w.gossip()
	w.pass(50 * time.Millisecond)
	node.Quit()
	d := beDesc(1)
	o := &Order{ID: api.NewProcID("p", home.number, home.boot), Realm: "r", Desc: &d}
	home.home.live[o.ID] = &entry{o: o, at: shard.number, to: node.number}
	node.Receive(talk.Peer{Number: shard.number, Boot: 1}, []any{grant{orders: []*Order{o}}})
	w.underWay(node.number, shard.number, func(m any) bool { b, ok := m.(back); return ok && b.o.ID == o.ID })
	w.breakUp(node.number, shard.number)
	w.pass(5 * time.Second)
	w.endsLost(o.ID)
}
