package realtime

import (
	"errors"

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
	var errs []error
	for range passes {
		tids, err := k.tree.Threads(s.Claim)
		if err != nil {
			return nil // it has gone
		}
		found := false
		for _, tid := range tids {
			p, ok := threads.Policy(tid)
			raised := ok && p == unix.SCHED_RR
			if !raised && !inside[tid] {
				continue
			}
			found = true
			if raised {
				errs = append(errs, threads.Ordinary(tid, k.slice))
			}
			if k.joined[tid] {
				errs = append(errs, k.room.ReturnSys(tid))
			} else {
				errs = append(errs, k.room.Return(tid, s.Claim))
			}
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
