package place

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/net/talk"
	"sigmaos/sched/lc"
	"sigmaos/sched/pull"
)

func beDesc(mib int64) api.ProcDesc { return api.ProcDesc{Program: "/bin/p", Memory: mib << 20} }

func lcDesc(mcpu, mib int64) api.ProcDesc {
	return api.ProcDesc{Program: "/bin/p", Class: api.LC, MCPU: mcpu, Memory: mib << 20}
}

// count tallies how procs ended.
func (w *world) count() map[api.State]int {
	out := make(map[api.State]int)
	for _, r := range w.ends {
		out[r.Status.State]++
	}
	return out
}

func TestOneNodeStartsWithinTheCall(t *testing.T) {
	w := newWorld(t, 1)
	n := w.start(1, 2000, 1<<30)
	w.gossip()
	for range 10 {
		id, err := n.spawn(beDesc(64))
		if err != nil || w.starts[id] != 1 {
			t.Fatalf("%v, started %d times when Submit returned", err, w.starts[id])
		}
	}
	for range 20 {
		n.spawn(beDesc(64)) // no room for 14 of them
	}
	if len(w.starts) != 16 {
		t.Errorf("%d are started in a memory for 16", len(w.starts))
	}
	w.pass(time.Second)
	if got := w.count(); got[api.Exited] != 30 {
		t.Errorf("%v", got)
	}
}

func TestProcsGoWhereRoomIs(t *testing.T) {
	w := newWorld(t, 1)
	for i := range uint16(4) {
		w.start(i+1, 2000, 1<<30)
	}
	w.gossip()
	w.pass(100 * time.Millisecond)
	for range 40 {
		if _, err := w.nodes[1].spawn(beDesc(1)); err != nil {
			t.Fatal(err)
		}
	}
	w.pass(5 * time.Millisecond)
	for i := range uint16(4) {
		if n := len(w.nodes[i+1].runs); n < 2 {
			t.Errorf("node %d runs %d while others wait", i+1, n)
		}
	}
	w.pass(5 * time.Second)
	if got := w.count(); got[api.Exited] != 40 {
		t.Errorf("%v", got)
	}
}

func TestLCGoesToTheBestFit(t *testing.T) {
	w := newWorld(t, 1)
	w.start(1, 4000, 1<<30)
	w.start(2, 2000, 1<<30)
	w.start(3, 1000, 1<<30)
	w.gossip()
	w.pass(50 * time.Millisecond)
	for _, c := range []struct {
		mcpu int64
		node uint16
	}{{1000, 3}, {2000, 2}, {2000, 1}, {1500, 1}} {
		id, err := w.nodes[1].spawn(lcDesc(c.mcpu, 1))
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Millisecond)
		if w.nodes[c.node].runs[id] == nil {
			t.Errorf("%d mCPU are not on node %d", c.mcpu, c.node)
		}
	}
	id, err := w.nodes[2].spawn(lcDesc(5000, 1))
	w.pass(10 * time.Millisecond)
	if err == nil && w.ends[id].Status.State != api.Refused || err == nil && !strings.Contains(w.ends[id].Status.Message, "4000") {
		t.Errorf("too large for any: %v, %+v", err, w.ends[id])
	}
}

func TestKillOfWhatWaits(t *testing.T) {
	w := newWorld(t, 1)
	w.start(1, 1000, 64<<20)
	w.start(2, 1000, 64<<20)
	w.gossip()
	w.pass(50 * time.Millisecond)
	var ids []api.ProcID
	for range 10 {
		id, _ := w.nodes[1].spawn(beDesc(64))
		ids = append(ids, id)
	}
	w.pass(500 * time.Microsecond)
	for _, id := range ids {
		w.nodes[1].Kill(id, api.Killed, "enough", 0)
	}
	w.pass(10 * time.Millisecond)
	if got := w.count(); got[api.Killed] != 10 {
		t.Errorf("%v", got)
	}
	if len(w.nodes[1].runs)+len(w.nodes[2].runs) != 0 {
		t.Error("some still run")
	}
}

