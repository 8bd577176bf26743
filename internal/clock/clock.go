// Package clock is the time that parts of the system are given by their
// constructors, so that schedulers, limits and elections can be run on
// simulated time.
//
// [Real] is the machine's clock; [Fake] moves only when a test says so.
package clock

import (
	"time"

	"golang.org/x/sys/unix"
)

// Clock tells the time and calls back later.
type Clock interface {
	// Now is the wall clock. It may jump; use it for stamps that people read.
	Now() time.Time
	// Monotonic is CLOCK_MONOTONIC: time since boot without suspend. It never
	// goes back, and values of two processes of one machine can be compared.
	Monotonic() time.Duration
	// AfterFunc calls f once after d, on a goroutine that f must not block for
	// long. The caller owns the timer and stops it.
	AfterFunc(d time.Duration, f func()) Timer
}

// Timer is one pending call of AfterFunc.
type Timer interface {
	// Stop prevents the call and reports whether it did; false means that the
	// call was made, is being made, or was stopped before.
	Stop() bool
}

// Real is the clock of this machine.
func Real() Clock { return realClock{} }

type realClock struct{}

func (realClock) Now() time.Time { return time.Now() }

// Monotonic goes by the run-time's clock, which is CLOCK_MONOTONIC too, but costs
// no system call.
func (realClock) Monotonic() time.Duration { return origin.mono + time.Since(origin.at) }

// origin is one moment on both clocks: read in between, so that a process that
// is held up between the readings is not off by that.
var origin = func() (o struct {
	at   time.Time
	mono time.Duration
}) {
	best := time.Duration(1<<63 - 1)
	for range 5 {
		before := time.Now()
		var ts unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
			// Linux has had this clock since 2.6; without it nothing here works.
			panic("clock_gettime(CLOCK_MONOTONIC): " + err.Error())
		}
		if took := time.Since(before); took < best {
			best, o.at, o.mono = took, before.Add(took/2), time.Duration(ts.Nano())
		}
	}
	return o
}()

func (realClock) AfterFunc(d time.Duration, f func()) Timer { return time.AfterFunc(d, f) }
