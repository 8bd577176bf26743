package yield

import (
	"errors"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestPolicy(t *testing.T) {
	type look struct {
		others float64
		want   bool
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"a quiet machine", []look{{0.02, true}, {0.1, true}, {0.3, true}}},
		{"a busy one", []look{{1, false}, {0.9, false}, {0.6, false}}},
		{"a moment of work", []look{{0.1, true}, {0.7, true}, {0.1, true}}},
		{"somebody builds something", []look{{0.1, true}, {0.95, false}, {0.6, false}, {0.6, false}, {0.6, false}}},
		{"and is done", []look{{0.9, false}, {0.1, false}, {0.1, false}, {0.1, true}}},
		{"one CPU's worth, of many", []look{{0.1, true}, {1, false}, {1, false}, {1, false}}},
		{"bursts of 8 ms a second", []look{{0.008, true}, {0.008, true}, {0.1, true}}},
		{"with pauses", []look{{0.9, false}, {0.1, false}, {0.1, false}, {0.5, false}, {0.1, false}, {0.1, false}, {0.1, true}}},
		// Others that get two thirds, or half, of a machine on which best-effort
		// procs compete would get all if these yielded.
		{"not back and forth", []look{{1, false}, {0.66, false}, {0.5, false}, {0.5, false}, {0.5, false}, {0.66, false}}},
	} {
		var p policy
		for i, l := range c.looks {
			if got := p.see(p.yields, l.others, time.Second); got != l.want {
				t.Errorf("%s: after look %d, at %v: yields %v, want %v", c.name, i+1, l.others, got, l.want)
			}
		}
	}
}

// Work that gets a third of a CPU while best-effort procs compete, and all of it once
// these yield, looks calm again and again. Ever fewer tries are made.
func TestTriesBecomeRareWhileTheyFail(t *testing.T) {
	var p policy
	p.see(false, 1, time.Second)
	tries, last := 0, 0
	for now := range 600 {
		others, before := 0.33, p.yields
		if before {
			others = 1
		}
		if p.see(before, others, time.Second) && !before {
			tries, last = tries+1, now
		}
	}
	if tries < 5 || tries > 15 || last < 500 {
		t.Errorf("%d tries in ten minutes, the last after %d s, want 5 to 15 and none given up", tries, last)
	}
	// It ends, and a minute later one try is as short as the first.
	for range 200 {
		p.see(p.yields, 0.02, time.Second)
	}
	if !p.yields {
		t.Fatal("does not yield on a quiet machine")
	}
	p.see(true, 1, time.Second)
	for now := 1; ; now++ {
		if p.see(false, 0.02, time.Second) {
			if got := time.Duration(now) * time.Second; got != calm {
				t.Errorf("after a quiet minute it takes %v, want %v", got, calm)
			}
			break
		}
	}
}

// Nodes of a machine look at different moments. They keep to what the first of them
// decides, and all know when that was too soon.
func TestNodesKeepToOneDecision(t *testing.T) {
	a, b := policy{seen: true}, policy{seen: true}
	now, changes := false, 0
	for range 600 {
		for _, p := range []*policy{&a, &b} {
			others := 0.33
			if now {
				others = 1
			}
			if next := p.see(now, others, time.Second); next != now {
				now = next
				changes++
			}
		}
	}
	if changes < 10 || changes > 60 {
		t.Errorf("%d changes in ten minutes, want 10 to 60", changes)
	}
	if a.calm != longest || b.calm != longest {
		t.Errorf("they wait for %v and %v, want %v", a.calm, b.calm, longest)
	}
}

// One CPU that others take is enough, though the rest of the machine is idle.
func TestOthersAreThoseOfTheBusiestCPU(t *testing.T) {
	at := time.Now()
	sec := func(list ...float64) (out []time.Duration) {
		for _, s := range list {
			out = append(out, time.Duration(s*float64(time.Second)))
		}
		return out
	}
	all := func(list ...float64) map[int]time.Duration {
		out := make(map[int]time.Duration)
		for i, d := range sec(list...) {
			out[i] = d
		}
		return out
	}
	before := usage{at, all(5, 6, 7, 8), sec(1, 1, 1, 1)}
	for _, c := range []struct {
		now  usage
		want float64
	}{
		{usage{at.Add(time.Second), all(5, 6, 7, 8), sec(1, 1, 1, 1)}, 0},
		{usage{at.Add(time.Second), all(6, 7, 8, 9), sec(2, 2, 2, 2)}, 0},
		{usage{at.Add(time.Second), all(6, 7, 8, 9), sec(2, 2, 1, 2)}, 1},
		{usage{at.Add(2 * time.Second), all(6, 6, 7, 8), sec(1, 1, 1, 1)}, 0.5},
		{usage{at.Add(time.Second), all(5, 6, 7, 8), sec(1.1, 1, 1, 1)}, 0}, // ticks are coarse
		{usage{at.Add(time.Second), map[int]time.Duration{0: 5 * time.Second, 9: time.Hour}, sec(1, 1, 1, 1)}, 0},
		{usage{at, all(9, 9, 9, 9), sec(1, 1, 1, 1)}, 0},
	} {
		if got := c.now.others(before); got < c.want-0.001 || got > c.want+0.001 {
			t.Errorf("others of %+v = %v, want %v", c.now, got, c.want)
		}
	}
}

