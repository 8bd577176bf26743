package lc

import (
	"errors"
	"slices"
	"testing"

	"sigmaos/api"
)

func TestFAULTS_F8_RebuiltBeforeTheFirstPlacement(t *testing.T) {
	c := newCluster(t, Config{Epoch: 7})
	c.Join(Node{Number: 1, Boot: 1, Name: "n1"})
	c.sizes[1] = [2]int64{1000, 1000}
	c.place("p", 600, 10)
	c.want("not heard: full", "")
	c.report(1, Held{ID: "old", Realm: "a", MCPU: 600, Memory: 10})
	c.want("what it holds is reserved first", "")
	if cpu, _, procs, waiting := c.Usage("a"); cpu != 1200 || procs != 2 || waiting != 1 {
		t.Errorf("usage %d mCPU, %d procs, %d waiting", cpu, procs, waiting)
	}
	if err := c.Place(Request{ID: "old", Realm: "a"}); api.KindOf(err) != api.Exists {
		t.Errorf("an id that runs is placed again: %v", err)
	}
	c.release(1, "old")
	c.want("then there is room", "p@1")
}

func TestAReportDoesNotUndoWhatIsOnItsWay(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 1000, 1000)
	c.place("p", 600, 10)
	c.want("placed", "p@1")
	c.reportSeen(1, 0) // made before the decision arrived
	c.place("q", 600, 10)
	c.want("p still counts", "")
	c.fence(1).Pass(1, 1)
	c.reportSeen(1, 1, Held{ID: "p", Realm: "a", MCPU: 600, Memory: 10})
	c.want("confirmed", "")
	c.reportSeen(1, 1)
	c.want("gone, though no Release came", "q@1")
}

func TestWhatWasLostOnTheWayIsToldAndFreed(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 1000, 1000)
	c.place("p", 600, 10)
	c.want("placed", "p@1")
	c.Silent(1)
	c.place("q", 100, 10)
	c.want("silent: full", "")
	c.report(1) // the new link: p never arrived, and never will
	c.want("p is lost, q goes", "p!unavailable q@1")
	if f := c.fence(1); f.Pass(1, 1) || !f.Pass(1, 2) {
		t.Error("the lost decision passes the fence, or the next one does not")
	}
}

func TestUnsentGoesBack(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 500, 1000)
	c.join(2, "", 1000, 1000)
	c.place("p", 500, 10)
	d := slices.Clone(c.Decisions())
	c.Unsent(d[0])
	c.want("its link is down: to the other", "p@2")
	c.Unsent(d[0])
	c.want("told twice", "")
}

func TestScheddHasTheLastWord(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 500, 1000)
	c.join(2, "", 1000, 1000)
	c.place("p", 500, 10)
	c.want("best fit", "p@1")
	refuse := func(id string) {
		t.Helper()
		if err := c.Refused(c.from(1), id); err != nil {
			t.Fatal(err)
		}
	}
	refuse("p")
	c.want("refused: to the next", "p@2")
	c.place("q", 400, 10)
	c.want("the refusing one is set aside", "q@2")
	c.place("r", 400, 10)
	c.want("full", "")
	c.place("s", 100, 10)
	c.want("its place in the queue is kept", "s@2")
	c.report(1)
	c.want("after its report", "r@1")
	refuse("r")
	c.report(1)
	c.want("after a second refusal one report is not enough", "")
	c.report(1)
	c.want("two are", "r@1")
	c.report(1, Held{ID: "r", Realm: "a", MCPU: 400, Memory: 10})
	refuse("r") // it has just said that it holds it
	if n, ok := c.Where("r"); n != 1 || !ok {
		t.Errorf("r is on %d %v", n, ok)
	}
	if s := c.Stats(); s.Refused != 2 {
		t.Errorf("stats %+v", s)
	}
}

