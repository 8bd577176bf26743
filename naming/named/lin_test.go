package named

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (w *world) check() porcupine.CheckResult {
	w.hmu.Lock()
	defer w.hmu.Unlock()
	res, info := porcupine.CheckOperationsVerbose(fileModel, w.history, time.Minute)
	if res == porcupine.Illegal && !w.planted {
		path := os.TempDir() + "/named-history.html"
		if err := porcupine.VisualizePath(fileModel, info, path); err == nil {
			w.t.Logf("the history is drawn in %s", path)
		}
	}
	return res
}

// follower keeps a watch on the root through all changes of leaders.
func (w *world) follower(ctx context.Context, rng *rand.Rand, from uint64, until *atomic.Uint64) (ev []tree.Event, at uint64) {
	at = from
	var mu sync.Mutex
	turn := 0
	for ctx.Err() == nil && (until.Load() == 0 || at < until.Load()) {
		wctx, cancel := context.WithTimeout(ctx, time.Duration(200+rng.IntN(800))*time.Millisecond)
		root, err := w.root(wctx, rng)
		if err != nil {
			sleep(ctx, 5*time.Millisecond)
			cancel()
			continue
		}
		mu.Lock()
		turn++
		mine, since := turn, at
		mu.Unlock()
		done := make(chan error, 1)
		go func() {
			done <- root.Watch(wctx, since, func(to uint64, more []tree.Event) error {
				mu.Lock()
				defer mu.Unlock()
				if mine != turn {
					return errors.New("not waited for any more")
				}
				ev, at = append(ev, more...), to
				return nil
			})
		}()
		select { // a leader that is stopped does not even see that the time is over
		case err = <-done:
			if k := api.KindOf(err); k != api.Deadline && k != api.Unavailable && k != api.Canceled {
				w.t.Errorf("a watch from version %d: %v", since, err)
				cancel()
				return ev, at
			}
		case <-wctx.Done():
		}
		mu.Lock()
		turn++
		mu.Unlock()
		cancel()
	}
	return ev, at
}

// Linearizable under kills, stops, isolation and lost answers, and watches that
// miss nothing and tell nothing twice, for 20 seconds (3 minutes with
// SIGMA_LONG=1).
func TestFAULTS_F9_F10_Linearizable(t *testing.T) {
	d := 20 * time.Second
	if long() {
		d = 3 * time.Minute
	}
	s := seed()
	w := newWorld(t, hooks{}, s)
	first, err := w.root(tctx(t), rand.New(rand.NewPCG(s, 1)))
	if err != nil {
		t.Fatal(err)
	}
	a, err := first.Attr(tctx(t))
	if err != nil {
		t.Fatal(err)
	}
	fctx, stop := context.WithTimeout(context.Background(), d+30*time.Second)
	defer stop()
	var until atomic.Uint64
	type told struct {
		ev []tree.Event
		at uint64
	}
	follows := make(chan told, 2)
	for i := range 2 {
		go func() {
			ev, at := w.follower(fctx, rand.New(rand.NewPCG(s, uint64(200+i))), a.Version, &until)
			follows <- told{ev, at}
		}()
	}
	w.run(d, s, []string{"pause", "kill", "deaf", "mute", "close"})

	// Everything is healed: a write must go through, and be heard of.
	var end tree.Attr
	rng := rand.New(rand.NewPCG(s, 300))
	eventually(t, "the realm works again", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		root, err := w.root(ctx, rng)
		if err == nil {
			end, err = root.Put(ctx, "end", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true})
		}
		return err == nil
	})
	until.Store(end.Version)
	for range 2 {
		f := <-follows
		w.checkWatch(f.ev, f.at, a.Version, end.Version)
	}
	if res := w.check(); res != porcupine.Ok {
		t.Errorf("the history of %d operations is %v (seed %d)", len(w.history), res, s)
	}
	t.Logf("%d operations, %d writes acknowledged, %d terms", len(w.history), len(w.acked), len(w.terms))
	if len(w.acked) < 100 || len(w.terms) < 3 {
		t.Errorf("%d acknowledged writes in %d terms prove nothing", len(w.acked), len(w.terms))
	}
}

