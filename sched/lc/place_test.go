package lc

import (
	"fmt"
	"strings"
	"testing"

	"sigmaos/api"
)

func TestPaper43_BestFit(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 4000, 4000*mib)
	c.join(2, "", 2000, 8000*mib)
	c.join(3, "", 1000, 1000*mib)
	for _, s := range []struct {
		name         string
		mcpu, memory int64
		want         string
	}{
		{"the smallest that fits", 500, 500, "p0@3"},
		{"its rest is filled", 500, 500, "p1@3"},
		{"memory decides", 100, 5000, "p2@2"},
		{"CPU decides", 3000, 100, "p3@1"},
		{"exactly the rest", 1000, 3900, "p4@1"},
		{"the last CPU", 1900, 1, "p5@2"},
		{"full", 1, 1, ""},
	} {
		id := fmt.Sprint("p", len(c.placed))
		c.place(id, s.mcpu, s.memory*mib)
		c.want(s.name, s.want)
	}
}

func TestWaitsInOrderAndGoesWhereThereIsRoom(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 1000, 1000)
	c.place("a", 1000, 10)
	c.want("first", "a@1")
	c.place("big", 900, 10)
	c.place("s1", 300, 10)
	c.place("s2", 300, 10)
	c.place("s3", 600, 10)
	c.want("full", "")
	c.release(1, "a")
	c.want("one ends: the oldest first", "big@1")
	c.join(2, "", 700, 1000)
	c.want("a node joins: those that fit, in order", "s1@2 s2@2")
	if !c.Cancel("s3") || c.Cancel("s3") || c.Cancel("s1") {
		t.Error("cancel takes what waits, once, and nothing else")
	}
	c.release(1, "big")
	c.want("who was canceled is not placed", "")
	if s := c.Stats(); s.Waiting != 0 || s.Placed != 2 || s.Placements != 4 {
		t.Errorf("stats %+v", s)
	}
}

// A request that many smaller ones pass by gets a node for itself in the end.
func TestALargeRequestDoesNotStarve(t *testing.T) {
	c := newCluster(t, Config{Bypass: 8})
	for n := range uint16(4) {
		c.join(n+1, "", 1000, 1000)
	}
	var running []string
	small := 0
	spawn := func() {
		small++
		c.place(fmt.Sprint("s", small), 300, 1)
	}
	for range 12 {
		spawn()
	}
	c.place("large", 1000, 1)
	passed := 0
	for range 100 {
		for _, d := range c.Decisions() {
			if d.ID == "large" {
				if passed > 4*8 {
					t.Errorf("%d went before it; the claim came too late", passed)
				}
				return
			}
			running = append(running, d.ID)
			if len(running) > 12 {
				passed++
			}
		}
		first := running[0] // the oldest ends and another one comes
		running = running[1:]
		node, _ := c.Where(first)
		spawn()
		c.release(node, first)
		c.check()
	}
	t.Error("100 procs have ended and the large request still waits")
}

func TestFailureDomains(t *testing.T) {
	for _, s := range []struct {
		name  string
		nodes string // domains of nodes 1, 2, …
		reqs  []Request
		want  string
	}{
		{"a wanted one", "x y", []Request{{ID: "p", Domain: "y"}}, "p@2"},
		{"a group", "x x y", []Request{{ID: "p", Group: "g"}, {ID: "q", Group: "g"}, {ID: "r", Group: "g"}}, "p@1 q@3"},
		{"two groups", "x y", []Request{{ID: "p", Group: "g"}, {ID: "q", Group: "h"}}, "p@1 q@1"},
		{"groups of two realms", "x y", []Request{{ID: "p", Group: "g"}, {ID: "q", Group: "g", Realm: "b"}}, "p@1 q@1"},
		{"a node without a label is a domain", "- -", []Request{{ID: "p", Group: "g"}, {ID: "q", Group: "g"}}, "p@1 q@2"},
		{"apart", "x x y", []Request{{ID: "p"}, {ID: "q", Apart: []string{"p"}}}, "p@1 q@3"},
		{"apart is symmetric", "x x y", []Request{{ID: "q", Apart: []string{"p", "p"}}, {ID: "p"}}, "q@1 p@3"},
		{"apart from nobody", "x", []Request{{ID: "q", Apart: []string{"gone"}}}, "q@1"},
		{"apart from another realm's is nothing", "x y", []Request{{ID: "p"}, {ID: "q", Realm: "b", Apart: []string{"p"}}}, "p@1 q@1"},
		{"group in a wanted domain", "x x", []Request{{ID: "p", Group: "g", Domain: "x"}, {ID: "q", Group: "g", Domain: "x"}}, "p@1"},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := newCluster(t, Config{})
			for i, d := range strings.Fields(s.nodes) {
				c.join(uint16(i+1), strings.Trim(d, "-"), 1000, 1000)
			}
			for _, r := range s.reqs {
				r.MCPU, r.Memory = 100, 100
				c.request(r)
			}
			c.want(s.name, s.want)
		})
	}
}