func TestOldMessagesAreRefused(t *testing.T) {
	for _, s := range []struct {
		name string
		from From
		want error
		ends uint64
	}{
		{"the next", From{1, 1, 5, 100}, nil, 0},
		{"a node that is not known", From{2, 1, 5, 100}, ErrOld, 0},
		{"an earlier boot", From{1, 0, 5, 100}, ErrOld, 0},
		{"overtaken", From{1, 1, 5, 1}, ErrOld, 0},
		{"an earlier epoch", From{1, 1, 4, 100}, ErrOld, 0},
		{"a later epoch", From{1, 1, 6, 100}, ErrDeposed, 6},
	} {
		t.Run(s.name, func(t *testing.T) {
			c := newCluster(t, Config{Epoch: 5})
			c.join(1, "", 1000, 1000)
			if err := c.Report(Report{From: s.from, MCPU: 1000, Memory: 1000}); !errors.Is(err, s.want) {
				t.Errorf("Report(%+v) = %v, want %v", s.from, err, s.want)
			}
			if s.from.N > 1 {
				s.from.N++
			}
			if err := c.Release(s.from, "x"); !errors.Is(err, s.want) {
				t.Errorf("Release(%+v) = %v, want %v", s.from, err, s.want)
			}
			if c.Deposed() != s.ends {
				t.Errorf("deposed by %d, want %d", c.Deposed(), s.ends)
			}
			if err := c.Place(Request{ID: "p", Realm: "a"}); (api.KindOf(err) == api.Unavailable) != (s.ends != 0) {
				t.Errorf("Place afterwards: %v", err)
			}
			if got := len(c.Decisions()); (got == 0) != (s.ends != 0) {
				t.Errorf("%d decisions", got)
			}
		})
	}
}

func TestReportsOfALiarAreRefused(t *testing.T) {
	for name, r := range map[string]Report{
		"negative capacity": {MCPU: -1},
		"absurd capacity":   {MCPU: 1 << 60},
		"absurd memory":     {Memory: 1 << 60},
		"no id":             {Held: []Held{{Realm: "a"}}},
		"no realm":          {Held: []Held{{ID: "a"}}},
		"negative proc":     {Held: []Held{{ID: "a", Realm: "a", MCPU: -1}}},
		"too many":          {Held: make([]Held, MaxHeld+1)},
	} {
		c := newCluster(t, Config{})
		c.Join(Node{Number: 1, Boot: 1})
		r.From = c.from(1)
		if err := c.Report(r); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Two nodes that claim one id are both believed, and neither half is leaked.
func TestOneIDOnTwoNodes(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 1000, 1000)
	c.join(2, "", 1000, 1000)
	h := Held{ID: "p", Realm: "a", MCPU: 600, Memory: 10}
	c.report(1, h)
	c.report(2, h)
	c.place("q", 600, 10)
	c.want("no room on either", "")
	c.release(1, "p")
	if n, _ := c.Where("p"); n != 2 {
		t.Errorf("p is on %d", n)
	}
	c.want("one half is free", "q@1")
	if err := c.Place(Request{ID: "p", Realm: "a"}); api.KindOf(err) != api.Exists {
		t.Errorf("placed again: %v", err)
	}
	c.Lost(2)
	if _, ok := c.Where("p"); ok {
		t.Error("p is still somewhere")
	}
	c.check()
}

func TestWhatANodeRunsIsNotPlacedAgain(t *testing.T) {
	c := newCluster(t, Config{})
	c.join(1, "", 100, 1000)
	c.place("fill", 100, 10)
	c.place("p", 100, 10)
	c.want("p waits", "fill@1")
	c.join(2, "", 50, 1000)
	c.report(2, Held{ID: "p", Realm: "a", MCPU: 50})
	c.want("it runs", "p!exists")
}

func TestFence(t *testing.T) {
	var f Fence
	if f.Pass(0, 1) || f.Pass(1, 1) {
		t.Error("a decision passes before any Hello")
	}
	for i, s := range []struct {
		do   func() bool
		want bool
	}{
		{func() bool { return f.Hello(Hello{3, 0}) }, true},
		{func() bool { return f.Pass(3, 1) }, true},
		{func() bool { return f.Pass(3, 1) }, false}, // doubled
		{func() bool { return f.Pass(3, 3) }, true},
		{func() bool { return f.Pass(3, 2) }, false}, // overtaken
		{func() bool { return f.Pass(2, 9) }, false},
		{func() bool { return f.Pass(4, 9) }, false}, // no Hello yet
		{func() bool { return f.Hello(Hello{2, 9}) }, false},
		{func() bool { return f.Hello(Hello{3, 5}) }, true},
		{func() bool { return f.Pass(3, 5) }, false}, // void
		{func() bool { return f.Hello(Hello{4, 0}) }, true},
		{func() bool { return f.Pass(3, 6) }, false},
		{func() bool { return f.Pass(4, 1) }, true},
	} {
		if got := s.do(); got != s.want {
			t.Errorf("step %d: %v, want %v", i, got, s.want)
		}
	}
	if a, b := f.Stamp(1, 2), f.Stamp(1, 2); a != (From{1, 2, 4, 1}) || b.N != 2 || f.Epoch() != 4 || f.Seen() != 1 {
		t.Errorf("stamps %+v %+v, epoch %d, seen %d", a, b, f.Epoch(), f.Seen())
	}
}