// A node that drains takes nothing new.
func TestDraining(t *testing.T) {
	w := newWorld(t, 1)
	w.start(1, 1000, 1<<30)
	w.start(2, 4000, 1<<30)
	w.nodes[2].draining = true
	w.gossip()
	w.pass(50 * time.Millisecond)
	for range 20 {
		w.nodes[2].spawn(beDesc(1))
		w.nodes[2].spawn(lcDesc(100, 1))
	}
	w.pass(10 * time.Millisecond)
	if n := len(w.nodes[2].runs); n != 0 {
		t.Errorf("a node that drains runs %d", n)
	}
	w.pass(10 * time.Second)
	if got := w.count(); got[api.Exited] != 40 {
		t.Errorf("%v", got)
	}
}

// What a home does not know, or has given up, does not run for it.
func TestAStrangerIsDropped(t *testing.T) {
	w := newWorld(t, 1)
	w.start(1, 1000, 64<<20)
	n := w.start(2, 1000, 64<<20)
	w.gossip()
	d := beDesc(1)
	o := &Order{ID: api.NewProcID("p", 1, 1), Realm: "r", Desc: &d}
	n.Receive(talk.Peer{Number: 1, Boot: 1}, []any{grant{orders: []*Order{o}}})
	if n.runs[o.ID] == nil {
		t.Fatal("it does not run")
	}
	w.work = 1e12
	w.pass(5 * time.Millisecond)
	if n.runs[o.ID] != nil {
		t.Error("it runs on")
	}
}

// A drop that comes before its order.
func TestADropOvertakesItsOrder(t *testing.T) {
	w := newWorld(t, 1)
	w.start(1, 1000, 64<<20)
	n := w.start(2, 1000, 64<<20)
	w.gossip()
	d := beDesc(1)
	o := &Order{ID: api.NewProcID("p", 1, 1), Realm: "r", Desc: &d}
	n.Receive(talk.Peer{Number: 1, Boot: 1}, []any{drop{o.ID, ""}, grant{orders: []*Order{o}}})
	if w.starts[o.ID] != 0 {
		t.Error("it was started")
	}
}

// What a node is granted when it is stopping runs elsewhere.
func TestANodeThatQuitsGivesBack(t *testing.T) {
	w := newWorld(t, 1)
	a, b := w.start(1, 1000, 64<<20), w.start(2, 1000, 1<<30)
	w.gossip()
	w.pass(50 * time.Millisecond)
	b.Quit()
	d := beDesc(1)
	o := &Order{ID: api.NewProcID("p", 1, 1), Realm: "r", Desc: &d}
	a.home.live[o.ID] = &entry{o: o, at: 1, to: 2}
	b.Receive(talk.Peer{Number: 1, Boot: 1}, []any{grant{orders: []*Order{o}}})
	w.pass(time.Second)
	if r, ok := w.ends[o.ID]; !ok || r.Status.State != api.Exited || w.starts[o.ID] != 1 {
		t.Errorf("it ended %+v, %v, and was started %d times", r.Status, ok, w.starts[o.ID])
	}
}

// The failure domains of a group.
func TestGroupSpreads(t *testing.T) {
	w := newWorld(t, 1)
	for i := range uint16(4) {
		w.start(i+1, 4000, 1<<30).domain = fmt.Sprint("rack", i%2)
	}
	w.gossip()
	w.pass(50 * time.Millisecond)
	d := lcDesc(10, 1)
	d.Group = "db"
	for range 3 {
		w.nodes[1].spawn(d)
	}
	w.pass(time.Millisecond)
	in := make(map[string]int)
	for _, n := range w.nodes {
		in[n.domain] += len(n.runs)
	}
	if in["rack0"] != 1 || in["rack1"] != 1 {
		t.Errorf("%v, want one in each domain and one that waits", in)
	}
}

