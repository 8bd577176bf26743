package lc

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"sigmaos/api"
)

// world is one cluster with several lcscheds, one after the other, and a network
// that loses, doubles and reorders. Nodes are what they are in truth.
type world struct {
	rt     *rapid.T
	nodes  []*truth
	terms  []*term
	starts map[string]int // how often an id was started
	next   int
}

type truth struct {
	number   uint16
	boot     uint32
	domain   string
	cpu, mem int64
	fence    Fence
	held     map[string]Held
}

// term is one lcsched and its links.
type term struct {
	*Table
	epoch uint64
	down  map[uint16][]any // to a node: Hello or Decision
	up    map[uint16][]any // from it: Report, or a told
	asked map[string]bool  // ids that Place took
	lost  map[string]bool  // ids that were decided with an error, or lost with a node
}

type told struct {
	From
	id     string
	refuse bool
}

func (w *world) now() *term { return w.terms[len(w.terms)-1] }

// elect starts a new lcsched; the one before does not know that yet.
func (w *world) elect() {
	t := &term{
		epoch: uint64(len(w.terms) + 1), down: make(map[uint16][]any), up: make(map[uint16][]any),
		asked: make(map[string]bool), lost: make(map[string]bool),
	}
	t.Table = New(Config{Epoch: t.epoch, Bypass: 3})
	w.terms = append(w.terms, t)
	for _, n := range w.nodes {
		t.Join(n.node())
		t.hello(n.number)
	}
}

func (n *truth) node() Node {
	return Node{Number: n.number, Boot: n.boot, Name: fmt.Sprint("n", n.number), Domain: n.domain}
}

func (t *term) hello(number uint16) {
	if h, ok := t.Hello(number); ok {
		t.down[number] = append(t.down[number], h)
	}
}

// send puts what was decided on the links.
func (t *term) send() {
	for _, d := range t.Decisions() {
		if d.Err != nil {
			t.lost[d.ID] = true
			continue
		}
		t.down[d.Node] = append(t.down[d.Node], d)
	}
}

// receive is a node taking a message of an lcsched.
func (w *world) receive(n *truth, t *term, msg any, moody bool) {
	switch m := msg.(type) {
	case Hello:
		if n.fence.Hello(m) {
			w.report(n, t)
		}
	case Decision:
		if !n.fence.Pass(m.Epoch, m.Seq) {
			return
		}
		r := m.Payload.(Request)
		var cpu, mem int64
		for _, h := range n.held {
			cpu, mem = cpu+h.MCPU, mem+h.Memory
		}
		if cpu+r.MCPU > n.cpu || mem+r.Memory > n.mem {
			w.rt.Fatalf("epoch %d gave %s (%d, %d) to node %d, which has %d of %d and %d of %d", t.epoch, r.ID, r.MCPU, r.Memory, n.number, cpu, n.cpu, mem, n.mem)
		}
		if moody {
			t.up[n.number] = append(t.up[n.number], told{n.fence.Stamp(n.number, n.boot), r.ID, true})
			return
		}
		if w.starts[r.ID]++; w.starts[r.ID] > 1 {
			w.rt.Fatalf("%s started twice", r.ID)
		}
		n.held[r.ID] = Held{r.ID, r.Realm, r.MCPU, r.Memory, r.Group, r.Apart}
	}
}

func (w *world) report(n *truth, t *term) {
	r := Report{From: n.fence.Stamp(n.number, n.boot), MCPU: n.cpu, Memory: n.mem, Seen: n.fence.Seen()}
	for _, h := range n.held {
		r.Held = append(r.Held, h)
	}
	slices.SortFunc(r.Held, func(a, b Held) int { return slices.Compare([]byte(a.ID), []byte(b.ID)) })
	t.up[n.number] = append(t.up[n.number], r)
}

// hears is an lcsched taking a message of a node.
func (w *world) hears(t *term, msg any) {
	var err error
	switch m := msg.(type) {
	case Report:
		err = t.Report(m)
	case told:
		if m.refuse {
			err = t.Refused(m.From, m.id)
		} else {
			err = t.Release(m.From, m.id)
		}
	}
	if err != nil && !errors.Is(err, ErrOld) && !errors.Is(err, ErrDeposed) {
		w.rt.Fatalf("%+v: %v", msg, err)
	}
	t.send()
}

