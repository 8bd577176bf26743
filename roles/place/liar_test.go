package place

import (
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sched/lc"
)

// What a node says of its capacity decides where lcsched sends orders, and nothing
// else: the node itself takes what it has, so that what it promised and has not is
// refused there and goes elsewhere. A node that claims too much, that hides what it
// holds, or whose report makes no sense costs the others a detour; every order runs,
// and no node ever holds more than it has.
func TestBadInput_ANodeThatLiesAboutItsCapacity(t *testing.T) {
	for _, c := range []struct {
		name string
		lie  func(*lc.Report)
		runs bool // procs on the liar, as many as it really has room for
	}{
		{"it claims sixteen times what it has", func(r *lc.Report) { r.MCPU, r.Memory = 16*r.MCPU, 16*r.Memory }, true},
		{"it claims more of one thing alone", func(r *lc.Report) { r.MCPU = 64_000 }, true},
		{"it hides what it holds", func(r *lc.Report) { r.Held = nil }, true},
		{"it claims just what fits best, whatever it holds", func(r *lc.Report) { r.MCPU, r.Held = 400, nil }, true},
		{"it has less than nothing", func(r *lc.Report) { r.MCPU = -r.MCPU }, false},
		{"it is larger than any machine", func(r *lc.Report) { r.Memory = api.MaxMemory + 1 }, false},
		{"it holds procs of nobody", func(r *lc.Report) { r.Held = []lc.Held{{ID: "x"}} }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, 1)
			for i := range uint16(3) {
				w.start(i+1, 1000, 1<<30)
			}
			liar := w.nodes[3]
			liar.says = func(m any) any {
				if r, ok := m.(report); ok {
					c.lie(&r.r)
					return r
				}
				return m
			}
			w.gossip()
			if by := w.lcschedOf(t); by == liar.number {
				t.Fatal("the liar is lcsched, and believes itself")
			}
			w.pass(100 * time.Millisecond)
			most := 0
			for range 40 { // 400 of 1000 mCPU each: two on a node at a time
				if _, err := w.nodes[1].spawn(lcDesc(400, 1)); err != nil {
					t.Fatal(err)
				}
				w.pass(5 * time.Millisecond)
				most = max(most, len(liar.runs))
			}
			for end := w.clk.Monotonic() + time.Minute; len(w.ends) < 40 && w.clk.Monotonic() < end; most = max(most, len(liar.runs)) {
				w.pass(10 * time.Millisecond)
			}
			if got := w.count(); got[api.Exited] != 40 {
				t.Errorf("%v; want all 40 to have run", got)
			}
			if most > 2 || (most > 0) != c.runs {
				t.Errorf("the liar ran %d at once, has room for 2; want some: %v", most, c.runs)
			}
		})
	}
}

// lcschedOf is the node that all take for lcsched.
func (w *world) lcschedOf(t *testing.T) uint16 {
	t.Helper()
	by := w.nodes[1].view.lcsched
	for _, n := range w.nodes {
		if n.view.lcsched != by || by == 0 {
			t.Fatalf("node %d takes %d for lcsched, node 1 takes %d", n.number, n.view.lcsched, by)
		}
	}
	return by
}
