package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/sigma"
)

// latency runs the verbs of lc: both ends are procs.
func latency(ctx context.Context, args []string) (any, error) {
	switch {
	case len(args) == 2 && args[0] == "serve":
		us, err := strconv.ParseFloat(args[1], 64)
		if err != nil || us <= 0 || us > 1e6 {
			return nil, fmt.Errorf("%q is no number of µs", args[1])
		}
		rounds := calibrate(time.Duration(us * 1000))
		lis, _, err := sigma.NewEndpoint(ctx) // who measures finds it by its proc
		if err != nil {
			return nil, err
		}
		if err := sigma.Started(ctx); err != nil {
			return nil, err
		}
		for {
			c, err := lis.Accept()
			if err != nil {
				return nil, err
			}
			go func() {
				defer c.Close()
				answer(c, rounds)
			}()
		}
	case len(args) == 7 && args[0] == "run":
		l, err := parseLoad(args[2:])
		if err != nil {
			return nil, err
		}
		return l.run(ctx, sigma.Endpoint(args[1]))
	}
	return nil, fmt.Errorf("want lc serve US or lc run EP LOAD, not %q", args)
}

// sink keeps the compiler from leaving the work out.
var sink uint64

// work is so many rounds of computing: the same work however long it takes.
func work(rounds int) {
	x := sink | 1
	for range rounds {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
	}
	sink = x
}

func burn() {
	for {
		work(1 << 20)
	}
}

// calibrate says how many rounds of work take d where nothing disturbs: the
// quickest of many tries is nearest to that.
func calibrate(d time.Duration) int {
	const rounds = 1 << 16
	best := time.Duration(1 << 62)
	for range 400 {
		begin := time.Now()
		work(rounds)
		best = min(best, time.Since(begin))
	}
	return max(1, int(float64(rounds)*float64(d)/float64(best)))
}

// answer serves requests of 8 bytes, one after the other, each with its work.
func answer(c net.Conn, rounds int) {
	var b [8]byte
	for {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return
		}
		work(rounds)
		if _, err := c.Write(b[:]); err != nil {
			return
		}
	}
}

// load is a schedule of requests: evenly every step for the first part; then a
// second part in which bursts with a shorter step take turns with the first's.
type load struct {
	step, burstStep  time.Duration
	steady, bursting time.Duration
	burst            time.Duration // length of one, and of what is between two
}

// parseLoad reads STEP BURSTSTEP STEADY BURSTING BURST, durations as Go writes
// them.
func parseLoad(args []string) (l load, err error) {
	for i, to := range []*time.Duration{&l.step, &l.burstStep, &l.steady, &l.bursting, &l.burst} {
		if *to, err = time.ParseDuration(args[i]); err != nil || *to <= 0 {
			return l, fmt.Errorf("%q is no time of a load", args[i])
		}
	}
	return l, nil
}

// call is one request of the schedule.
type call struct {
	due     time.Duration // since the beginning
	burst   bool
	latency time.Duration // from due to the answer
}

func (l load) schedule() (out []call) {
	for t := time.Duration(0); t < l.steady+l.bursting; {
		r := call{due: t, burst: t >= l.steady && (t-l.steady)/l.burst%2 == 0}
		out = append(out, r)
		if t += l.step; r.burst {
			t += l.burstStep - l.step
		}
	}
	return out
}

// Latency is what a client of lc measures.
type Latency struct {
	All    Quantiles `json:"all"`
	Steady Quantiles `json:"steady"`
	Bursts Quantiles `json:"bursts"`
	Begin  int64     `json:"begin_ns"` // CLOCK_MONOTONIC
	End    int64     `json:"end_ns"`
	// Late is the 99th percentile of how late requests were sent.
	Late int64 `json:"late_ns"`
	// P99 of each tenth of a second, by when its requests were due.
	P99   []int64 `json:"p99_ns"`
	Count []int   `json:"count"`
}

// Quantiles of latencies, ns.
type Quantiles struct {
	N    int   `json:"n"`
	P50  int64 `json:"p50"`
	P99  int64 `json:"p99"`
	P999 int64 `json:"p999"`
	Max  int64 `json:"max"`
}

func quantiles(ns []int64) Quantiles {
	if len(ns) == 0 {
		return Quantiles{}
	}
	slices.Sort(ns)
	at := func(p float64) int64 { return ns[min(len(ns)-1, int(p*float64(len(ns))))] }
	return Quantiles{len(ns), at(0.5), at(0.99), at(0.999), ns[len(ns)-1]}
}

// run sends the schedule, whether answers come or not.
func (l load) run(ctx context.Context, ep sigma.Endpoint) (r Latency, err error) {
	c, err := sigma.Dial(ctx, ep)
	if err != nil {
		return r, err
	}
	defer c.Close()
	if err := sigma.Started(ctx); err != nil {
		return r, err
	}
	all := l.schedule()
	late := make([]int64, len(all))
	begin := now() + int64(100*time.Millisecond)
	sent := make(chan error, 1)
	go func() { sent <- send(c, all, begin, late) }()
	var b [8]byte
	for i := range all {
		if _, err := io.ReadFull(c, b[:]); err != nil {
			return r, err
		}
		if k := binary.BigEndian.Uint64(b[:]); k != uint64(i) {
			return r, fmt.Errorf("answer %d is to request %d", i, k)
		}
		all[i].latency = time.Duration(now() - begin - int64(all[i].due))
	}
	r.End = now()
	if err := <-sent; err != nil {
		return r, err
	}
	r.Begin = begin
	r.Late = quantiles(late).P99
	r.fill(all)
	return r, nil
}

const bucket = 100 * time.Millisecond

func (r *Latency) fill(all []call) {
	var every, steady, bursts []int64
	var tenths [][]int64
	for _, q := range all {
		ns := int64(q.latency)
		every = append(every, ns)
		if q.burst {
			bursts = append(bursts, ns)
		} else {
			steady = append(steady, ns)
		}
		for i := int(q.due / bucket); len(tenths) <= i; {
			tenths = append(tenths, nil)
		}
		tenths[q.due/bucket] = append(tenths[q.due/bucket], ns)
	}
	r.All, r.Steady, r.Bursts = quantiles(every), quantiles(steady), quantiles(bursts)
	for _, t := range tenths {
		q := quantiles(t)
		r.P99, r.Count = append(r.P99, q.P99), append(r.Count, q.N)
	}
}

// send writes each request when it is due. It sleeps in the kernel, on a thread of
// its own: Go's timers are a millisecond coarse where nothing else runs.
func send(c net.Conn, all []call, begin int64, late []int64) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	var b [8]byte
	for i, q := range all {
		due := begin + int64(q.due)
		at := unix.NsecToTimespec(due)
		for unix.ClockNanosleep(unix.CLOCK_MONOTONIC, unix.TIMER_ABSTIME, &at, nil) == unix.EINTR {
		}
		late[i] = now() - due
		binary.BigEndian.PutUint64(b[:], uint64(i))
		if _, err := c.Write(b[:]); err != nil {
			return err
		}
	}
	return nil
}
