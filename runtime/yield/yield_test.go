package yield

import (
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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
		{"with pauses", []look{{0.9, false}, {0.1, false}, {0.1, false}, {0.5, false}, {0.1, false}, {0.1, false}, {0.1, true}}},
		// Others that get two thirds, or half, of a machine on which best-effort
		// procs compete would get all if these yielded.
		{"not back and forth", []look{{1, false}, {0.66, false}, {0.5, false}, {0.5, false}, {0.5, false}, {0.66, false}}},
	} {
		var p policy
		for i, l := range c.looks {
			if p.see(l.others, time.Second); p.yields != l.want {
				t.Errorf("%s: after look %d, at %v: yields %v, want %v", c.name, i+1, l.others, p.yields, l.want)
			}
		}
	}
}

func TestBusyIsAllButIdle(t *testing.T) {
	for stat, want := range map[string]time.Duration{
		"cpu  100 10 50 900 30 1 2 7 0 0\ncpu0 1 1 1 1\n": 163 * tick,
		"cpu  0 0 0 0 0 0 0\n":                            0,
	} {
		if got, err := busy(stat); err != nil || got != want {
			t.Errorf("busy(%q) = %v %v, want %v", stat, got, err, want)
		}
	}
	for _, stat := range []string{"", "intr 1 2 3 4 5 6 7 8", "cpu 1 2", "cpu a b c d e f g h"} {
		if _, err := busy(stat); err == nil {
			t.Errorf("busy(%q) succeeds", stat)
		}
	}
}

// fake are groups that use nothing.
type fake struct {
	mu   sync.Mutex
	said []bool
	err  error
}

func (f *fake) Yield(on bool) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.said = append(f.said, on)
	return nil
}

func (f *fake) Spent() (time.Duration, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return 0, f.err
}

// Who cannot see what the others use does not yield.
func TestWithoutFiguresNothingYields(t *testing.T) {
	f := &fake{}
	y := Start(f, slog.New(slog.DiscardHandler))
	time.Sleep(first / 2)
	f.mu.Lock()
	f.err = errors.New("no such group")
	f.mu.Unlock()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		f.mu.Lock()
		said := append([]bool(nil), f.said...)
		f.mu.Unlock()
		if len(said) > 0 && !said[len(said)-1] {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("said %v, want false at last", said)
		}
	}
	y.Close()
}
