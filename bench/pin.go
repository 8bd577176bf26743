package bench

import (
	"errors"
	"fmt"
	"slices"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/threads"
)

// pin puts all threads of a process on cpus; none is anywhere. Threads that
// come up meanwhile have the CPUs of the thread that made them, so that a pass
// that finds none but those it knows is the last; the first thread comes at the
// end, since that is where the process looks.
func pin(pid int, cpus []int) error {
	if len(cpus) == 0 {
		return nil
	}
	var set unix.CPUSet
	for _, c := range cpus {
		set.Set(c)
	}
	done := map[int]bool{pid: true}
	for fresh := true; fresh; {
		fresh = false
		for _, tid := range threads.List(pid) {
			if done[tid] {
				continue
			}
			fresh, done[tid] = true, true
			if err := unix.SchedSetaffinity(tid, &set); err != nil && !errors.Is(err, unix.ESRCH) {
				return fmt.Errorf("bench: thread %d on CPU %v: %w", tid, cpus, err)
			}
		}
	}
	if err := unix.SchedSetaffinity(pid, &set); err != nil {
		return fmt.Errorf("bench: process %d on CPU %v: %w", pid, cpus, err)
	}
	return nil
}

// places are one CPU for both processes, and one for each. The second is
// missing where this process may use one CPU only.
func places() ([]place, error) {
	_, cpus, err := threads.CPUs()
	if err != nil {
		return nil, fmt.Errorf("bench: %w", err)
	}
	first, last := cpus[0], cpus[len(cpus)-1]
	out := []place{{[]int{first}, []int{first}}, {[]int{first}, []int{last}}}
	return slices.CompactFunc(out, func(a, b place) bool { return a.cpus() == b.cpus() }), nil
}
