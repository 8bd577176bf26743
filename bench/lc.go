package bench

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/cgroup"
)

const (
	lcPairs  = 5
	lcWorkUS = 400
	lcStep   = 2 * time.Millisecond   // between requests
	lcPart   = 0.8                    // of the reservation, in a burst
	lcBurst  = 200 * time.Millisecond // long, and as long apart
	lcLimit  = 1.2                    // p99 beside best-effort procs, over p99 alone
	lcLeft   = 0.9                    // of what is left over, for best-effort procs
)

// LC is the question behind the paper's Figure 11: what does a latency-critical
// proc notice of best-effort procs that use up the machine? A proc with a
// reservation serves requests of 0.4 ms of work over an endpoint; another one, which
// has its CPU time from the branch of sigmad, sends them on a schedule, whether answers
// come or not: one every 2 ms, and then in bursts that use 80 % of the server's
// reservation. A latency counts from the moment at which its request was due. Runs
// alone and runs beside twice as many CPU-bound best-effort procs as there are CPUs
// take turns, with the same server.
//
// The value is the ratio of the 99th percentiles, the median of the pairs of runs.
// What is left over is the CPU time that the machine had and latency-critical
// procs did not use; what the best-effort procs got is read from their cgroups.
func LC(ctx context.Context, c Cluster, o Options) (r Result, err error) {
	l := lcRun{c: c, part: 3 * time.Second}
	n := o.N
	if n == 0 {
		n = lcPairs
	}
	if o.Seconds > 0 {
		l.part = time.Duration(o.Seconds * float64(time.Second))
	}
	if l.part < 2*lcBurst {
		return r, api.E(api.Invalid, "bench", "lc", "--seconds %v: bursts are %v long; give at least %v", o.Seconds, lcBurst, (2 * lcBurst).Seconds())
	}
	if l.program, _, err = upload(ctx, c, o, "benchproc", "make"); err != nil {
		return r, err
	}
	server, err := l.reserved(ctx, reservedMCPU(), goEnv, "lc", "serve", fmt.Sprint(lcWorkUS))
	if err != nil {
		return r, err
	}
	defer endProc(ctx, c, server.ID)
	if l.view, err = viewOf(server); err != nil {
		return r, err
	}
	if l.ep, err = endpointOf(ctx, c, server.ID); err != nil {
		return r, err
	}
	if _, err := l.once(ctx, false); err != nil { // warms up
		return r, err
	}
	for i := range n {
		for _, beside := range []bool{i%2 == 1, i%2 == 0} { // who begins changes
			one, err := l.once(ctx, beside)
			if err != nil {
				return r, err
			}
			if beside {
				l.beside = append(l.beside, one)
			} else {
				l.alone = append(l.alone, one)
			}
		}
		a, b := l.alone[i], l.beside[i]
		fmt.Fprintf(o.Log, "pair %d: p99 %.3f ms alone, %.3f ms beside best-effort procs, which had %.1f %% of what was left\n",
			i+1, float64(a.All.P99)/1e6, float64(b.All.P99)/1e6, 100*b.left)
	}
	return l.result(), nil
}

type lcRun struct {
	c             Cluster
	part          time.Duration // steady, and then in bursts
	program       string
	view          cgroup.View
	ep            api.Endpoint
	alone, beside []lcOnce
}

// quantiles as benchproc tells them, ns.
type quantiles struct{ N, P50, P99, P999, Max int64 }

// lcOnce is what one client measured, and what CPU was used meanwhile.
type lcOnce struct {
	All, Steady, Bursts quantiles
	Late                int64   `json:"late_ns"`
	P99                 []int64 `json:"p99_ns"`
	Count               []int

	left    float64 // the part of what was left over that best-effort procs had
	courses []Course
}

// reserved starts a latency-critical benchproc.
func (l *lcRun) reserved(ctx context.Context, mcpu int64, env []string, args ...string) (api.ProcInfo, error) {
	return startReserved(ctx, l.c, l.program, mcpu, env, args...)
}

func (l *lcRun) once(ctx context.Context, beside bool) (r lcOnce, err error) {
	if beside {
		b, err := startBurners(ctx, l.c, l.program, loads[""].memory, 2*cores())
		if err != nil {
			return r, err
		}
		defer b.end(ctx)
	}
	burstStep := time.Duration(lcWorkUS * 1000 * 1000 / (lcPart * float64(reservedMCPU())))
	// Two threads: one sleeps in the kernel until a request is due.
	client, err := l.reserved(ctx, reservedMCPU()/2, []string{"GOMAXPROCS=2"},
		"lc", "run", string(l.ep), lcStep.String(), burstStep.String(), l.part.String(), l.part.String(), lcBurst.String())
	if err != nil {
		return r, err
	}
	defer endProc(ctx, l.c, client.ID)
	if err := l.view.JoinSys(client.PID); err != nil {
		return r, err
	}
	realm := l.view.Realm
	s := sample(l.view, "lc/*/"+realm, "be/*/"+realm)
	begin := s.now()
	st, err := l.c.WaitExit(ctx, client.ID)
	end := s.now()
	if err := errors.Join(err, s.end()); err != nil {
		return r, err
	}
	out, err := l.c.Output(ctx, client.ID)
	if err != nil {
		return r, err
	}
	if !st.OK() {
		return r, api.E(api.Internal, "bench", string(client.ID), "the client ended: %v", st)
	}
	if err := json.Unmarshal(out, &r); err != nil {
		return r, fmt.Errorf("bench: the client printed %q: %w", out, err)
	}
	r.left = s.cores(1, begin, end) / (float64(cores()) - s.cores(0, begin, end))
	const window = 2 * lcBurst
	r.courses = []Course{s.course("CPU", "latency-critical", 0, window), s.course("CPU", "best-effort", 1, window)}
	return r, nil
}

