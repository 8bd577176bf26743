package pull

import (
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sigmaos/api"
	"sigmaos/sched/be"
)

// put pushes procs "realm:n" of one byte each and returns the nodes that are told.
func put(t testing.TB, s *Shard, procs string) string {
	t.Helper()
	var told []string
	for _, id := range strings.Fields(procs) {
		realm, _, _ := strings.Cut(id, ":")
		node, ok, err := s.Push(0, be.Item{ID: id, Realm: realm, Memory: 1})
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			told = append(told, fmt.Sprint(node))
		}
	}
	return strings.Join(told, " ")
}

func ids(items []be.Item) string {
	var out []string
	for _, it := range items {
		out = append(out, it.ID)
	}
	return strings.Join(out, " ")
}

func TestGrant(t *testing.T) {
	type active = map[string]int
	for _, s := range []struct {
		name   string
		queue  string
		ask    Ask
		want   string
		memory int64
	}{
		{"slots, in turn", "a:1 a:2 b:1", Ask{Slots: 2}, "a:1 b:1", 9},
		{"no more than Max", "a:1 a:2 a:3", Ask{Slots: 3, Max: 2}, "a:1 a:2", 9},
		{"no more than the memory", "a:1 a:2 a:3", Ask{Slots: 3}, "a:1 a:2", 2},
		{"a busy machine takes no more of the realm that is there", "a:1", Ask{Extra: 9, Cores: 2, Active: active{"a": 2}}, "", 9},
		{"a new realm gets its half", "a:1 b:1 b:2 b:3", Ask{Extra: 9, Cores: 4, Active: active{"a": 4}}, "b:1 b:2", 9},
		{"rounded up", "b:1 b:2 c:1 c:2", Ask{Extra: 9, Cores: 2, Active: active{"a": 2}}, "b:1 c:1", 9},
		{"what is missing to its part", "b:1 b:2 b:3", Ask{Extra: 9, Cores: 8, Active: active{"a": 8, "b": 2}}, "b:1 b:2", 9},
		{"no more than Extra", "b:1 c:1 d:1", Ask{Extra: 2, Cores: 2, Active: active{"a": 2}}, "b:1 c:1", 9},
		{"after the slots", "a:1 b:1 b:2", Ask{Slots: 1, Extra: 9, Cores: 2, Active: active{"a": 1}}, "a:1 b:1", 9},
		{"what the slots gave counts", "b:1 b:2", Ask{Slots: 1, Extra: 9, Cores: 2, Active: active{"a": 1}}, "b:1", 9},
		{"and its memory too", "a:1 b:1", Ask{Slots: 1, Extra: 9, Cores: 2}, "a:1", 1},
		{"all cores reserved", "b:1", Ask{Extra: 9, Active: active{"a": 1}}, "", 9},
	} {
		t.Run(s.name, func(t *testing.T) {
			sh := NewShard(1, be.New(10))
			put(t, sh, s.queue)
			s.ask.Memory = s.memory
			if s.ask.Max == 0 {
				s.ask.Max = 64
			}
			if got := ids(Grant(nil, sh.Queue, s.ask, be.Offer{}, false)); got != s.want {
				t.Errorf("Grant(%q, %+v) = %q, want %q", s.queue, s.ask, got, s.want)
			}
		})
	}
}

// pull is an ask of a node, and what it gets.
func pull(s *Shard, a Ask) string {
	a.Max = 64
	items, _ := s.Pull(0, nil, a)
	return ids(items)
}

// A realm gets one proc ahead where no other node is known to be idle.
func TestOneAheadUnlessOthersIdle(t *testing.T) {
	ask := Ask{Node: 1, Extra: 9, Cores: 2, Memory: 9, Active: map[string]int{"a": 2}}
	for _, s := range []struct {
		name  string
		setup func(*Shard)
		want  string
	}{
		{"nobody idles", func(*Shard) {}, "a:1"},
		{"one is parked", func(s *Shard) { pull(s, Ask{Node: 2, Slots: 1, Memory: 0}) }, ""},
		{"one is told", func(s *Shard) { pull(s, Ask{Node: 2, Slots: 1, Memory: 9}); put(t, s, "b:1"); s.Queue.Remove("b:1") }, ""},
		{"it declined", func(s *Shard) {
			pull(s, Ask{Node: 2, Slots: 1, Memory: 9})
			put(t, s, "b:1")
			s.Queue.Remove("b:1")
			s.Decline(0, 2)
		}, "a:1"},
	} {
		sh := NewShard(9, be.New(10))
		s.setup(sh)
		if err := sh.Queue.Push(be.Item{ID: "a:1", Realm: "a"}); err != nil {
			t.Fatal(err)
		}
		if got := pull(sh, ask); got != s.want {
			t.Errorf("%s: got %q, want %q", s.name, got, s.want)
		}
	}
}

