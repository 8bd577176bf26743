package trial

import (
	"bytes"
	"context"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/clock"
)

// Run is what home is asked to measure.
type Run struct {
	Class   string  `json:"class"` // BE or LC
	Seconds float64 `json:"seconds"`
	Rate    float64 `json:"rate,omitempty"` // Spawns a second; 0 is as many as there can be
}

// Ran is the answer.
type Ran struct {
	Run
	Spawned  int    `json:"spawned"`
	Accepted int    `json:"accepted"`        // of those, as their callers learned
	Node     int64  `json:"node"`            // the same, as the node counted
	Distinct int    `json:"distinct"`        // ids
	Error    string `json:"error,omitempty"` // the first of what was not accepted
	Most     int64  `json:"most"`            // under way at a time

	Value float64 `json:"value"`  // acceptances a second while it was measured
	P50   int64   `json:"p50_ns"` // from the moment at which a Spawn was due
	P99   int64   `json:"p99_ns"`

	Descriptor int              `json:"descriptor"` // bytes of one, encoded
	Batch      Calls            `json:"batch"`      // of home's messages
	CPU        map[string]int64 `json:"cpu_ns"`     // by part, for one placement
}

const (
	outstanding = 4096
	warming     = 500 * time.Millisecond
	slack       = 30 * time.Second // for the last ones to be answered
)

// load is a run under way.
type load struct {
	c     *cluster
	ctx   context.Context
	class api.Class

	next  atomic.Int64 // descriptors made so far
	under atomic.Int64
	most  atomic.Int64

	mu       sync.Mutex
	ids      [][idSize]byte
	took     []time.Duration
	accepted int
	failed   string
}

// idSize is that of the part of an id which tells procs apart.
const idSize = 26

func (c *cluster) measure(ctx context.Context, r Run) (ran Ran, err error) {
	l := &load{c: c}
	if r.Class == api.LC.String() {
		l.class = api.LC
	}
	wait := time.Duration(r.Seconds*float64(time.Second)) + warming + slack
	var cancel context.CancelFunc
	l.ctx, cancel = context.WithTimeout(ctx, wait)
	defer cancel()
	before, err := c.uses()
	if err != nil {
		return ran, err
	}
	c.calls.take()
	ran.Run = r
	if r.Rate > 0 {
		ran.Value = l.paced(r)
	} else {
		ran.Value = l.full(r)
	}
	after, err := c.uses()
	if err != nil {
		return ran, err
	}
	ran.Batch = c.calls.take()
	ran.Spawned, ran.Accepted, ran.Error, ran.Most = len(l.ids), l.accepted, l.failed, l.most.Load()
	ran.CPU = make(map[string]int64)
	for i, name := range names {
		ran.Node += after[i].Accepted - before[i].Accepted
		ran.CPU[name] = (after[i].CPU - before[i].CPU) / int64(max(1, len(l.ids)))
	}
	slices.SortFunc(l.ids, func(a, b [idSize]byte) int { return bytes.Compare(a[:], b[:]) })
	ran.Distinct = len(slices.Compact(l.ids))
	slices.Sort(l.took)
	if n := len(l.took); n > 0 {
		ran.P50, ran.P99 = int64(l.took[n/2]), int64(l.took[min(n-1, n*99/100)])
	}
	ran.Descriptor = len(wire.EncodeDesc(l.descriptor(0)))
	return ran, nil
}

// uses is what all parts have done so far.
func (c *cluster) uses() (all []used, err error) {
	all = append(all, used{c.door.count(), int64(clock.CPU())})
	for _, o := range c.others {
		u, err := o.ask()
		if err != nil {
			return nil, err
		}
		all = append(all, u)
	}
	return all, nil
}

// full has as many callers as there may be procs under way, each of which spawns
// again when its proc was accepted.
func (l *load) full(r Run) (rate float64) {
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range outstanding {
		wg.Go(func() {
			for !stop.Load() && l.ctx.Err() == nil {
				l.one(time.Now())
			}
		})
	}
	l.sleep(warming)
	first, begin := l.count(), time.Now()
	l.sleep(time.Duration(r.Seconds * float64(time.Second)))
	n, d := l.count()-first, time.Since(begin)
	stop.Store(true)
	wg.Wait()
	return float64(n) / d.Seconds()
}

func (l *load) sleep(d time.Duration) {
	select {
	case <-time.After(d):
	case <-l.ctx.Done():
	}
}

// paced spawns at a rate, each in a goroutine of its own. A Spawn that is due while
// as many are under way as may be has to wait, and its time with it.
func (l *load) paced(r Run) (rate float64) {
	var wg sync.WaitGroup
	room := make(chan struct{}, outstanding)
	begin := time.Now()
	all := int(r.Rate * r.Seconds)
	for i := 0; i < all && l.ctx.Err() == nil; {
		due := int(time.Since(begin).Seconds() * r.Rate)
		for ; i < min(due, all); i++ {
			at := begin.Add(time.Duration(float64(i) / r.Rate * float64(time.Second)))
			room <- struct{}{}
			wg.Go(func() {
				l.one(at)
				<-room
			})
		}
		time.Sleep(time.Millisecond / 2)
	}
	wg.Wait()
	return float64(l.count()) / time.Since(begin).Seconds()
}

func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.accepted
}

// one spawns a proc that was due at a moment, and waits until it was accepted.
func (l *load) one(due time.Time) {
	for n := l.under.Add(1); ; {
		most := l.most.Load()
		if n <= most || l.most.CompareAndSwap(most, n) {
			break
		}
	}
	defer l.under.Add(-1)
	id, err := l.c.schedd.Spawn(caller, l.descriptor(l.next.Add(1)))
	var st api.Status
	if err == nil {
		st, err = l.c.schedd.WaitExit(l.ctx, caller, string(id))
	}
	took := time.Since(due)
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(id) >= idSize {
		l.ids = append(l.ids, [idSize]byte([]byte(id[len(id)-idSize:])))
	}
	switch {
	case err == nil && st.State == api.Refused && st.Message == accepted:
		l.accepted++
		l.took = append(l.took, took)
	case l.failed != "":
	case err != nil:
		l.failed = err.Error()
	default:
		l.failed = st.String()
	}
}

// descriptor makes the n-th one. No two are the same.
func (l *load) descriptor(n int64) *api.ProcDesc {
	d := &api.ProcDesc{
		Program: program, Class: l.class, Memory: api.DefaultMem,
		Args: []string{"--shard", strconv.FormatInt(n, 10), "--in", "/ux/~local/trial/part-" + strconv.FormatInt(n%1000, 10)},
		Env:  []string{"TRIAL_REGION=a place with a longer name", "TRIAL_STAGE=measurement", "TRIAL_LEVEL=warn", "TRIAL_OUT=/s3/~any/trial/results"},
	}
	if l.class == api.LC {
		d.MCPU = 10
	}
	return d
}