// settle waits until every proc has an end and looks for what is left over.
func (w *world) settle(spawned []api.ProcID) {
	w.t.Helper()
	w.pass(30 * time.Second)
	for _, id := range spawned {
		if _, ok := w.ends[id]; !ok && !w.dead[id] {
			w.t.Errorf("%s has no end", id)
		}
	}
	for _, n := range w.nodes {
		if n.down {
			continue
		}
		if s := n.cfg.Table.Snapshot(); len(n.runs)+s.LC+s.BE+len(n.home.live)+len(n.Engine.run.runs) > 0 {
			w.t.Errorf("node %d is left with %d runs, %+v, %d live", n.number, len(n.runs), s, len(n.home.live))
		}
		if q := n.shard.queue; q != nil && q.Queue.Len() > 0 {
			w.t.Errorf("the shard of node %d is left with %d", n.number, q.Queue.Len())
		}
		if t := n.lcs.table; t != nil {
			if s := t.Stats(); s.Waiting > 0 || s.Placed > 0 {
				w.t.Errorf("lcsched on node %d is left with %+v", n.number, s)
			}
		}
	}
}

// Conversations end all the time. No proc starts twice, each ends once, and nothing
// is left over.
func TestFAULTS_F29_NoProcStartsTwice(t *testing.T) {
	for seed := range uint64(60) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			w.work = []float64{1e6, 1e7, 1e8}[seed%3]
			for i := range uint16(5) {
				w.start(i+1, 2000, 1<<30)
			}
			w.gossip()
			w.pass(50 * time.Millisecond)
			var all []api.ProcID
			for range 400 {
				for range w.rng.IntN(6) {
					d := beDesc(1 + w.rng.Int64N(200))
					if w.rng.IntN(3) == 0 {
						d = lcDesc(1+w.rng.Int64N(1500), 1+w.rng.Int64N(200))
					}
					n := w.nodes[uint16(1+w.rng.IntN(5))]
					if id, err := n.spawn(d); err == nil {
						all = append(all, id)
						if w.rng.IntN(20) == 0 {
							w.clk.AfterFunc(time.Duration(w.rng.IntN(5000))*time.Microsecond, func() { n.Kill(id, api.Killed, "", 0) })
						}
					}
				}
				a, b := uint16(1+w.rng.IntN(5)), uint16(1+w.rng.IntN(5))
				if a != b {
					w.clk.AfterFunc(time.Duration(w.rng.IntN(1000))*time.Microsecond, func() { w.breakUp(a, b) })
				}
				w.pass(time.Duration(w.rng.IntN(3000)) * time.Microsecond)
			}
			w.settle(all)
			if got := w.count(); got[api.Exited] == 0 || got[api.Lost] == 0 {
				t.Errorf("%v: the test has tried nothing", got)
			}
		})
	}
}

// Machines die, the one that is lcsched among them. Who waits has an answer within
// five seconds.
func TestFAULTS_F2_F6_F8_Deaths(t *testing.T) {
	for seed := range uint64(10) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			w := newWorld(t, seed)
			for i := range uint16(5) {
				w.start(i+1, 2000, 1<<30)
			}
			w.gossip()
			w.pass(50 * time.Millisecond)
			var all []api.ProcID
			for round := range 4 {
				for range 60 {
					n := w.nodes[uint16(1+w.rng.IntN(5))]
					if n.down {
						continue
					}
					d := beDesc(1 + w.rng.Int64N(100))
					if w.rng.IntN(2) == 0 {
						d = lcDesc(1+w.rng.Int64N(500), 1)
					}
					if id, err := n.spawn(d); err == nil {
						all = append(all, id)
					}
					w.pass(200 * time.Microsecond)
				}
				victim := w.nodes[1].view.lcsched
				if round%2 == 1 || w.nodes[victim] == nil || w.nodes[victim].down {
					victim = uint16(1 + w.rng.IntN(5))
				}
				if w.nodes[victim].down {
					continue
				}
				var depend []api.ProcID
				for _, n := range w.nodes {
					for id, x := range n.home.live {
						if !n.down && n.number != victim && x.depends(victim) {
							depend = append(depend, id)
						}
					}
				}
				w.kill(victim)
				w.pass(5 * time.Second)
				for _, id := range depend {
					if _, ok := w.ends[id]; !ok {
						t.Errorf("%s has no end 5 s after the death of node %d", id, victim)
					}
				}
				if round == 1 { // it comes back
					n := w.start(victim, 2000, 1<<30)
					for _, o := range w.nodes {
						c, side := w.conv(victim, o.number)
						c.in[side] = max(c.in[0], c.in[1]) + 1
						c.queue[side] = nil
					}
					_ = n
					w.gossip()
					w.pass(50 * time.Millisecond)
				}
			}
			w.settle(all)
		})
	}
}