func TestWhoIsTold(t *testing.T) {
	s := NewShard(5, be.New(100))
	for _, n := range []uint16{1, 5, 2, 3} {
		pull(s, Ask{Node: n, Slots: 2, Memory: 10})
	}
	pull(s, Ask{Node: 4, Slots: 2, Memory: 0})                                            // without memory
	pull(s, Ask{Node: 6, Extra: 2, Cores: 2, Memory: 10, Active: map[string]int{"a": 2}}) // busy
	if got, want := put(t, s, "a:1 a:2 a:3 a:4 a:5 b:1 a:6"), "5 3 2 1 6"; got != want {
		t.Errorf("told %q, want %q: its own, who asked last, and for b the busy one", got, want)
	}
	if next, ok := s.Decline(0, 3); ok {
		t.Errorf("all are told, and %d is told again", next)
	}
	if got := pull(s, Ask{Node: 1, Slots: 8, Memory: 3}); got != "a:1 b:1 a:2" {
		t.Errorf("1 gets %q", got)
	}
	pull(s, Ask{Node: 7, Slots: 1, Extra: 0, Memory: 9}) // takes a:3; nothing more is wanted
	if got := put(t, s, "a:7"); got != "" {
		t.Errorf("1 has slots left and no memory, 7 got all it wanted; told %q", got)
	}
}

func TestANoIsPassedOn(t *testing.T) {
	s := NewShard(5, be.New(100))
	for _, n := range []uint16{1, 2, 3} {
		pull(s, Ask{Node: n, Slots: 2, Memory: 10})
	}
	if got := put(t, s, "a:1"); got != "3" {
		t.Fatalf("told %q", got)
	}
	if next, ok := s.Decline(0, 3); !ok || next != 2 {
		t.Errorf("after the no of 3: %d %v, want 2", next, ok)
	}
	if next, ok := s.Gone(0, 2); !ok || next != 1 {
		t.Errorf("after the death of 2: %d %v, want 1", next, ok)
	}
	if next, ok := s.Gone(0, 3); ok {
		t.Errorf("3 owed no answer; %d is told", next)
	}
	if got := pull(s, Ask{Node: 1, Slots: 1, Memory: 10}); got != "a:1" {
		t.Errorf("1 gets %q", got)
	}
	if _, ok := s.Decline(0, 1); ok {
		t.Error("a no after an ask")
	}
}

func TestGivenBackIsToldOf(t *testing.T) {
	s := NewShard(5, be.New(100))
	put(t, s, "a:1 a:2")
	items, h := s.Pull(0, nil, Ask{Node: 1, Slots: 1, Max: 9, Memory: 9})
	if h != (Hint{Queued: 1, Least: 1}) {
		t.Errorf("hint %+v", h)
	}
	pull(s, Ask{Node: 2, Slots: 2, Memory: 9})
	if node, ok, err := s.Back(0, items[0]); node != 2 || !ok || err != nil {
		t.Errorf("Back told %d %v %v, want 2", node, ok, err)
	}
	if _, _, err := s.Back(0, items[0]); api.KindOf(err) != api.Exists {
		t.Errorf("given back twice: %v", err)
	}
	if _, _, err := s.Push(0, items[0]); api.KindOf(err) != api.Exists {
		t.Errorf("pushed twice: %v", err)
	}
}