// checkWatch: everything happened in the root, so its watch tells every version
// there was, once, and each write that was acknowledged under its version. A rename
// is two events, one behind the other.
func (w *world) checkWatch(ev []tree.Event, at, from, end uint64) {
	w.t.Helper()
	if at < end || uint64(len(ev)) != at-from {
		w.t.Errorf("a watch told %d events up to version %d, want all from %d to at least %d", len(ev), at, from, end)
	}
	by := make(map[uint64]tree.Event)
	for i, e := range ev {
		if e.Version != from+1+uint64(i) {
			w.t.Errorf("event %d has version %d, want %d: %+v", i, e.Version, from+1+uint64(i), e)
			return
		}
		if e.Kind == tree.Renamed && (i+1 == len(ev) || ev[i+1].Kind != tree.Created || ev[i+1].ID != e.ID) {
			w.t.Errorf("event %d says that %s was renamed; behind it is told %+v", i, e.Name, ev[i+1:min(i+2, len(ev))])
		}
		by[e.Version] = e
	}
	w.hmu.Lock()
	defer w.hmu.Unlock()
	for v, in := range w.acked {
		e := by[v]
		if e.Name != in.file || e.Kind != tree.Created && e.Kind != tree.Changed || in.kind == opCreate && e.Kind != tree.Created {
			w.t.Errorf("the write %+v was acknowledged with version %d; told is %+v", in, v, e)
		}
	}
}

// Defects that this test is for: each must be found within a minute; most are in
// the first round.
func TestTheCheckerFindsPlantedDefects(t *testing.T) {
	for _, c := range []struct {
		name  string
		hooks hooks
		kinds []string
		harm  time.Duration
		// between shows a state of renames that must not be seen.
		between func(*term, *stage) bool
	}{
		// Until the end: who reads from the old leader meets what the next wrote.
		{"stale read", hooks{serveStale: true}, []string{"deaf"}, time.Minute, nil},
		{"lost write", hooks{ackEarly: true}, []string{"deaf", "kill"}, 700 * time.Millisecond, nil},
		// Until the end: what the old leader had begun comes behind all others.
		{"no fence", hooks{noFence: true}, []string{"pause"}, time.Minute, nil},
		{"rename shows both names", hooks{}, nil, 0, linkFirst},
		{"rename shows neither name", hooks{}, nil, 0, unlinkFirst},
	} {
		t.Run(c.name, func(t *testing.T) {
			for round, began := 0, time.Now(); time.Since(began) < 55*time.Second; round++ {
				s := seed()
				var w *world
				h := c.hooks
				if c.between != nil {
					h.publish = func(t *term, s *stage) {
						if c.between(t, s) {
							w.answers(8)
						}
					}
				}
				w = newWorld(t, h, s)
				w.planted, w.harm = true, c.harm
				w.run(3500*time.Millisecond, s, c.kinds)
				if w.check() == porcupine.Illegal {
					t.Logf("found in round %d, among %d operations", round+1, len(w.history))
					return
				}
			}
			t.Error("not found")
		})
	}
}

// linkFirst shows the new names of what was renamed while the old ones are there.
func linkFirst(t *term, s *stage) (renames bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, id := range s.ents {
		if dir, n := s.st.nodes[k.parent], s.st.nodes[id]; dir != nil && n != nil {
			s.st.link(dir, k.name, n)
			renames = true
		}
	}
	return renames
}

// unlinkFirst takes the old names away while the new ones are not there yet.
func unlinkFirst(t *term, s *stage) (renames bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for k, id := range s.ents {
		if dir := s.st.nodes[k.parent]; dir != nil && id == 0 {
			s.st.unlink(dir, k.name)
			renames = true
		}
	}
	return renames
}

// answers waits until the clients have had so many more, however slow the machine,
// or until they seem to have none.
func (w *world) answers(more int) {
	count := func() int {
		w.hmu.Lock()
		defer w.hmu.Unlock()
		return len(w.history)
	}
	end := time.Now().Add(100 * time.Millisecond)
	for want := count() + more; count() < want && time.Now().Before(end); {
		time.Sleep(200 * time.Microsecond)
	}
}