// settle delivers everything and has every node report, as often as refusals of
// the past may ask for.
func (w *world) settle() {
	t := w.now()
	for range 2 * maxSkip {
		for _, n := range w.nodes {
			t.hello(n.number)
			for len(t.down[n.number]) > 0 {
				msg := t.down[n.number][0]
				t.down[n.number] = t.down[n.number][1:]
				w.receive(n, t, msg, false)
			}
			for len(t.up[n.number]) > 0 {
				msg := t.up[n.number][0]
				t.up[n.number] = t.up[n.number][1:]
				w.hears(t, msg)
			}
		}
	}
}

func (w *world) end(n *truth, id string, tell bool) {
	delete(n.held, id)
	for _, t := range w.terms {
		if tell && t.epoch == n.fence.Epoch() {
			t.up[n.number] = append(t.up[n.number], told{n.fence.Stamp(n.number, n.boot), id, false})
		}
	}
}

func (n *truth) ids() (out []string) {
	for id := range n.held {
		out = append(out, id)
	}
	slices.Sort(out)
	return out
}

// TestFAULTS_F29_TableAgainstTruth runs tables against nodes over a bad network.
// After every step the table must agree with its naive version (inspect), and no
// node is ever given more than it has, or a proc for the second time; in the end
// nothing is left over.
func TestFAULTS_F29_TableAgainstTruth(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := &world{rt: rt, starts: make(map[string]int)}
		for i := range rapid.IntRange(1, 5).Draw(rt, "nodes") {
			w.nodes = append(w.nodes, &truth{
				number: uint16(i + 1), boot: 1, held: make(map[string]Held), domain: rapid.SampledFrom([]string{"", "x", "y"}).Draw(rt, "domain"),
				cpu: rapid.Int64Range(1, 4).Draw(rt, "cpu") * 500, mem: rapid.Int64Range(1, 4).Draw(rt, "mem") * 500,
			})
		}
		w.elect()
		node := func(rt *rapid.T) *truth { return rapid.SampledFrom(w.nodes).Draw(rt, "node") }
		// Mostly the last lcsched acts, sometimes one that is deposed.
		who := func(rt *rapid.T) *term {
			if rapid.IntRange(0, 4).Draw(rt, "old") == 0 {
				return rapid.SampledFrom(w.terms).Draw(rt, "term")
			}
			return w.now()
		}
		pick := func(rt *rapid.T, q *[]any, keep bool) any {
			i := 0
			if rapid.IntRange(0, 3).Draw(rt, "reorder") == 0 {
				i = rapid.IntRange(0, min(2, len(*q)-1)).Draw(rt, "i")
			}
			msg := (*q)[i]
			if !keep {
				*q = slices.Delete(*q, i, i+1)
			}
			return msg
		}
		step := func(rt *rapid.T) {
			t, n := who(rt), node(rt)
			fate := rapid.IntRange(0, 9).Draw(rt, "fate") // 0 is lost, 1 doubled
			if q := t.down[n.number]; len(q) > 0 {
				msg := pick(rt, &q, fate == 1)
				t.down[n.number] = q
				if fate > 0 {
					w.receive(n, t, msg, fate == 2)
				}
			}
			fate = rapid.IntRange(0, 9).Draw(rt, "fate")
			if q := t.up[n.number]; len(q) > 0 {
				msg := pick(rt, &q, fate == 1)
				t.up[n.number] = q
				if fate > 0 {
					w.hears(t, msg)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"place": func(rt *rapid.T) {
				t := who(rt)
				w.next++
				r := Request{
					ID: fmt.Sprint("p", w.next), Realm: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "realm"),
					MCPU: rapid.Int64Range(0, 2200).Draw(rt, "cpu"), Memory: rapid.Int64Range(0, 800).Draw(rt, "mem"),
				}
				switch rapid.IntRange(0, 5).Draw(rt, "where") {
				case 0:
					r.Domain = rapid.SampledFrom([]string{"x", "y"}).Draw(rt, "domain")
				case 1:
					r.Group = rapid.SampledFrom([]string{"g", "h"}).Draw(rt, "group")
				case 2:
					r.Apart = []string{fmt.Sprint("p", rapid.IntRange(1, w.next).Draw(rt, "apart"))}
				}
				r.Payload = r
				best := t.plainBest(&waiting{Request: r})
				if err := t.Place(r); err != nil {
					if k := api.KindOf(err); k != api.NoCapacity && k != api.Unavailable {
						rt.Fatalf("Place(%+v) = %v", r, err)
					}
					return
				}
				t.asked[r.ID] = true
				if on, ok := t.Where(r.ID); ok != (best != nil) || ok && on != best.Number {
					rt.Fatalf("Place(%+v) chose %d %v, the best is %+v", r, on, ok, best)
				}
				t.send()
			},
			"step": step, "step2": step, "step3": step, "step4": step,
			"end": func(rt *rapid.T) {
				n := node(rt)
				if ids := n.ids(); len(ids) > 0 {
					w.end(n, rapid.SampledFrom(ids).Draw(rt, "id"), rapid.IntRange(0, 3).Draw(rt, "tell") > 0)
				}
			},
			"cancel": func(rt *rapid.T) {
				t := who(rt)
				id := fmt.Sprint("p", rapid.IntRange(0, w.next).Draw(rt, "id"))
				if waits := t.Queued(id); t.Cancel(id) != waits {
					rt.Fatalf("Cancel(%s), which waits: %v", id, waits)
				} else if waits {
					t.lost[id] = true
				}
				t.send()
			},
			"silent": func(rt *rapid.T) {
				t, n := who(rt), node(rt)
				t.Silent(n.number)
				t.send()
				t.hello(n.number)
			},
			"drain": func(rt *rapid.T) {
				n := node(rt).node()
				n.Draining = rapid.Bool().Draw(rt, "draining")
				w.now().Join(n)
				w.now().send()
			},
			"die": func(rt *rapid.T) {
				if rapid.IntRange(0, 3).Draw(rt, "often") > 0 {
					return
				}
				n := node(rt)
				n.boot++
				n.held, n.fence = make(map[string]Held), Fence{}
				for _, t := range w.terms {
					for _, id := range t.Lost(n.number) {
						t.lost[id] = true
					}
					t.Join(n.node())
					t.send()
					t.down[n.number], t.up[n.number] = nil, nil
					t.hello(n.number)
				}
			},
			"elect": func(rt *rapid.T) {
				if len(w.terms) < 4 && rapid.IntRange(0, 3).Draw(rt, "often") == 0 {
					w.elect()
				}
			},
			"": func(rt *rapid.T) {
				for _, t := range w.terms {
					if err := t.inspect(); err != nil {
						rt.Fatalf("epoch %d: %v", t.epoch, err)
					}
				}
			},
		})
		w.drain()
	})
}