func TestBusyIsAllButIdle(t *testing.T) {
	for stat, want := range map[string]map[int]time.Duration{
		"cpu  1 1 1 1 1 1 1 1\ncpu0 100 10 50 900 30 1 2 7 0 0\ncpu2 0 0 3 9 9 0 0 0 0 0\nintr 1 2\n": {0: 163 * tick, 2: 3 * tick},
		"cpu  0 0 0 0 0 0 0\ncpu0 0 0 0 0 0 0 0":                                                      {0: 0},
	} {
		if got, err := busy(stat); err != nil || !maps.Equal(got, want) {
			t.Errorf("busy(%q) = %v %v, want %v", stat, got, err, want)
		}
	}
	for _, stat := range []string{"", "intr 1 2 3 4 5 6 7 8", "cpu 1 2 3 4 5 6 7 8", "cpu0 1 2", "cpu0 a b c d e f g h", "cpux 1 2 3 4 5 6 7 8"} {
		if _, err := busy(stat); err == nil {
			t.Errorf("busy(%q) succeeds", stat)
		}
	}
}

// What could not be written was not decided: it counts as no try.
func TestADecisionThatFailsIsNone(t *testing.T) {
	f := &fake{refuses: errors.New("no")}
	y := &Yielder{groups: f, log: slog.New(slog.DiscardHandler)}
	var p policy
	for range 5 {
		if err := y.decide(&p, 0, time.Second); err == nil {
			t.Fatal("it says that it has decided")
		}
	}
	if p != (policy{}) {
		t.Errorf("the policy is %+v", p)
	}
}

// fake are groups that use nothing. They start as they are and count what is decided.
type fake struct {
	mu             sync.Mutex
	yields         bool
	decided        int
	blind, refuses error
	neighbours     int
}

func (f *fake) Yield(decide func(bool) bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	next := decide(f.yields)
	if f.refuses != nil { // to write that
		return f.refuses
	}
	f.yields = next
	f.decided++
	return nil
}

func (f *fake) Spent() ([]time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return nil, f.blind
}

func (f *fake) Neighbours() int { return f.neighbours }

// until waits for something of the groups.
func (f *fake) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		done := ok()
		f.mu.Unlock()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatal("never: ", what)
		}
	}
}

// Who cannot see what the others use does not yield, says so once, and goes on when it
// can see again. The same when the groups refuse.
func TestErrorsAreOutlived(t *testing.T) {
	for _, where := range []string{"looking", "groups"} {
		t.Run(where, func(t *testing.T) {
			f := &fake{yields: true, neighbours: 1}
			var out syncBuffer
			set := func(err error) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.decided = 0
				if where == "groups" {
					f.refuses = err
				} else {
					f.blind = err
				}
			}
			set(errors.New("no such group"))
			y := Start(f, slog.New(slog.NewTextHandler(&out, nil)))
			defer y.Close()
			if where == "looking" {
				f.until(t, "competes", func() bool { return !f.yields && f.decided > 2 })
			} else {
				time.Sleep(first + 2*every)
			}
			set(nil)
			f.until(t, "decides again", func() bool { return f.decided > 1 })
			y.Close()
			if n := strings.Count(out.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings, want 1:\n%s", n, out.String())
			}
		})
	}
}

// A node alone decides at its first look; one that comes to others does not end the
// patience of these.
func TestFirstLook(t *testing.T) {
	for neighbours, want := range []bool{true, false} {
		f := &fake{neighbours: neighbours}
		y := Start(f, slog.New(slog.DiscardHandler))
		f.until(t, "a look", func() bool {
			if f.decided == 1 && f.yields != want {
				t.Errorf("beside %d others, its first look makes it yield: %v, want %v", neighbours, f.yields, want)
			}
			return f.decided > 0
		})
		y.Close()
	}
}

type syncBuffer struct {
	mu sync.Mutex
	strings.Builder
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.Builder.Write(p)
}
