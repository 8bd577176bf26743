package bench

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"time"

	"sigmaos/api"
)

const (
	fairRealms = 4
	fairLimit  = 0.05            // of a realm's share from an equal one
	fairSettle = 2 * time.Second // for shares to be that equal after a change
	fairWindow = time.Second     // over which a share is taken
	fairUse    = 0.95            // of what one realm alone gets
)

// Fair is the paper's Figure 10: four realms, each with as many CPU-bound
// best-effort procs as the machine has CPUs, for every node of the cluster, come
// one after the other and go in the same order. What each gets is read from its
// cgroups, from outside: of all nodes of this machine.
//
// A realm's distance is how far its CPU time is from an equal part of what the
// realms with work got together, relative to that part. The value is the greatest
// of the four, over the time in which all are busy, but for the first 2 s. How
// long shares need after a change is the beginning of the first second in which
// every distance is at most 5 %, where they are so too from then to the next
// change.
func Fair(ctx context.Context, c Cluster, o Options) (r Result, err error) {
	seconds := o.Seconds
	if seconds == 0 {
		seconds = 10
	}
	work, ok := loads[o.Load]
	if !ok {
		return r, api.E(api.Invalid, "bench", "fair", "--load %s: there is img, and without it procs that count", o.Load)
	}
	f := fair{work: work, phase: time.Duration(seconds * float64(time.Second))}
	if f.phase < fairSettle+fairWindow {
		return r, api.E(api.Invalid, "bench", "fair", "--seconds %v: shares have %v to settle and are taken over %v; give at least %v", seconds, fairSettle, fairWindow, (fairSettle + fairWindow).Seconds())
	}
	defer func() { err = errors.Join(err, f.close(ctx)) }()
	if err := f.open(ctx, c, o); err != nil {
		return r, err
	}
	if err := f.run(ctx, o.Log); err != nil {
		return r, err
	}
	return f.result(), nil
}

type fair struct {
	work   burner
	phase  time.Duration
	c      Cluster
	procs  int // of each realm
	realms []*tenant
	s      *sampler
	change []time.Duration // when a realm began to come or to go; then the end
}

// tenant is one realm of the bench.
type tenant struct {
	name    string
	c       Cluster
	conn    io.Closer
	program string
	memory  int64
	id      string // in its groups' paths
	burners *burners
}

// open makes the realms. Each has run its program once: a realm's first start
// takes longer, and is not what this is about.
func (f *fair) open(ctx context.Context, c Cluster, o Options) error {
	f.c = c
	nodes, err := c.Nodes(ctx)
	if err != nil {
		return err
	}
	f.procs = cores() * max(1, len(nodes))
	var patterns []string
	for i := range fairRealms {
		t := &tenant{name: fmt.Sprintf("bench-fair-%d", i+1), memory: f.work.memory}
		err := c.CreateRealm(ctx, t.name)
		if api.KindOf(err) == api.Exists { // of a bench that was killed
			err = errors.Join(c.RemoveRealm(ctx, t.name), c.CreateRealm(ctx, t.name))
		}
		if err != nil {
			return err
		}
		f.realms = append(f.realms, t)
		if t.c, t.conn, err = c.InRealm(ctx, t.name); err != nil {
			return err
		}
		if t.program, _, err = upload(ctx, t.c, o, f.work.program, "make"); err != nil {
			return err
		}
		if err := t.come(ctx, f.procs); err != nil {
			return err
		}
		t.id = t.burners.view.Realm
		patterns = append(patterns, "be/*/"+t.id)
		view := t.burners.view
		t.burners.end(ctx)
		if i == fairRealms-1 {
			f.s = sample(view, patterns...)
		}
	}
	return nil
}

func (t *tenant) come(ctx context.Context, procs int) (err error) {
	t.burners, err = startBurners(ctx, t.c, t.program, t.memory, procs)
	return err
}

func (f *fair) close(ctx context.Context) error {
	var errs []error
	for _, t := range f.realms {
		if t.burners != nil {
			t.burners.end(ctx)
		}
		if t.conn != nil {
			t.conn.Close()
		}
		errs = append(errs, f.c.RemoveRealm(context.WithoutCancel(ctx), t.name))
	}
	return errors.Join(errs...)
}

// run has them come and go.
func (f *fair) run(ctx context.Context, log io.Writer) (err error) {
	defer func() { err = errors.Join(err, f.s.end()) }()
	for k := range 2*fairRealms - 1 {
		f.change = append(f.change, f.s.now())
		if k < fairRealms {
			if err := f.realms[k].come(ctx, f.procs); err != nil {
				return err
			}
		} else {
			f.realms[k-fairRealms].burners.end(ctx)
		}
		fmt.Fprintf(log, "%.0f s: %d realm(s) busy\n", f.change[k].Seconds(), len(f.busy(k)))
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(f.change[k] + f.phase - f.s.now()):
		}
	}
	f.change = append(f.change, f.s.now())
	f.realms[fairRealms-1].burners.end(ctx)
	return nil
}

