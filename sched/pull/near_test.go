package pull

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"sigmaos/sched/be"
)

// story drives a shard of node 9 by lines of text.
type story struct {
	s   *Shard
	now time.Duration
}

// do takes "push a:1 near 2", "ask 2" (one slot), "full 2", "decline 2", "gone 2" or
// "wait 5ms", and says what came of it: whom the shard told, and what a node got.
func (st *story) do(line string) string {
	w := strings.Fields(line)
	var out []string
	told := func(n uint16, ok bool) {
		if ok {
			out = append(out, fmt.Sprint("tell ", n))
		}
	}
	node := func() (n uint16) { fmt.Sscan(w[1], &n); return n }
	switch w[0] {
	case "push":
		realm, _, _ := strings.Cut(w[1], ":")
		it := be.Item{ID: w[1], Realm: realm, Memory: 1}
		for i, n := range w[min(len(w), 3):] {
			fmt.Sscan(n, &it.Near[i])
		}
		n, ok, err := st.s.Push(st.now, it)
		if err != nil {
			return err.Error()
		}
		told(n, ok)
	case "ask", "full", "busy":
		a := Ask{Node: node(), Slots: map[string]int{"ask": 1}[w[0]], Memory: 9, Max: 9}
		if w[0] == "busy" { // with procs of another realm on both of its cores
			a.Cores, a.Extra, a.Active = 2, 1, map[string]int{"b": 2}
		}
		items, _ := st.s.Pull(st.now, nil, a)
		out = append(out, fmt.Sprintf("get %q", ids(items)))
	case "decline":
		told(st.s.Decline(st.now, node()))
	case "gone":
		told(st.s.Gone(st.now, node()))
	case "wait":
		d, _ := time.ParseDuration(w[1])
		st.now += d
	}
	for n, ok := st.s.Free(st.now); ok; n, ok = st.s.Free(st.now) {
		told(n, true)
	}
	return strings.Join(out, ", ")
}

func TestNearestNodeFirst(t *testing.T) {
	for _, c := range []struct {
		name  string
		lines []string // line → what comes of it
	}{
		{"the named one is told, not who asked last", []string{
			`ask 1 → get ""`, `ask 2 → get ""`, `push a:1 near 1 → tell 1`, `ask 2 → get ""`, `ask 1 → get "a:1"`,
		}},
		{"one of two", []string{`ask 1 → get ""`, `ask 2 → get ""`, `push a:1 near 3 1 → tell 1`, `ask 1 → get "a:1"`}},
		{"nobody waits for a busy one", []string{`full 1 → get ""`, `ask 2 → get ""`, `push a:1 near 1 → tell 2`, `ask 2 → get "a:1"`}},
		{"nor for one with no more than a realm's part to give", []string{`ask 2 → get ""`, `busy 1 → get ""`, `push a:1 near 1 → tell 2`, `ask 2 → get "a:1"`}},
		{"but where nobody is idle it is told", []string{`busy 2 → get ""`, `busy 1 → get ""`, `push a:1 near 2 → tell 2`}},
		{"one that is silent delays no other", []string{
			`ask 1 → get ""`, `ask 2 → get ""`, `ask 3 → get ""`, `push a:1 near 1 → tell 1`, `wait 10ms → tell 3`, `ask 3 → get "a:1"`,
			`ask 3 → get ""`, `push a:2 near 1 2 → tell 2`, `decline 2 → tell 3`, `ask 3 → get "a:2"`,
		}},
		{"nor for one that is not known", []string{`ask 2 → get ""`, `push a:1 near 1 → tell 2`, `ask 2 → get "a:1"`}},
		{"what it had no room for is the others'", []string{
			`ask 2 → get ""`, `ask 1 → get ""`, `push a:1 near 1 → tell 1`, `push a:2 near 1 → `, `ask 1 → get "a:1", tell 2`, `ask 2 → get "a:2"`,
		}},
		{"it declines", []string{`ask 2 → get ""`, `ask 1 → get ""`, `push a:1 near 1 → tell 1`, `decline 1 → tell 2`, `ask 2 → get "a:1"`}},
		{"it dies", []string{`ask 2 → get ""`, `ask 1 → get ""`, `push a:1 near 1 → tell 1`, `gone 1 → tell 2`, `ask 2 → get "a:1"`}},
		{"it is silent", []string{
			`ask 2 → get ""`, `ask 1 → get ""`, `push a:1 near 1 → tell 1`, `wait 9ms → `, `ask 2 → get ""`, `wait 1ms → tell 2`, `ask 2 → get "a:1"`,
		}},
		{"and delays the next no more", []string{
			`ask 2 → get ""`, `ask 1 → get ""`, `push a:1 near 1 → tell 1`, `wait 6ms → `, `push a:2 near 1 → `, `wait 4ms → tell 2`,
			`ask 2 → get "a:1"`, `ask 2 → get "a:2"`, `ask 2 → get ""`, `push a:3 near 1 → tell 2`,
		}},
		{"it was told of something else", []string{
			`ask 1 → get ""`, `push b:1 → tell 1`, `ask 2 → get "b:1"`, `push a:1 near 1 → `, `ask 1 → get "a:1"`,
		}},
		{"others get what comes behind", []string{
			`ask 1 → get ""`, `push a:1 near 1 → tell 1`, `push a:2 → `, `ask 2 → get "a:2"`, `ask 1 → get "a:1"`,
		}},
		{"the turn of realms is kept", []string{
			`push b:1 → `, `ask 1 → get "b:1"`, `ask 1 → get ""`, `push a:1 near 1 → tell 1`, `push b:2 near 1 → `, `push a:2 near 1 → `, `ask 1 → get "a:1"`, `ask 1 → get "b:2"`, `ask 1 → get "a:2"`,
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			st := &story{s: NewShard(9, be.New(100))}
			for _, l := range c.lines {
				line, want, _ := strings.Cut(l, " → ")
				if got := st.do(line); got != want {
					t.Errorf("%s: %s, want %s", line, got, want)
				}
			}
		})
	}
}

