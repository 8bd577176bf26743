package sim

import (
	"runtime"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/sched/be"
	"sigmaos/sched/lc"
	"sigmaos/sched/pull"
)

// What policy costs is measured afterwards, by doing again, alone and in one go, all
// that one shard, one lcsched and one node did. In the simulation itself a thousand
// nodes take turns in one cache, which no real one has to.

// maxRecord bounds a record.
const maxRecord = 200_000

// record is what one T did.
type record[T any] struct {
	of  *inst
	ops []op[T]
}

type op[T any] struct {
	do    func(T)
	count bool // it is a proc placed
	apart bool // its time is told apart: it comes with time, not with procs
}

// note adds what n does, if the record is n's, until no more procs are spawned.
func (r *record[T]) note(n *inst, o op[T]) {
	if r.of == n && len(r.ops) < maxRecord && !n.quiet {
		r.ops = append(r.ops, o)
	}
}

// records are those of one world.
type records struct {
	shard record[*pull.Shard]
	lc    record[*lc.Table]
	node  record[*pull.Puller]
}

// costs are in ns of CPU time.
type costs struct {
	shard, lc, node float64 // per proc
	report          float64 // per report
}

func (r *records) costs(cfg Config) (c costs) {
	c.shard, _ = replay(&r.shard, pull.NewShard(0, be.New(cfg.QueueMax)))
	c.lc, c.report = replay(&r.lc, lc.New(lc.Config{Epoch: 1, Waiting: cfg.QueueMax}))
	c.node, _ = replay(&r.node, pull.New(pull.Config{Self: r.node.of.number, Seed: cfg.Seed + 1}))
	return c
}

// replay does a record again with x, and gives what it took per proc from the first
// proc on, and what an operation took that is told apart.
func replay[T any](r *record[T], x T) (perProc, perApart float64) {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	runtime.GC() // so that none is due
	first := 0
	for first < len(r.ops) && !r.ops[first].count {
		r.ops[first].do(x)
		first++
	}
	procs, aparts := 0, 0
	var apart time.Duration
	clock := clockTime()
	began := threadTime()
	for i := first; i < len(r.ops); i++ {
		o := &r.ops[i]
		if o.count {
			procs++
		}
		if !o.apart {
			o.do(x)
			continue
		}
		t := threadTime()
		o.do(x)
		apart += threadTime() - t
		aparts++
	}
	took := threadTime() - began - apart - time.Duration(aparts)*clock
	return ratio(float64(took), float64(procs)), ratio(float64(apart)-float64(aparts)*float64(clock), float64(aparts))
}

// clockTime is what threadTime takes.
func clockTime() time.Duration {
	const n = 1000
	t := threadTime()
	for range n {
		threadTime()
	}
	return (threadTime() - t) / n
}

// threadTime is the CPU time of this thread.
func threadTime() time.Duration {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &ts) != nil {
		return 0 // Linux has it since 2.6
	}
	return time.Duration(ts.Nano())
}