func TestADomainIsFreedWithWhatWasInIt(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "x", 1000, 1000)
	c.join(2, "y", 1000, 1000)
	for _, id := range []string{"p", "q", "r", "s"} {
		c.request(Request{ID: id, MCPU: 10, Group: "g"})
	}
	c.request(Request{ID: "t", MCPU: 10, Apart: []string{"p", "q"}})
	c.want("two domains", "p@1 q@2")
	c.release(2, "q")
	c.want("the group's next", "r@2 t@2")
	c.Lost(1)
	c.want("no domain but the taken one", "")
	c.join(3, "x", 1000, 1000)
	c.want("a new node of the domain", "s@3")
}

// What a proc's domain kept out may go to another node of that domain.
func TestAFreedDomainIsMoreThanItsNode(t *testing.T) {
	for name, r := range map[string]Request{"group": {Group: "g"}, "apart": {Apart: []string{"p"}}, "named": {}} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, Config{})
			c.join(1, "x", 100, 1000)
			c.join(2, "x", 1000, 1000)
			p := Request{ID: "p", MCPU: 100, Group: r.Group}
			if name == "named" {
				p.Apart = []string{"r"}
			}
			c.request(p)
			r.ID, r.MCPU = "r", 500
			c.request(r)
			c.want("r must not be in x", "p@1")
			c.release(1, "p")
			c.want("p has ended", "r@2")
		})
	}
}

// A claim moves to the node that comes to lack less, and leaves the other to all.
func TestAClaimMoves(t *testing.T) {
	c := newCluster(t, Config{Bypass: 1})
	c.join(1, "", 1000, 1000)
	c.join(2, "", 1000, 1000)
	c.place("a", 800, 1)
	c.place("b", 900, 1)
	c.want("both are busy", "a@1 b@2")
	c.place("large", 1000, 1)
	c.place("s1", 50, 1)
	c.want("passes by", "s1@2")
	c.place("s2", 150, 1)
	c.place("s3", 180, 1)
	c.want("wait: 1 is claimed, 2 is too full", "")
	if s := c.Nodes(); s[0].Claimed != "large" {
		t.Errorf("claims: %+v", s)
	}
	c.release(2, "b")
	c.want("s2 goes to 2, where large lacks less even so, and 1 is free for s3", "s2@2 s3@1")
	if s := c.Nodes(); s[1].Claimed != "large" {
		t.Errorf("claims: %+v", s)
	}
	c.release(2, "s1")
	c.release(2, "s2")
	c.want("2 is free", "large@2")
}

func TestRefusedAtOnce(t *testing.T) {
	c := newCluster(t, Config{Waiting: 2})
	c.SetQuota("q", Quota{MCPU: 1500, Memory: 500 * mib})
	c.Join(Node{Number: 9, Boot: 1, Name: "n9"})
	c.place("early", 1<<20, 1)
	c.want("not all are heard: it could fit there", "")
	c.sizes[9] = [2]int64{4000, 1000 * mib}
	c.report(9)
	c.want("now it is known", "early!no capacity")
	c.join(1, "rack1", 2000, 8000*mib)
	c.place("p", 1500, 2000*mib)
	c.want("p", "p@1")
	for _, s := range []struct {
		name string
		r    Request
		kind api.Kind
		text string
	}{
		{"more CPU than any", Request{MCPU: 4001, Memory: mib}, api.NoCapacity, "the largest nodes are n9 with 4000 mCPU and 1000 MiB, and n1 with 2000 mCPU and 8000 MiB"},
		{"both, but not on one node", Request{MCPU: 3000, Memory: 2000 * mib}, api.NoCapacity, "on one node"},
		{"more than the domain's", Request{MCPU: 3000, Memory: mib, Domain: "rack1"}, api.NoCapacity, `the largest node in domain "rack1", n1, has 2000 mCPU`},
		{"no such domain", Request{MCPU: 1, Domain: "rack7"}, api.NoCapacity, `wants a node in domain "rack7", and there is none; there are rack1`},
		{"placed already", Request{ID: "p", MCPU: 1}, api.Exists, "on n1"},
		{"negative", Request{MCPU: -1}, api.Invalid, "sane"},
		{"absurd", Request{MCPU: 1 << 62}, api.Invalid, "sane"},
		{"too many apart", Request{Apart: make([]string, MaxApart+1)}, api.TooLarge, "group"},
		{"quota of cores", Request{Realm: "q", MCPU: 1501}, api.Busy, "the realm's quota is 1500 and 0 are reserved"},
		{"quota of memory", Request{Realm: "q", Memory: 501 * mib}, api.Busy, "the realm's quota is 500 MiB"},
	} {
		t.Run(s.name, func(t *testing.T) {
			if s.r.ID == "" {
				s.r.ID = "x"
			}
			if s.r.Realm == "" {
				s.r.Realm = "a"
			}
			err := c.Place(s.r)
			if api.KindOf(err) != s.kind || !strings.Contains(fmt.Sprint(err), s.text) {
				t.Errorf("Place(%+v) = %v, want kind %q and %q", s.r, err, s.kind, s.text)
			}
			c.check()
		})
	}
	c.place("w1", 4000, mib)
	c.want("fits n9", "w1@9")
	c.place("w2", 4000, mib)
	c.place("w3", 4000, mib)
	if err := c.Place(Request{ID: "w4", Realm: "a", MCPU: 4000}); api.KindOf(err) != api.Busy {
		t.Errorf("a third that waits: %v", err)
	}
	c.Lost(9)
	c.want("those that could run once are not refused when their node is lost", "")
}

