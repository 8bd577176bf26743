// Package apart keeps latency-critical procs from waiting for each other on one CPU
// while another has best-effort procs alone, because the kernel does not.
//
// A thread that wakes up may take any CPU from best-effort procs, whose class is the
// idle one. The kernel knows that of the CPU on which the waker is and of the one on
// which the thread ran last. Where these are the same and busy it looks at the others
// only if its estimate says that some are idle; with best-effort procs on all of them
// none is. So two latency-critical threads that came together stay together: each time
// one of them works the other waits, and nothing moves them, since the kernel evens
// CPUs at ticks of some milliseconds and the wait is over before. A server that works
// 0.4 ms for each request and who sends these waited for each other a third of the time.
//
// So a [Keeper] looks ten times a second at how long each thread of the latency-critical
// procs ran, and how long it waited. One that waited noticeably goes to the CPU on which
// such threads ran least, if that was less than those that it leaves behind ([Plan]). It
// is told so by its set of CPUs, which is that one until the next look and then all
// again; having run there it stays, as the kernel would have it. Procs cannot set their
// CPUs themselves, so that every thread which is kept to one is kept by us.
package apart

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/threads"
)

const (
	// every is the time between two looks where something runs, rest where
	// nothing does.
	every = 100 * time.Millisecond
	rest  = 500 * time.Millisecond
	// share is the part of a CPU that looking may take: with very many threads it
	// looks less often.
	share = 0.01
	// most moves of one look.
	most = 32
)

// Groups lists the threads of latency-critical slots; see cgroup.Tree.
type Groups interface {
	LCThreads(fn func(realm, slot string, tids []int)) error
}

// Keeper keeps threads of a node's latency-critical procs apart. Its owner closes it.
type Keeper struct {
	groups Groups
	log    *slog.Logger
	cpus   []int       // that we may use
	number map[int]int // of each among cpus
	all    unix.CPUSet
	last   map[int]times
	looked time.Time
	moved  map[slot]bool // that had a thread sent to one CPU at the last look
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

type slot struct{ realm, name string }

// times are a thread's since it began.
type times struct{ ran, waited time.Duration }

// Start begins. On a machine with one CPU there is nothing to do.
func Start(g Groups, log *slog.Logger) (*Keeper, error) {
	all, cpus, err := threads.CPUs()
	if err != nil {
		return nil, err
	}
	k := &Keeper{groups: g, log: log, all: all, cpus: cpus, number: make(map[int]int), last: make(map[int]times)}
	for i, c := range cpus {
		k.number[c] = i
	}
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	if len(k.cpus) > 1 {
		k.wg.Go(func() { k.run(ctx) })
	}
	return k, nil
}

// Close ends it. Threads that live on may go everywhere.
func (k *Keeper) Close() {
	k.stop()
	k.wg.Wait()
	if len(k.moved) > 0 {
		if err := k.groups.LCThreads(k.free); err != nil {
			k.log.Debug("apart", "err", err)
		}
	}
}

func (k *Keeper) run(ctx context.Context) {
	timer := time.NewTimer(rest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		ran, err := k.look(begin)
		if errors.Is(err, unix.EPERM) {
			k.log.Warn("latency-critical procs are left where the kernel puts them, so that they may wait for each other beside best-effort ones: this sigmad may not place them (CAP_SYS_NICE)", "err", err)
			return
		} else if err != nil {
			k.log.Debug("apart", "err", err)
		}
		wait := rest
		if ran {
			wait = every
		}
		timer.Reset(max(wait, time.Duration(float64(time.Since(begin))/share)))
	}
}

// look sees what ran, and moves what waited.
func (k *Keeper) look(now time.Time) (ran bool, err error) {
	next, of := make(map[int]times, len(k.last)), make(map[int]slot)
	var list []Thread
	err = k.groups.LCThreads(func(realm, name string, tids []int) {
		k.free(realm, name, tids)
		for _, tid := range tids {
			ran, waited, ok := threads.Times(tid)
			if !ok {
				continue
			}
			t := times{ran, waited}
			next[tid] = t
			before, known := k.last[tid]
			if d := (Thread{TID: tid, Ran: t.ran - before.ran, Waited: t.waited - before.waited}); known && d.Ran+d.Waited > 0 {
				if _, cpu, ok := threads.State(tid); ok {
					if d.CPU, ok = k.number[cpu]; ok {
						list = append(list, d)
						of[tid] = slot{realm, name}
					}
				}
			}
		}
	})
	in := now.Sub(k.looked)
	k.last, k.looked, k.moved = next, now, nil
	for _, m := range Plan(list, len(k.cpus), in, most) {
		var one unix.CPUSet
		one.Set(k.cpus[m.To])
		if e := threads.Place(m.TID, one); e != nil {
			return true, errors.Join(err, e)
		}
		if k.moved == nil {
			k.moved = make(map[slot]bool)
		}
		k.moved[of[m.TID]] = true
	}
	return len(list) > 0, err
}

// free lets the threads of a slot go everywhere again where one was moved: what that
// started meanwhile is kept to the same CPU.
func (k *Keeper) free(realm, name string, tids []int) {
	if !k.moved[slot{realm, name}] {
		return
	}
	for _, tid := range tids {
		if err := threads.Place(tid, k.all); err != nil {
			k.log.Debug("apart", "err", err)
		}
	}
}
