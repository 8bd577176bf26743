package main

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/sigma"
)

// began is one moment on the run-time's clock, which costs no system call, and on
// CLOCK_MONOTONIC, by which the programs that are started stamp their main.
var began, beganNS = func() (time.Time, int64) {
	for {
		before := time.Now()
		var t unix.Timespec
		unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
		if time.Since(before) < 5*time.Microsecond { // not held up in between
			return before, t.Nano()
		}
	}
}()

// now is CLOCK_MONOTONIC in ns.
func now() int64 { return beganNS + int64(time.Since(began)) }

// once spawns program -q and returns the ns until its main began.
func once(ctx context.Context, program string) (int64, error) {
	t := now()
	id, err := sigma.Spawn(ctx, &sigma.Desc{Program: program, Args: []string{"-q"}, Memory: 16 << 20})
	if err != nil {
		return 0, err
	}
	st, err := sigma.WaitExit(ctx, id)
	if err != nil {
		return 0, err
	}
	main, err := strconv.ParseInt(string(st.Data), 10, 64)
	if err != nil || !st.OK() {
		return 0, fmt.Errorf("%s: %v, data %q", id, st, st.Data)
	}
	return main - t, nil
}

// Start is the result of `benchproc start`.
type Start struct {
	NS []int64 `json:"ns"`
}

func start(ctx context.Context, n int, program string) (Start, error) {
	var r Start
	for range n {
		ns, err := once(ctx, program)
		if err != nil {
			return r, err
		}
		r.NS = append(r.NS, ns)
	}
	return r, nil
}

// Rate is the result of `benchproc rate`.
type Rate struct {
	Spawned int     `json:"spawned"`
	Exited  int     `json:"exited"`
	Errors  int     `json:"errors"`
	First   string  `json:"first_error,omitempty"`
	Seconds float64 `json:"seconds"` // from the first Spawn to the last exit
	Backlog int     `json:"backlog"` // not ended when the last Spawn was made
	P50     int64   `json:"p50_ns"`  // from the intended moment of Spawn to main
	P90     int64   `json:"p90_ns"`
}

// rate spawns on a fixed schedule, however the system keeps up; latency
// counts from the scheduled moment.
func rate(ctx context.Context, perSecond float64, seconds float64, program string) Rate {
	total := int(perSecond * seconds)
	ns := make([]int64, total)
	var r Rate
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open atomic.Int64
	begin := now()
	for i := range total {
		due := begin + int64(float64(i)*1e9/perSecond)
		for d := due - now(); d > 0; d = due - now() {
			time.Sleep(time.Duration(d))
		}
		id, err := sigma.Spawn(ctx, &sigma.Desc{Program: program, Args: []string{"-q"}, Memory: 16 << 20})
		if err != nil {
			mu.Lock()
			r.Errors++
			r.First = err.Error()
			mu.Unlock()
			continue
		}
		r.Spawned++
		open.Add(1)
		wg.Add(1)
		go func() {
			defer wg.Done()
			defer open.Add(-1)
			st, err := sigma.WaitExit(ctx, id)
			main, perr := strconv.ParseInt(string(st.Data), 10, 64)
			if err == nil && (perr != nil || !st.OK()) {
				err = fmt.Errorf("%s: %v", id, st)
			}
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				r.Errors++
				r.First = err.Error()
				return
			}
			ns[r.Exited] = main - due
			r.Exited++
		}()
	}
	r.Backlog = int(open.Load())
	wg.Wait()
	r.Seconds = float64(now()-begin) / 1e9
	ns = ns[:r.Exited]
	slices.Sort(ns)
	if len(ns) > 0 {
		r.P50, r.P90 = ns[len(ns)/2], ns[len(ns)*9/10]
	}
	return r
}

// spawning parses and runs the verbs start and rate.
func spawning(ctx context.Context, args []string) (any, error) {
	if len(args) < 3 {
		return nil, fmt.Errorf("want start N PROGRAM or rate R SECONDS PROGRAM")
	}
	x, err := strconv.ParseFloat(args[1], 64)
	if err != nil {
		return nil, err
	}
	switch {
	case args[0] == "start":
		return start(ctx, int(x), args[2])
	case args[0] == "rate" && len(args) == 4:
		seconds, err := strconv.ParseFloat(args[2], 64)
		if err != nil {
			return nil, err
		}
		return rate(ctx, x, seconds, args[3]), nil
	}
	return nil, fmt.Errorf("unknown measurement %q", args)
}