func TestMessagesSurviveTheWire(t *testing.T) {
	d := lcDesc(5, 6)
	d.Args, d.Env, d.Group, d.Apart, d.Near = []string{"a", ""}, []string{"K=v"}, "g", []string{"x"}, []string{"n1", "n2"}
	o := &Order{ID: api.NewProcID("p", 3, 4), Realm: "r", User: "u", Parent: "q", Desc: &d, Program: api.Program{Name: "n", Digest: "d", Size: 9}, Came: -1}
	from := lc.From{Node: 1, Boot: 2, Epoch: 3, N: 4}
	for _, m := range []any{
		submit{o}, notHere{o.ID}, refuse{o.ID, api.E(api.Busy, "a", "b", "c")}, moved{o.ID, 7}, lost{o.ID, "w"}, drop{o.ID, "w"},
		kill{o.ID, api.Killed, "r", 5}, ask{pull.Ask{ID: 1, Memory: 2, Slots: 3, Extra: 4, Cores: 5, Max: 6, Active: map[string]int{"r": 1}, Decline: true}},
		hint{pull.Hint{Queued: 1, Least: 2}}, grant{1, pull.Hint{Queued: 3}, []*Order{o, o}}, back{o}, taken{o.ID},
		began{o.ID, api.Stamps{Spawn: 1, Placed: 2, Slot: 3, Exec: 4, Started: 5, Ended: 6}}, wrote{o.ID, 2, []byte("x")},
		ended{o.ID, Result{Status: api.Status{State: api.Exited, Code: 3, Data: []byte{1}}, CPU: 1, RSS: 2, Denied: map[int]int{4: 5}}},
		kept{o.ID, 8}, hello{lc.Hello{Epoch: 1, Seq: 2}}, decide{o, 1, 2}, newer{3},
		report{lc.Report{From: from, MCPU: 1, Memory: 2, Seen: 3, Held: []lc.Held{{ID: "i", Realm: "r", MCPU: 1, Memory: 2, Group: "g", Apart: []string{"a"}}}}},
		release{from, o.ID}, refused{from, o.ID},
	} {
		b := Encode(nil, m)
		got, err := Decode(b)
		if err == nil && !bytes.Equal(Encode(nil, got), b) {
			t.Errorf("%T: %x is sent on as %x", m, b, Encode(nil, got))
		}
		forgetBytes(got)
		if err != nil || !reflect.DeepEqual(got, m) {
			t.Errorf("%T: %+v, %v; want %+v", m, got, err, m)
		}
		for i := range b {
			if _, err := Decode(b[:i]); err == nil && i > 0 {
				t.Errorf("%T: %d of %d bytes are taken", m, i, len(b))
			}
		}
	}
}

// forgetBytes makes the orders of a message as they are at their home.
func forgetBytes(m any) {
	var list []*Order
	switch m := m.(type) {
	case submit:
		list = []*Order{m.o}
	case grant:
		list = m.orders
	case back:
		list = []*Order{m.o}
	case decide:
		list = []*Order{m.o}
	}
	for _, o := range list {
		o.encoded = ""
	}
}

func FuzzDecode(f *testing.F) {
	d := beDesc(1)
	f.Add(Encode(nil, submit{&Order{ID: api.NewProcID("p", 3, 4), Realm: "r", Desc: &d}}))
	f.Add(Encode(nil, report{lc.Report{Held: []lc.Held{{ID: "i"}}}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := Decode(b)
		if err != nil {
			return
		}
		again, err := Decode(Encode(nil, m))
		if err != nil || !bytes.Equal(Encode(nil, again)[:1], b[:1]) {
			t.Errorf("%T: %v", m, err)
		}
	})
}