// drain lets all procs end, most without telling, and looks for what is left.
func (w *world) drain() {
	t := w.now()
	for _, n := range w.nodes {
		t.Join(n.node()) // none is draining any more
		t.send()
	}
	for round := 0; ; round++ {
		w.settle()
		if err := t.inspect(); err != nil {
			w.rt.Fatal(err)
		}
		held := 0
		for _, n := range w.nodes {
			m := t.nodes[n.number]
			if len(m.held) != len(n.held) {
				w.rt.Fatalf("node %d holds %d, the table says %d", n.number, len(n.held), len(m.held))
			}
			held += len(n.held)
			for i, id := range n.ids() {
				w.end(n, id, i == 0)
			}
		}
		if held == 0 {
			break
		}
		if round > w.next {
			w.rt.Fatalf("after %d rounds %d still wait", round, len(t.waiting))
		}
	}
	if len(t.waiting) > 0 || len(t.placed) > 0 || len(t.realms) > 0 || len(t.groups) > 0 || len(t.named) > 0 || t.claimed > 0 || t.spreading.n > 0 {
		w.rt.Fatalf("left over: %d waiting, %d placed, realms %v, groups %v, named %v", len(t.waiting), len(t.placed), t.realms, t.groups, t.named)
	}
	for id := range t.asked {
		if w.starts[id] == 0 && !t.lost[id] {
			w.rt.Fatalf("%s was taken, and neither started nor told lost", id)
		}
	}
}
