// Package spread keeps best-effort procs evenly on the CPUs, because the kernel does
// not.
//
// All best-effort groups are below one of the idle class, whose weight on every
// CPU is the least that there is, 2 or 3, whatever is in it. The kernel compares
// CPUs by the weights of what runs on them. So six best-effort threads on one CPU
// weigh what two weigh on another; and where something of weight is on one CPU, the
// kernel takes best-effort threads away from it, one after the other, without ever
// seeing a difference, until one is left. But shares among realms are kept on each
// CPU by itself: of four realms with two threads each, one that has a CPU for
// itself gets three times what the others get. (A greater weight, with which the
// kernel would see what it does, is not to be had in the idle class, and without
// that class best-effort procs cost latency-critical ones milliseconds. To move
// threads and let them go again does not help either: within a fifth of a second
// they are back.)
//
// So a [Spreader] looks at which threads can run, and where, ten times a second.
// While at least as many as there are CPUs can run for long, it decides on which CPU
// each of these is best ([Plan]) and keeps it there: of one realm too, since a CPU
// from which the kernel took all of them for a latency-critical proc that sleeps most
// of the time is idle meanwhile. A thread that sleeps, and all of them when they are
// fewer than the CPUs, may be anywhere. Realms that cannot have the same on every
// CPU change CPUs once a second, for some CPUs have less time left than others.
// Where nodes share a machine, each keeps its own threads even, however few: that
// makes all of them even. Procs cannot set their CPUs
// themselves, so that every thread which is kept to one is kept by us.
package spread

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
	// turn is how often threads that cannot be even go one CPU further.
	turn = time.Second
	// share is the part of a CPU that looking may take: with very many threads it
	// looks less often.
	share = 0.01
	// most moves of one look.
	most = 32
)

// A thread's busyness is how often it could run at the last looks, the newest
// counting half. One that reaches busy is placed, until it falls below calm.
const (
	busy = 0.7 // two looks after the first
	calm = 0.4
)

// Groups lists the threads of best-effort slots; see cgroup.Tree.
type Groups interface {
	BEThreads(fn func(realm, slot string, tids []int)) error
	// Neighbours are the other nodes of the machine.
	Neighbours() int
}

// Spreader places threads of a node's best-effort procs. Its owner closes it.
type Spreader struct {
	groups  Groups
	log     *slog.Logger
	cpus    []int // that we may use
	all     unix.CPUSet
	threads map[int]*thread // that are or were lately busy
	turned  time.Time
	stop    context.CancelFunc
	wg      sync.WaitGroup
}

// thread is what we know of one.
type thread struct {
	Thread
	busy   float64
	placed bool // counted among the busy ones
	kept   bool // on one CPU, number CPU of ours
	listed bool // at this look
}

// Start begins. On a machine with one CPU there is nothing to do.
func Start(g Groups, log *slog.Logger) (*Spreader, error) {
	all, cpus, err := threads.CPUs()
	if err != nil {
		return nil, err
	}
	s := &Spreader{groups: g, log: log, all: all, cpus: cpus, threads: make(map[int]*thread)}
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	if len(s.cpus) > 1 {
		s.wg.Go(func() { s.run(ctx) })
	}
	return s, nil
}

// Close ends it. Threads that live on stay where they are kept: there should be
// none.
func (s *Spreader) Close() {
	s.stop()
	s.wg.Wait()
}

func (s *Spreader) run(ctx context.Context) {
	timer := time.NewTimer(rest)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		begin := time.Now()
		if err := s.look(); errors.Is(err, unix.EPERM) {
			s.log.Warn("best-effort procs are left where the kernel puts them, so that realms may get unequal shares: this sigmad may not place them (CAP_SYS_NICE)", "err", err)
			return
		} else if err != nil {
			s.log.Debug("spread", "err", err)
		}
		wait := every
		if len(s.threads) == 0 {
			wait = rest
		}
		timer.Reset(max(wait, time.Duration(float64(time.Since(begin))/share)))
	}
}

// look sees what runs, and places it.
func (s *Spreader) look() error {
	for _, t := range s.threads {
		t.listed = false
	}
	number := make(map[int]int, len(s.cpus))
	for i, c := range s.cpus {
		number[c] = i
	}
	var errs []error
	errs = append(errs, s.groups.BEThreads(func(realm, slot string, tids []int) {
		kept := false // some thread of the slot, which those that it starts inherit
		for _, tid := range tids {
			if t := s.threads[tid]; t != nil && t.kept {
				kept = true
			}
		}
		for _, tid := range tids {
			t := s.threads[tid]
			state, cpu, ok := threads.State(tid)
			runs := ok && state == 'R'
			at, ours := number[cpu]
			switch {
			case runs && ours && t == nil:
				t = &thread{Thread: Thread{TID: tid, CPU: at}, kept: s.narrow(tid)}
				s.threads[tid] = t
			case t == nil:
				if kept {
					errs = append(errs, s.free(tid))
				}
				continue
			}
			t.Realm, t.Slot, t.listed = realm, slot, true
			t.busy /= 2
			if runs {
				t.busy += 0.5
				if ours && !t.kept {
					t.CPU = at
				}
			}
		}
	}))
	return errors.Join(append(errs, s.place())...)
}

// place decides where busy threads run, and lets the others go.
func (s *Spreader) place() error {
	var list []Thread
	for tid, t := range s.threads {
		t.placed = t.busy >= busy || t.placed && t.busy >= calm
		switch {
		case !t.listed || !t.kept && t.busy < 0.1:
			delete(s.threads, tid)
		case t.placed:
			list = append(list, t.Thread)
		}
	}
	full := len(list) >= len(s.cpus) || len(list) > 0 && s.groups.Neighbours() > 0
	if full {
		moves := Plan(list, len(s.cpus), most)
		if now := time.Now(); len(moves) == 0 && now.Sub(s.turned) > turn && !Even(list, len(s.cpus)) {
			s.turned = now
			for _, t := range list {
				moves = append(moves, Move{t.TID, (t.CPU + 1) % len(s.cpus)})
			}
		}
		for _, m := range moves {
			s.threads[m.TID].CPU = m.To
			s.threads[m.TID].kept = false // elsewhere
		}
	}
	var errs []error
	for tid, t := range s.threads {
		switch keep := t.placed && full; {
		case keep && !t.kept:
			var one unix.CPUSet
			one.Set(s.cpus[t.CPU])
			errs = append(errs, threads.Place(tid, one))
			t.kept = true
		case !keep && t.kept:
			errs = append(errs, s.free(tid))
			t.kept = false
		}
	}
	return errors.Join(errs...)
}

// narrow reports whether a thread may not go everywhere: it is kept, or was
// started by one that is.
func (s *Spreader) narrow(tid int) bool {
	var now unix.CPUSet
	return unix.SchedGetaffinity(tid, &now) == nil && now != s.all
}

// free lets a thread go everywhere, where it may not.
func (s *Spreader) free(tid int) error {
	if !s.narrow(tid) {
		return nil
	}
	return threads.Place(tid, s.all)
}