// A node that was idle when it was told, and asks without a slot since another shard was
// faster, says no by that.
func TestAnAskWithoutSlotsIsPassedOn(t *testing.T) {
	st := &story{s: NewShard(9, be.New(100))}
	for _, l := range []string{`ask 2 → get ""`, `ask 1 → get ""`, `push a:1 → tell 1`, `full 1 → get "", tell 2`, `full 2 → get ""`, `full 2 → get ""`, `ask 1 → get "a:1"`} {
		line, want, _ := strings.Cut(l, " → ")
		if got := st.do(line); got != want {
			t.Errorf("%s: %s, want %s", line, got, want)
		}
	}
}

// Of procs that came in one moment a node gets those first that are near it, before
// those whose programs it has.
func TestNearBreaksTies(t *testing.T) {
	s := NewShard(9, be.New(100))
	for _, it := range []be.Item{{ID: "old", Came: 1}, {ID: "other", Came: 2}, {ID: "cached", Came: 2, Digest: "x"}, {ID: "near", Came: 2, Near: be.Nodes{1}}, {ID: "late", Came: 3, Near: be.Nodes{1}}} {
		it.Realm, it.Memory = "a", 1
		if _, _, err := s.Push(0, it); err != nil {
			t.Fatal(err)
		}
	}
	s.nodes[1] = &peer{node: 1}
	s.nodes[1].given.add(program{"a", "x"})
	if got := pull(s, Ask{Node: 1, Slots: 5, Memory: 9}); got != "old near cached other late" {
		t.Errorf("got %q", got)
	}
}

// TestNobodyWaitsLongerThanHold does random things: what waits is kept from nobody for
// longer than Hold after it came, and where somebody is parked that could have what is
// kept no more, somebody was told.
func TestNobodyWaitsLongerThanHold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := &story{s: NewShard(9, be.New(1000))}
		came := make(map[string]time.Duration)
		node := rapid.IntRange(1, 4)
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(rt *rapid.T) {
				n++
				id := fmt.Sprint("a:", n)
				came[id] = st.now
				st.do(fmt.Sprint("push ", id, " near ", node.Draw(rt, "near"), " ", node.Draw(rt, "or")))
			},
			"ask":  func(rt *rapid.T) { st.do(fmt.Sprint("ask ", node.Draw(rt, "node"))) },
			"full": func(rt *rapid.T) { st.do(fmt.Sprint("full ", node.Draw(rt, "node"))) },
			"no":   func(rt *rapid.T) { st.do(fmt.Sprint("decline ", node.Draw(rt, "node"))) },
			"gone": func(rt *rapid.T) { st.do(fmt.Sprint("gone ", node.Draw(rt, "node"))) },
			"wait": func(rt *rapid.T) {
				st.do(fmt.Sprintf("wait %dms", rapid.IntRange(1, 12).Draw(rt, "ms")))
			},
			"": func(rt *rapid.T) {
				if len(st.s.kept) > maxKept {
					rt.Fatalf("%d are kept", len(st.s.kept))
				}
				for _, k := range st.s.kept {
					if !st.s.Queue.Has(k.ID) || st.now >= came[k.ID]+Hold || k.until > came[k.ID]+Hold {
						rt.Fatalf("%s, which came %v ago, is kept until %v more", k.ID, st.now-came[k.ID], k.until-st.now)
					}
					if st.s.Next() > k.until {
						rt.Fatalf("nobody comes at %v to free %s", k.until, k.ID)
					}
				}
				someone := slices.ContainsFunc([]uint16{1, 2, 3, 4}, func(n uint16) bool { return st.s.nodes[n] != nil && st.s.nodes[n].told })
				if st.s.Queue.Len() > len(st.s.kept) && st.s.slots != nil && !someone {
					rt.Fatalf("%d wait, %d of them kept, node %d is idle, and nobody was told", st.s.Queue.Len(), len(st.s.kept), st.s.slots.node)
				}
			},
		})
	})
}