// row is one part of the schedule: beside against alone.
func (l *lcRun) row(name string, part func(lcOnce) quantiles) (beside, alone Result) {
	fill := func(runs []lcOnce, row string) (r Result, p99s []float64) {
		r = Result{Bench: "lc", Row: row, Measure: "p99", Unit: "ms"}
		var p50, p999 []float64
		for _, one := range runs {
			q := part(one)
			r.N += int(q.N)
			p50, p99s, p999 = append(p50, float64(q.P50)/1e6), append(p99s, float64(q.P99)/1e6), append(p999, float64(q.P999)/1e6)
		}
		r.rounds(p99s)
		r.P50, r.P99, r.P999 = median(p50), r.Value, median(p999)
		return r, p99s
	}
	var with, without, ratios []float64
	beside, with = fill(l.beside, name)
	alone, without = fill(l.alone, name+", alone")
	for i := range with {
		ratios = append(ratios, with[i]/without[i])
	}
	beside.Against, beside.AgainstValue, beside.Ratio = alone.Row, alone.Value, median(ratios)
	beside.Paired = paired(with, without)
	return beside, alone
}

func (l *lcRun) result() Result {
	all, allAlone := l.row("all", func(o lcOnce) quantiles { return o.All })
	r := Result{Bench: "lc", Row: "ratio", Unit: "p99 / p99 alone", N: len(l.alone), Value: all.Ratio, Rows: []Result{all, allAlone}}
	var ratios, left []float64
	for i := range l.alone {
		ratios = append(ratios, float64(l.beside[i].All.P99)/float64(l.alone[i].All.P99))
		left = append(left, l.beside[i].left)
	}
	r.rounds(ratios)
	r.P50, r.Against, r.AgainstValue, r.Ratio = r.Value, "p99 alone", 1, r.Value
	for _, p := range []struct {
		name string
		part func(lcOnce) quantiles
	}{
		{"steady", func(o lcOnce) quantiles { return o.Steady }},
		{"bursts", func(o lcOnce) quantiles { return o.Bursts }},
	} {
		b, a := l.row(p.name, p.part)
		r.Rows = append(r.Rows, b, a)
	}
	be := Result{Bench: "lc", Row: "left-over", Unit: "of what was left", N: len(left), Note: "CPU time of the best-effort procs, of all that latency-critical procs did not use"}
	be.rounds(left)
	be.P50 = be.Value
	r.Rows = append(r.Rows, be)
	var late []float64
	for _, o := range append(l.alone, l.beside...) {
		late = append(late, float64(o.Late)/1e6)
	}
	r.Note = fmt.Sprintf("the median of %d pairs; 99 %% of requests were sent within %.3f ms of when they were due", len(l.alone), median(late))
	r.Checks = []Check{
		{"latency", r.Value <= lcLimit, fmt.Sprintf("p99 beside best-effort procs is %.2f of p99 alone; at most %.1f wanted", r.Value, lcLimit)},
		{"left-over", be.Value >= lcLeft, fmt.Sprintf("best-effort procs got %.1f %% of what was left over; at least %.0f wanted", 100*be.Value, 100*lcLeft)},
	}
	r.Courses = l.figure11()
	return r
}

// figure11 is the last pair over time: latency, requests, CPU.
func (l *lcRun) figure11() (out []Course) {
	last := len(l.beside) - 1
	over := func(panel, name, unit string, n int, y func(int) float64) Course {
		c := Course{Panel: panel, Name: name, Unit: unit}
		for i := range n {
			c.X, c.Y = append(c.X, (float64(i)+0.5)*sampleTime.Seconds()), append(c.Y, y(i))
		}
		return c
	}
	for _, x := range []struct {
		name string
		o    lcOnce
	}{{"alone", l.alone[last]}, {"beside best-effort procs", l.beside[last]}} {
		out = append(out, over("p99 of each tenth of a second (Figure 11 of the paper)", x.name, "ms", len(x.o.P99), func(i int) float64 { return float64(x.o.P99[i]) / 1e6 }))
	}
	b := l.beside[last]
	out = append(out, over("requests", "sent", "1/s", len(b.Count), func(i int) float64 { return float64(b.Count[i]) / sampleTime.Seconds() }))
	return append(out, b.courses...)
}
