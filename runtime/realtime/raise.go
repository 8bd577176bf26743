package realtime

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/threads"
)

// raise makes those threads real-time that should be and are not.
func (k *Keeper) raise() error {
	inside, err := k.room.Inside()
	if err != nil {
		return err
	}
	joined, err := k.room.Joined()
	if err != nil {
		return err
	}
	for tid := range k.joined {
		if !inside[tid] {
			delete(k.joined, tid)
		}
	}
	errs := []error{err}
	for _, s := range k.slots {
		if s.spent {
			errs = append(errs, k.lower(s, inside)) // what it has started in the group
			continue
		}
		s.raised = true
		if s.Path == k.tree.Sys().Path {
			errs = append(errs, k.raiseSys(s, inside))
			continue
		}
		tids, err := k.tree.Threads(s.Claim)
		if err != nil {
			continue // it has just gone
		}
		for _, tid := range tids {
			if joined[tid] {
				k.joined[tid] = true
			}
			errs = append(errs, k.promote(tid, procPriority, true))
		}
	}
	return errors.Join(errs...)
}

// raiseSys does it for sigmad. What it has started is ordinary, and began where sigmad's
// threads are.
func (k *Keeper) raiseSys(s *claimant, inside map[int]bool) error {
	var errs []error
	own := make(map[int]bool)
	for _, tid := range threads.List(os.Getpid()) {
		own[tid] = true
		if tid != k.self {
			errs = append(errs, k.promote(tid, sysPriority, false))
		}
	}
	tids, err := k.tree.Threads(s.Claim)
	for _, tid := range tids {
		if inside[tid] && !own[tid] {
			errs = append(errs, k.room.Return(tid, s.Path))
		}
	}
	return errors.Join(append(errs, err)...)
}

// promote makes a thread real-time, unless it is, or is of some class of its own.
func (k *Keeper) promote(tid, priority int, children bool) error {
	if p, ok := threads.Policy(tid); !ok || p != unix.SCHED_NORMAL {
		return nil
	}
	if err := k.room.Take(tid); err != nil {
		return err
	}
	return threads.Realtime(tid, priority, children)
}

// passes over a slot's threads: those that one starts while we look are as it was.
const passes = 5

// lower makes the threads of a claim ordinary and puts them where they were.
func (k *Keeper) lower(s *claimant, inside map[int]bool) error {
	s.raised = false
	sys := s.Path == k.tree.Sys().Path
	slice := k.slice
	if sys {
		slice = 0
	}
	var errs []error
	for range passes {
		tids, err := k.tree.Threads(s.Claim)
		if err != nil {
			return nil // it has gone
		}
		found := false
		for _, tid := range tids {
			if tid == k.self {
				continue
			}
			p, ok := threads.Policy(tid)
			raised := ok && p == unix.SCHED_RR
			if !raised && !inside[tid] {
				continue
			}
			found = true
			if raised {
				errs = append(errs, threads.Ordinary(tid, slice))
			}
			home := s.Path
			if k.joined[tid] {
				home = k.tree.Sys().Path
			}
			errs = append(errs, k.room.Return(tid, home))
		}
		if !found {
			break
		}
		if inside, err = k.room.Inside(); err != nil {
			return errors.Join(append(errs, err)...)
		}
	}
	return errors.Join(errs...)
}