// TestParkedListsAgainstAMap checks the lists after random events.
func TestParkedListsAgainstAMap(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := NewShard(1, be.New(1000))
		node := rapid.Uint16Range(1, 6)
		n := 0
		rt.Repeat(map[string]func(*rapid.T){
			"pull": func(rt *rapid.T) {
				a := Ask{Node: node.Draw(rt, "node"), Slots: rapid.IntRange(0, 2).Draw(rt, "slots"), Extra: 2, Cores: 2, Max: 9, Memory: rapid.Int64Range(0, 4).Draw(rt, "memory"), Active: map[string]int{"a": 1}}
				items, _ := s.Pull(0, nil, a)
				if p := s.nodes[a.Node]; p.parked != (len(items) == 0 || len(items) < a.Slots) || p.told {
					rt.Fatalf("%+v got %d: %+v", a, len(items), p)
				}
			},
			"push": func(rt *rapid.T) {
				n++
				it := be.Item{ID: fmt.Sprint(n), Realm: rapid.SampledFrom([]string{"a", "b"}).Draw(rt, "realm"), Memory: rapid.Int64Range(0, 4).Draw(rt, "memory")}
				suited := false
				for _, p := range s.nodes {
					suited = suited || p.parked && p.suits(it)
				}
				told, ok, err := s.Push(0, it)
				if err != nil || ok != (suited && (ok || s.Queue.Waiting(it.Realm) <= be.Window)) || ok && !s.nodes[told].told {
					rt.Fatalf("Push(%+v) told %d %v %v, one suits: %v", it, told, ok, err, suited)
				}
			},
			"no":   func(rt *rapid.T) { s.Decline(0, node.Draw(rt, "node")) },
			"gone": func(rt *rapid.T) { s.Gone(0, node.Draw(rt, "node")) },
			"": func(rt *rapid.T) {
				listed := 0
				for slots, first := range map[bool]*peer{true: s.slots, false: s.shares} {
					var prev *peer
					for p := first; p != nil; prev, p = p, p.next {
						if listed++; p.prev != prev || p.slots != slots || s.nodes[p.node] != p || !p.parked || p.told {
							rt.Fatalf("%+v is in the wrong place", p)
						}
					}
				}
				idle, parked := 0, 0
				for _, p := range s.nodes {
					if p.told && p.slots {
						idle++
					}
					if p.parked {
						parked++
					}
				}
				if listed != parked || idle != s.toldIdle {
					rt.Fatalf("%d in lists, %d parked; %d idle nodes were told, counted %d", listed, parked, idle, s.toldIdle)
				}
			},
		})
	})
}

func BenchmarkPushPull(b *testing.B) {
	s := NewShard(1, be.New(1<<20))
	for i := range 10_000 {
		put(b, s, fmt.Sprint("r", i%100, ":", i))
	}
	for n := range uint16(1000) {
		s.Pull(0, nil, Ask{Node: n + 2, Extra: 9, Cores: 4, Max: 9, Memory: 0})
	}
	active := map[string]int{"r1": 2, "r2": 2}
	var items []be.Item
	for i := 0; b.Loop(); i++ {
		items, _ = s.Pull(0, items[:0], Ask{Node: uint16(i%1000 + 2), Slots: 1, Max: 9, Memory: 100, Cores: 4, Active: active})
		if _, _, err := s.Push(0, items[0]); err != nil {
			b.Fatal(err)
		}
	}
}

// Of procs that came together a node gets those first whose programs it was given
// before; of others the order is kept, and so it is for a node that had none of them.
func TestANodeGetsWhatItHasCachedFirst(t *testing.T) {
	s := NewShard(9, be.New(100))
	push := func(id, program string, came int64) {
		t.Helper()
		if _, _, err := s.Push(0, be.Item{ID: id, Realm: "a", Memory: 1, Digest: program, Came: came}); err != nil {
			t.Fatal(err)
		}
	}
	ask := func(node uint16, n int) Ask { return Ask{Node: node, Slots: n, Memory: 99} }
	push("first", "x", 1)
	if got := pull(s, ask(1, 1)); got != "first" {
		t.Fatalf("got %q", got)
	}
	push("old", "y", 2)
	push("y1", "y", 3)
	push("x1", "x", 3)
	push("y2", "y", 3)
	push("late", "x", 4)
	if got := pull(s, ask(1, 2)); got != "old x1" {
		t.Errorf("node 1, which had x, gets %q, want the old one and then x1", got)
	}
	if got := pull(s, ask(2, 3)); got != "y1 y2 late" {
		t.Errorf("node 2, which had nothing, gets %q, want them in order", got)
	}
	push("z", "z", 5)
	push("y3", "y", 5)
	s.Gone(0, 1)
	if got := pull(s, ask(1, 1)); got != "z" {
		t.Errorf("a node that came back gets %q, want the first", got)
	}
	if s.Queue.Push(be.Item{ID: "other", Realm: "b", Memory: 1, Digest: "z", Came: 5}) != nil {
		t.Fatal("not taken")
	}
	if s.nodes[1].cached(be.Item{Realm: "b", Digest: "z"}) {
		t.Error("another realm's program of the same content counts as cached")
	}
}

func TestLately(t *testing.T) {
	var l lately
	name := func(i int) program { return program{"r", fmt.Sprint(i)} }
	for i := range 2 * remembered {
		l.add(name(i))
		l.add(name(0)) // used again and again
	}
	l.add(program{realm: "r"})
	if l.n != remembered || !l.has(name(0)) || !l.has(name(2*remembered-1)) || l.has(name(1)) || l.has(program{realm: "r"}) {
		t.Errorf("%d programs, the newest ones: %v", l.n, l.list)
	}
	seen := make(map[program]bool)
	for _, p := range l.list {
		if seen[p] {
			t.Errorf("%v is there twice", p)
		}
		seen[p] = true
	}
}