// busy are the realms that have work in phase k.
func (f *fair) busy(k int) (out []int) {
	for i := max(0, k-fairRealms+1); i <= min(k, fairRealms-1); i++ {
		out = append(out, i)
	}
	return out
}

// distance is the greatest of the realms' that are busy in phase k.
func (f *fair) distance(k int, from, to time.Duration) (worst float64) {
	equal := f.total(k, from, to) / float64(len(f.busy(k)))
	for _, i := range f.busy(k) {
		worst = max(worst, math.Abs(f.s.cores(i, from, to)-equal)/equal)
	}
	return worst
}

// total is what the busy realms got together, cores.
func (f *fair) total(k int, from, to time.Duration) (sum float64) {
	for _, i := range f.busy(k) {
		sum += f.s.cores(i, from, to)
	}
	return sum
}

// settled is how long after its beginning the shares of phase k are equal; false
// where they never are.
func (f *fair) settled(k int) (time.Duration, bool) {
	end := f.change[k+1]
	for t := f.change[k]; t+fairWindow <= end; t += sampleTime {
		if f.distance(k, t, t+fairWindow) <= fairLimit && f.distance(k, t, end) <= fairLimit {
			return t + sampleTime - f.change[k], true // no better seen than that
		}
	}
	return end - f.change[k], false
}

func (f *fair) result() Result {
	const four = fairRealms - 1
	from, to := f.change[four]+fairSettle, f.change[four+1]
	r := Result{Bench: "fair", Row: "distance", Unit: "of an equal share", Value: f.distance(four, from, to)}
	var each []float64 // second
	for t := from; t+fairWindow <= to; t += fairWindow {
		each = append(each, f.distance(four, t, t+fairWindow))
	}
	r.N, r.P50, r.Spread = len(each), median(each), []float64{slices.Min(each), slices.Max(each)}
	r.Against, r.AgainstValue, r.Ratio = "what is allowed", fairLimit, r.Value/fairLimit
	r.Note = fmt.Sprintf("four realms with %d procs each %s, over %.0f s; the spread is that of single seconds", f.procs, f.work.does, (to - from).Seconds())

	settle := Result{Bench: "fair", Row: "settle", Unit: "s"}
	var times []float64
	for k := 1; k < len(f.change)-2; k++ { // with two realms and more
		d, ok := f.settled(k)
		times = append(times, d.Seconds())
		if !ok {
			settle.Note += fmt.Sprintf("after change %d, with %d realms busy, shares did not become equal; ", k, len(f.busy(k)))
		}
	}
	settle.fill(slices.Clone(times))
	settle.P90, settle.P99 = 0, 0
	settle.Value, settle.Spread = slices.Max(times), []float64{slices.Min(times), slices.Max(times)}
	settle.Note += fmt.Sprintf("the longest; one after the other %.1f", times)

	use := Result{Bench: "fair", Row: "utilization", Unit: "cores", Against: "one realm alone", Value: f.total(four, from, to)}
	last := len(f.change) - 2
	use.AgainstValue = (f.total(0, f.change[0]+fairSettle, f.change[1]) + f.total(last, f.change[last]+fairSettle, f.change[last+1])) / 2
	use.N, use.P50 = 3, use.Value // times: all four, the first alone, the last alone
	use.Ratio = use.Value / use.AgainstValue
	use.Note = "all four, against the mean of the first alone and the last alone"
	r.Rows = []Result{settle, use}

	r.Checks = []Check{
		{"shares", r.Value <= fairLimit, fmt.Sprintf("the farthest of four is %.1f %% from an equal share; at most %.0f wanted", 100*r.Value, 100*fairLimit)},
		{"soon", settle.Value <= fairSettle.Seconds(), fmt.Sprintf("equal at the latest %.1f s after a realm comes or goes; at most %.0f wanted", settle.Value, fairSettle.Seconds())},
		{"nothing idle", use.Ratio >= fairUse, fmt.Sprintf("four realms use %.1f %% of what one alone does; at least %.0f wanted", 100*use.Ratio, 100*fairUse)},
	}
	for i := range f.realms {
		r.Courses = append(r.Courses, f.s.course("CPU of four realms that come and go (Figure 10 of the paper)", fmt.Sprintf("realm %d", i+1), i, fairWindow/2))
	}
	for _, c := range f.change {
		r.Changes = append(r.Changes, c.Seconds())
	}
	return r
}
