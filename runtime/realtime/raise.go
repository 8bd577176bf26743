package realtime

import (
	"errors"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/cgroup"
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
	var errs []error
	for _, s := range k.slots {
		if s.spent {
			_, err := k.lower(s) // what it has started in the group
			errs = append(errs, err)
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

// lower makes the threads of a claim ordinary and puts them where they were. It reports
// whether none is left that is not; else it is to be called again.
func (k *Keeper) lower(s *claimant) (done bool, err error) {
	var errs []error
	for range passes {
		inside, err := k.room.Inside()
		if err != nil {
			return false, errors.Join(append(errs, err)...)
		}
		tids, err := k.tree.Threads(s.Claim)
		if err != nil {
			return cgroup.Vanished(err), errors.Join(errs...)
		}
		done = true
		for _, tid := range tids {
			p, ok := threads.Policy(tid)
			raised := ok && p == unix.SCHED_RR
			if !raised && !inside[tid] {
				continue
			}
			done = false
			if raised {
				errs = append(errs, threads.Ordinary(tid, k.slice))
			}
			if k.joined[tid] {
				errs = append(errs, k.room.ReturnSys(tid))
			} else {
				errs = append(errs, k.room.Return(tid, s.Claim))
			}
		}
		if done {
			s.raised = false
			return true, errors.Join(errs...)
		}
	}
	return false, errors.Join(errs...)
}
