package place

import (
	"testing"
	"time"

	"sigmaos/api"
)

func nearDesc(nodes ...string) api.ProcDesc {
	d := beDesc(1)
	d.Near = nodes
	return d
}

// idleWorld has nodes of one core whose procs take a while, and that have all asked.
func idleWorld(t *testing.T, nodes int) *world {
	w := newWorld(t, 1)
	w.work = 3e8
	for i := range uint16(nodes) {
		w.start(i+1, 1000, 1<<30)
	}
	w.gossip()
	w.pass(200 * time.Millisecond)
	return w
}

// runsOn is the node that runs a proc; 0 is none.
func (w *world) runsOn(id api.ProcID) uint16 {
	for _, n := range w.nodes {
		if n.runs[id] != nil {
			return n.number
		}
	}
	return 0
}

// Whoever spawns: a proc runs on the node that it names, where that is idle; on any,
// as soon as others, where it is not, or where there is none of that name.
func TestProcsRunOnTheNodesThatTheyName(t *testing.T) {
	for from := range uint16(4) {
		w := idleWorld(t, 4)
		spawn := func(d api.ProcDesc) uint16 {
			t.Helper()
			id, err := w.nodes[from+1].spawn(d)
			if err != nil {
				t.Fatal(err)
			}
			w.pass(5 * time.Millisecond)
			return w.runsOn(id)
		}
		if on := spawn(nearDesc("n3")); on != 3 {
			t.Errorf("spawned at %d: near n3, on %d", from+1, on)
		}
		if on := spawn(nearDesc("n3", "n9", "n2")); on != 2 {
			t.Errorf("spawned at %d: near n3, which is busy, or n2: on %d", from+1, on)
		}
		if on := spawn(nearDesc("n3", "n2")); on != 1 && on != 4 {
			t.Errorf("spawned at %d: near two that are busy, on %d after 5 ms", from+1, on)
		}
		if on := spawn(nearDesc("n9")); on == 0 {
			t.Errorf("spawned at %d: near a node that is not there, on none after 5 ms", from+1)
		}
		w.pass(5 * time.Second)
		if got := w.count(); got[api.Exited] != 4 {
			t.Errorf("%v", got)
		}
	}
}

// A node that was idle and then says nothing costs who names it 10 ms, once.
func TestBadInput_ANodeThatDoesNotAskForWhatItIsToldOf(t *testing.T) {
	w := idleWorld(t, 3)
	w.nodes[3].says = func(m any) any {
		if _, ok := m.(ask); ok {
			return nil
		}
		return m
	}
	for i, want := range []time.Duration{12 * time.Millisecond, 3 * time.Millisecond} {
		id, err := w.nodes[1].spawn(nearDesc("n3"))
		if err != nil {
			t.Fatal(err)
		}
		for took := time.Duration(0); w.runsOn(id) == 0; took += time.Millisecond {
			if took > want {
				t.Fatalf("proc %d, near a node that says nothing, has not begun after %v", i, took)
			}
			w.clk.Advance(time.Millisecond)
		}
	}
	w.pass(5 * time.Second)
	if got := w.count(); got[api.Exited] != 2 {
		t.Errorf("%v", got)
	}
}

// The node that all name dies: what it had is lost, and nothing else, from the moment
// of its death on.
func TestFAULTS_F2_TheNamedNodeDies(t *testing.T) {
	w := idleWorld(t, 3)
	spawn := func(n int) (all []api.ProcID) {
		for range n {
			id, err := w.nodes[1].spawn(nearDesc("n3"))
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, id)
			w.pass(time.Millisecond)
		}
		return all
	}
	before := spawn(15)
	w.kill(3)
	after := spawn(15)
	w.pass(30 * time.Second)
	for _, id := range append(before, after...) {
		if _, ended := w.ends[id]; !ended {
			t.Errorf("%s has no final status", id)
		}
	}
	for i, id := range after {
		if st := w.ends[id].Status; st.State != api.Exited {
			t.Errorf("proc %d after the death: %v", i, st)
		}
	}
}
