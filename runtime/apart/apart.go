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
// CPUs themselves; a thread that somebody else keeps to some is left alone.
//
// What else runs on a CPU, procs of other nodes of the machine among it, the Keeper does
// not see. One that waited no less where it was sent is not sent again for a while.
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
	// vain is for how long a thread is left alone that a move did not help.
	vain = 5 * time.Second
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
	owed   time.Duration // of rest, since looks that follow a move come early
	// marks are the CPUs to which threads of a slot were sent, until a look finds
	// none that is kept to one of them.
	marks map[slot]unix.CPUSet
	stop  context.CancelFunc
	wg    sync.WaitGroup
}

type slot struct{ realm, name string }

// times are a thread's since it began.
type times struct {
	ran, waited time.Duration
	before      time.Duration // waited before it was moved at the last look
	alone       time.Time     // until when it is left alone
}

// Start begins. On a machine with one CPU there is nothing to do.
func Start(g Groups, log *slog.Logger) (*Keeper, error) {
	all, cpus, err := threads.CPUs()
	if err != nil {
		return nil, err
	}
	k := keeper(g, log, all, cpus)
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	if len(k.cpus) > 1 {
		k.wg.Go(func() { k.run(ctx) })
	}
	return k, nil
}

func keeper(g Groups, log *slog.Logger, all unix.CPUSet, cpus []int) *Keeper {
	k := &Keeper{groups: g, log: log, all: all, cpus: cpus, number: make(map[int]int), last: make(map[int]times), marks: make(map[slot]unix.CPUSet)}
	for i, c := range cpus {
		k.number[c] = i
	}
	return k
}

// Close ends it. Threads that live on may go everywhere.
func (k *Keeper) Close() {
	k.stop()
	k.wg.Wait()
	for try := 0; try < 3 && len(k.marks) > 0; try++ {
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
		timer.Reset(k.pause(ran, time.Since(begin)))
	}
}

// pause is how long to wait after a look that took so long. What was moved is let go
// soon, however many threads there are; the rest that is due then follows.
func (k *Keeper) pause(ran bool, took time.Duration) time.Duration {
	k.owed += time.Duration(float64(took) / share)
	wait := rest
	switch {
	case len(k.marks) > 0:
		wait = every
	case ran:
		wait = max(every, k.owed)
	default:
		wait = max(rest, k.owed)
	}
	k.owed = max(0, k.owed-wait)
	return wait
}

// look sees what ran, and moves what waited. It reports whether any did, or is new.
func (k *Keeper) look(now time.Time) (ran bool, err error) {
	in := now.Sub(k.looked)
	next, of := make(map[int]times, len(k.last)), make(map[int]seen)
	there := make(map[slot]bool)
	var list []Thread
	err = k.groups.LCThreads(func(realm, name string, tids []int) {
		there[slot{realm, name}] = true
		k.free(realm, name, tids)
		for _, tid := range tids {
			r, w, ok := threads.Times(tid)
			if !ok {
				continue
			}
			t, known := k.last[tid]
			d := Thread{TID: tid, Ran: r - t.ran, Waited: w - t.waited}
			if t.before > 0 && d.Waited >= t.before {
				t.alone = now.Add(vain)
			}
			t.ran, t.waited, t.before = r, w, 0
			next[tid] = t
			ran = ran || !known || d.Ran+d.Waited > 0
			if !known || d.Ran+d.Waited == 0 {
				continue
			}
			if _, cpu, ok := threads.State(tid); ok {
				if d.CPU, ok = k.number[cpu]; ok {
					if now.Before(t.alone) {
						d.Waited = 0
					}
					list = append(list, d)
					of[tid] = seen{slot{realm, name}, d.Waited}
				}
			}
		}
	})
	for s := range k.marks {
		if err == nil && !there[s] {
			delete(k.marks, s)
		}
	}
	k.last, k.looked = next, now
	if k.owed > every {
		return ran, err // it could not be let go soon again
	}
	for _, m := range Plan(list, len(k.cpus), in, most) {
		sent, e := k.move(of[m.TID].slot, m)
		if err = errors.Join(err, e); sent {
			t := next[m.TID]
			t.before = of[m.TID].waited
			next[m.TID] = t
		}
	}
	return ran, err
}

// seen is what a look finds out about a thread that ran.
type seen struct {
	slot
	waited time.Duration
}

// move sends a thread to one CPU, unless somebody else keeps it to some.
func (k *Keeper) move(s slot, m Move) (sent bool, err error) {
	var now, one unix.CPUSet
	if unix.SchedGetaffinity(m.TID, &now) != nil || now != k.all {
		return false, nil
	}
	one.Set(k.cpus[m.To])
	if err := threads.Place(m.TID, one); err != nil {
		return false, err
	}
	mark := k.marks[s]
	mark.Set(k.cpus[m.To])
	k.marks[s] = mark
	return true, nil
}

// free lets the threads of a slot go everywhere again which are kept to a CPU that we
// sent one of them to: what that started meanwhile is, too, or what it starts just now.
// So the slot keeps its mark until there is none.
func (k *Keeper) free(realm, name string, tids []int) {
	s := slot{realm, name}
	mark, marked := k.marks[s]
	if !marked {
		return
	}
	found := false
	for _, tid := range tids {
		if !kept(tid, mark) {
			continue
		}
		found = true
		if err := threads.Place(tid, k.all); err != nil {
			k.log.Debug("apart", "err", err)
		}
	}
	if !found {
		delete(k.marks, s)
	}
}

// kept reports whether a thread is kept to one of these CPUs.
func kept(tid int, mark unix.CPUSet) bool {
	var now unix.CPUSet
	if unix.SchedGetaffinity(tid, &now) != nil || now.Count() != 1 {
		return false
	}
	for i := range now {
		if now[i]&mark[i] != 0 {
			return true
		}
	}
	return false
}
