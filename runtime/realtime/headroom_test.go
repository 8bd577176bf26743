package realtime

import (
	"errors"
	"testing"
	"time"
)

// What best-effort procs may use and what others use is never more than all but idle, but
// for a moment, and not much less.
func TestHeadroomIsWhatOthersLeave(t *testing.T) {
	var limits []float64
	fail := false
	h := headroom{cpus: 4, set: -1, limit: func(cpus float64) error {
		if fail {
			return errors.New("refused")
		}
		limits = append(limits, cpus)
		return nil
	}}
	now := time.Now()
	var used, slots time.Duration
	run := func(in time.Duration, sys, lc float64) {
		for ; in > 0; in -= tick {
			now = now.Add(tick)
			used += time.Duration((sys + lc) * float64(tick))
			slots += time.Duration(lc * float64(tick))
			if err := h.look(now, used, slots); err != nil && !fail {
				t.Fatal(err)
			}
		}
	}
	last := func() float64 { return limits[len(limits)-1] }
	run(time.Second, 1, 0)
	if len(limits) != 1 || last() >= 0 {
		t.Fatalf("limits of %v though no latency-critical proc runs; want what was there taken off once", limits)
	}
	for _, lc := range []float64{0.2, 0.8, 2, 0.1} {
		run(time.Second, 0.5, lc)
		want := 4*(1-idle) - 0.5 - lc
		if d := last() - want; d < -step-0.001 || d > step+0.001 {
			t.Errorf("%.2f CPUs where others use %.1f, want %.2f", last(), 0.5+lc, want)
		}
		n := len(limits)
		run(time.Second, 0.5, lc)
		if more := len(limits) - n; more > 1 {
			t.Errorf("the limit was set %d times in a second without a change", more)
		}
	}
	run(time.Second, 0.5, 3.9)
	if last() != floor {
		t.Errorf("a limit of %.3f CPUs where nothing is left, want %.2f", last(), floor)
	}
	fail = true
	run(30*time.Second, 0.5, 0)
	fail = false
	run(time.Second, 0.5, 0) // tried again
	if last() >= 0 {
		t.Errorf("a limit of %.2f is left when no latency-critical proc runs", last())
	}
	h.lift()
	run(time.Second, 0.5, 1)
	if last() < 0 {
		t.Error("no limit after a new beginning")
	}
}

func TestHeadroomOfARealMachine(t *testing.T) {
	var h headroom
	if err := h.look(time.Now(), 0, 0); err != nil {
		t.Error(err)
	}
	if err := h.look(time.Now(), time.Hour, time.Hour); err != nil || h.set != 0 {
		t.Errorf("%v, a limit of %v", err, h.set)
	}
}
