package named

import (
	"testing"
	"time"

	"sigmaos/internal/clock"
)

// The lease counts from before its renewal was sent: how long the answer took is
// time of the old lease.
func TestLeaseCountsFromBeforeTheKeepalive(t *testing.T) {
	fake := clock.NewFake(time.Unix(1e9, 0))
	h := newHost(t, "na", func(c *Config) { c.Clock, c.Boottime, c.LeaseTTL = fake, fake.Monotonic, time.Second })
	start := fake.Monotonic()
	h.tree(t, newRealm(t))
	s := h.sess
	if got, want := time.Duration(s.deadline.Load())-start, 900*time.Millisecond; got != want {
		t.Fatalf("the first deadline is after %v, want %v", got, want)
	}
	h.line.pause()
	fake.Await(1)
	third := time.Second / 3
	fake.Advance(third)
	eventually(t, "the renewal is sent", func() bool { return h.line.kept.Load() > 0 })
	fake.Advance(500 * time.Millisecond)
	h.line.resume()
	eventually(t, "the renewal is answered", func() bool { return time.Duration(s.deadline.Load())-start > 900*time.Millisecond })
	if got, want := time.Duration(s.deadline.Load())-start, third+900*time.Millisecond; got != want {
		t.Errorf("after a renewal sent at %v the deadline is %v, want %v", third, got, want)
	}
}

func TestBoottimeGoesOn(t *testing.T) {
	a := boottime()
	time.Sleep(time.Millisecond)
	if b := boottime(); a <= 0 || b <= a {
		t.Errorf("boottime went from %v to %v", a, b)
	}
}
