package clock

import (
	"sync"
	"time"
)

// Fake is a clock that stands still until Advance moves it. It is safe for
// concurrent use. Due functions run on the goroutine that calls Advance, in the
// order of their times, so a test knows that they have returned.
type Fake struct {
	mu      sync.Mutex
	changed *sync.Cond // pending grew or shrank
	start   time.Time
	elapsed time.Duration
	seq     uint64
	pending map[*fakeTimer]struct{}
}

// bootAge keeps Monotonic away from zero, which code may use for "never".
const bootAge = time.Hour

// NewFake starts a clock at start.
func NewFake(start time.Time) *Fake {
	f := &Fake{start: start.Round(0), pending: make(map[*fakeTimer]struct{})}
	f.changed = sync.NewCond(&f.mu)
	return f
}

type fakeTimer struct {
	clock *Fake
	at    time.Duration // elapsed time when due
	seq   uint64        // order of creation, decides between equals
	call  func()
}

// Now is the start plus everything advanced.
func (f *Fake) Now() time.Time {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.start.Add(f.elapsed)
}

// Monotonic moves with Now, from an origin of its own.
func (f *Fake) Monotonic() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bootAge + f.elapsed
}

// AfterFunc has fn called by the Advance that reaches now + d; with d <= 0 by
// the next Advance, even of 0.
func (f *Fake) AfterFunc(d time.Duration, fn func()) Timer {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.seq++
	t := &fakeTimer{clock: f, at: f.elapsed + max(d, 0), seq: f.seq, call: fn}
	f.pending[t] = struct{}{}
	f.changed.Broadcast()
	return t
}

func (t *fakeTimer) Stop() bool {
	t.clock.mu.Lock()
	defer t.clock.mu.Unlock()
	_, ok := t.clock.pending[t]
	delete(t.clock.pending, t)
	t.clock.changed.Broadcast()
	return ok
}

// Advance moves time on by d, calling what falls due at its own time; a
// function may set further timers, which count too.
func (f *Fake) Advance(d time.Duration) {
	f.mu.Lock()
	until := f.elapsed + max(d, 0)
	for {
		t := f.firstLocked()
		if t == nil || t.at > until {
			break
		}
		delete(f.pending, t)
		f.elapsed = max(f.elapsed, t.at)
		f.changed.Broadcast()
		f.mu.Unlock()
		t.call()
		f.mu.Lock()
	}
	f.elapsed = max(f.elapsed, until)
	f.mu.Unlock()
}

func (f *Fake) firstLocked() *fakeTimer {
	var first *fakeTimer
	for t := range f.pending {
		if first == nil || t.at < first.at || t.at == first.at && t.seq < first.seq {
			first = t
		}
	}
	return first
}

// Pending is the number of timers that are set.
func (f *Fake) Pending() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.pending)
}

// Await blocks until at least n timers are set: the way for a test to wait for
// a goroutine that is about to sleep.
func (f *Fake) Await(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for len(f.pending) < n {
		f.changed.Wait()
	}
}
