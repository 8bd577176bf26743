package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"sigmaos/internal/clock"
)

func TestFollowersSeeEverythingOrAMarker(t *testing.T) {
	for _, c := range []struct {
		name string
		lim  Limits
		slow bool // reads a record only when the writer is done
	}{
		{"in time", Limits{}, false},
		{"too slow", small, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := open(t, t.TempDir(), c.lim, clock.Real())
			l := s.Proc("r", "p")
			const writes = 5000
			var wrote []byte
			for i := range writes {
				wrote = append(wrote, fmt.Sprintf("line %d\n", i)...)
			}
			done := make(chan struct{})
			var wg sync.WaitGroup
			checkers := make([]*checker, 3)
			for i := range checkers {
				ch := &checker{t: t, want: wrote}
				checkers[i] = ch
				wg.Go(func() {
					err := s.Read(context.Background(), "r", "p", Options{Follow: true}, func(r Record) error {
						if c.slow {
							<-done
						}
						return ch.record(r)
					})
					if err != nil {
						t.Error(err)
					}
				})
			}
			// Others in the same realm write at the same time.
			for i := range 2 {
				wg.Go(func() {
					o := s.Proc("r", fmt.Sprint("other", i))
					for range 2000 {
						o.Write(1, []byte("something else\n"))
					}
					o.Close()
				})
			}
			for i := range writes {
				l.Write(1+i%2, fmt.Appendf(nil, "line %d\n", i))
			}
			l.Close()
			close(done)
			wg.Wait()
			for _, ch := range checkers {
				if ch.at != len(wrote) || (ch.markers > 0) != c.slow {
					t.Errorf("follower ended at %d of %d with %d markers", ch.at, len(wrote), ch.markers)
				}
			}
		})
	}
}

func TestFollowerGetsALineWithoutTheTimer(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, fake()) // the timer never fires
	l := s.Proc("r", "p")
	got := make(chan string)
	ended := make(chan error)
	go func() {
		ended <- s.Read(context.Background(), "r", "p", Options{Follow: true}, func(r Record) error {
			got <- string(r.Data)
			return nil
		})
	}()
	for _, line := range []string{"first\n", "second\n", "third\n"} {
		l.Write(1, []byte(line))
		if g := <-got; g != line {
			t.Errorf("got %q, want %q", g, line)
		}
	}
	l.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestFollowEnds(t *testing.T) {
	s := open(t, t.TempDir(), Limits{}, clock.Real())
	s.Proc("r", "p").Write(1, []byte("x\n"))
	stop := errors.New("enough")
	if err := s.Read(context.Background(), "r", "p", Options{Follow: true}, func(Record) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("got %v, want the callback's error", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	err := s.Read(ctx, "r", "p", Options{Follow: true}, func(Record) error { cancel(); return nil })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want canceled", err)
	}
	silent := s.Proc("r", "silent")
	ended := make(chan error)
	go func() {
		ended <- s.Read(context.Background(), "r", "silent", Options{Follow: true}, func(r Record) error {
			return fmt.Errorf("silent proc said %q", r.Data)
		})
	}()
	silent.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	// A follower that stops waiting when the store closes.
	open := s.Proc("r", "open")
	open.Write(1, bytes.Repeat([]byte("y\n"), 10))
	go func() {
		ended <- s.Read(context.Background(), "r", "open", Options{Follow: true}, func(Record) error { return nil })
	}()
	s.Close()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