// Paper 4.3, FAULTS F3: a node that dies before it could say what it has takes nobody's
// place in the queue away.
func TestWhoWaitsForANodeThatDiesUnheardIsNotRefused(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 1000, 32*mib)
	c.Join(Node{Number: 2, Boot: 1, Name: "n2"})
	c.place("p", 50, 48*mib)
	c.Lost(2)
	c.want("it may be back", "")
	c.sizes[2] = [2]int64{1000, 1000 * mib}
	c.Join(Node{Number: 2, Boot: 1, Name: "n2"})
	c.report(2)
	c.want("it is", "p@2")

	c = newCluster(t, Config{}) // a table that has just been begun: nobody is heard
	for n := range uint16(3) {
		c.Join(Node{Number: n + 1, Boot: 1, Name: fmt.Sprint("n", n+1)})
		c.sizes[n+1] = [2]int64{1000, 32 * mib}
	}
	c.place("p", 50, 48*mib)
	c.Lost(2)
	c.report(1)
	c.report(3)
	c.want("those that were there before end no doubt", "")
	c.Join(Node{Number: 2, Boot: 1, Name: "n2"})
	c.report(2)
	c.want("it is back, and too small", "p!no capacity")
}

func TestAGroupIsBounded(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "x", 1000, 1000)
	for i := range MaxSame {
		c.request(Request{ID: fmt.Sprint(i), Group: "g", Apart: []string{"hub"}})
	}
	for _, r := range []Request{{ID: "x", Realm: "a", Group: "g"}, {ID: "x", Realm: "a", Apart: []string{"hub"}}} {
		if err := c.Place(r); api.KindOf(err) != api.TooLarge {
			t.Errorf("Place(%+v) = %v", r, err)
		}
	}
	c.request(Request{ID: "x", Realm: "b", Group: "g", Apart: []string{"hub"}})
	if n := len(c.CancelIf(func(r Request) bool { return r.Realm == "a" })); n != MaxSame-1 {
		t.Errorf("%d were waiting, want %d", n, MaxSame-1)
	}
	c.check()
}

func TestMissingSaysWhyPerNode(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "x", 2000, 100*mib)
	c.join(2, "y", 1000, 100*mib)
	c.join(3, "y", 2000, 10*mib)
	c.join(4, "y", 2000, 100*mib)
	c.join(5, "y", 2000, 100*mib)
	c.Join(Node{Number: 6, Boot: 1, Name: "n6", Domain: "z"})
	c.Join(Node{Number: 5, Boot: 1, Name: "n5", Domain: "y", Draining: true})
	c.request(Request{ID: "r", MCPU: 1000, Memory: 90 * mib, Domain: "x"})
	c.request(Request{ID: "s", MCPU: 1000, Memory: 50 * mib, Domain: "y"})
	c.request(Request{ID: "t", MCPU: 1600, Memory: 50 * mib, Domain: "y"})
	c.request(Request{ID: "w", MCPU: 1600, Memory: 50 * mib})
	lines, ok := c.Missing("w", 100)
	for _, want := range []string{
		"n1: needs 1600 mCPU; 2000 in all, 1000 reserved",
		"n2: needs 1600 mCPU; 1000 in all, 1000 reserved",
		"n3: needs 50 MiB of memory; 10 MiB in all, 0 bytes reserved",
		"n4: needs 1600 mCPU; 2000 in all, 1600 reserved",
		"n5: is draining",
		"n6: has not reported yet; it counts as full",
	} {
		if !strings.Contains(strings.Join(lines, "\n"), want) {
			t.Errorf("Missing = %q, want a line %q", lines, want)
		}
	}
	if !ok || len(lines) != 6 {
		t.Errorf("%d lines, %v", len(lines), ok)
	}
	if lines, _ := c.Missing("w", 2); len(lines) != 3 || !strings.HasPrefix(lines[2], "4 more nodes: ") {
		t.Errorf("Missing of two: %q", lines)
	}
	if _, ok := c.Missing("r", 9); ok {
		t.Error("what is placed is missing something")
	}
}
