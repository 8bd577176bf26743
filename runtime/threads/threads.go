// Package threads reads what the kernel tells of other processes' threads and tells it
// where, for how long at a time, and before whom they should run.
package threads

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// CPUs are those that this process may use, as a set and as a list.
func CPUs() (all unix.CPUSet, list []int, err error) {
	if err := unix.SchedGetaffinity(0, &all); err != nil {
		return all, nil, fmt.Errorf("threads: the CPUs of this process: %w", err)
	}
	for c := range len(all) * 64 {
		if all.IsSet(c) {
			list = append(list, c)
		}
	}
	return all, list, nil
}

// List are the threads of a process, none when it is gone.
func List(pid int) (tids []int) {
	list, _ := os.ReadDir("/proc/" + strconv.Itoa(pid) + "/task")
	for _, e := range list {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			tids = append(tids, tid)
		}
	}
	return tids
}

// Place lets a thread run on these CPUs alone; one that has ended is fine.
func Place(tid int, cpus unix.CPUSet) error {
	if err := unix.SchedSetaffinity(tid, &cpus); err != nil && err != unix.ESRCH {
		return fmt.Errorf("threads: placing thread %d: %w", tid, err)
	}
	return nil
}

// State is the letter that proc(5) has for what a thread does, and the CPU on which it
// ran last. A thread that is gone has none.
func State(tid int) (state byte, cpu int, ok bool) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(tid) + "/stat")
	if err != nil {
		return 0, 0, false
	}
	// The name is in parentheses and may hold anything; the state follows, and the
	// CPU is field 39 of all.
	f := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	if len(f) < 37 || len(f[0]) != 1 {
		return 0, 0, false
	}
	cpu, err = strconv.Atoi(f[36])
	return f[0][0], cpu, err == nil
}

// SetSlice says how long a thread, and those that it starts, run at a time while others
// of the ordinary class wait. Who has the shorter slice and wakes up takes the CPU at
// once from who has the longer one. Kernels before Linux 6.12 take it and do nothing.
func SetSlice(tid int, d time.Duration) error {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err == nil {
		attr.Runtime = uint64(d)
		err = unix.SchedSetAttr(tid, attr, 0)
	}
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("threads: slices of %v for thread %d: %w", d, tid, err)
	}
	return nil
}

// Policy is the scheduling policy of a thread; one that is gone has none.
func Policy(tid int) (policy int, ok bool) {
	attr, err := unix.SchedGetAttr(tid, 0)
	if err != nil {
		return 0, false
	}
	return int(attr.Policy), true
}

// Realtime makes a thread real-time, taking turns with those of the same priority, and
// with it the threads that it starts from now on, if children is set. Its nice value and
// CPUs stay. One that has ended is fine.
func Realtime(tid, priority int, children bool) error {
	attr := unix.SchedAttr{Policy: unix.SCHED_RR, Priority: uint32(priority)}
	if !children {
		attr.Flags = unix.SCHED_FLAG_RESET_ON_FORK
	}
	if err := unix.SchedSetAttr(tid, &attr, 0); err != nil && err != unix.ESRCH {
		return fmt.Errorf("threads: making thread %d real-time: %w", tid, err)
	}
	return nil
}

// Ordinary undoes Realtime; slice is as for SetSlice, 0 the kernel's own.
func Ordinary(tid int, slice time.Duration) error {
	raw, err := unix.Getpriority(unix.PRIO_PROCESS, tid)
	if err == nil {
		// The call gives 20 less the nice value, since it cannot give negative ones.
		attr := unix.SchedAttr{Policy: unix.SCHED_NORMAL, Nice: int32(20 - raw), Runtime: uint64(slice)}
		err = unix.SchedSetAttr(tid, &attr, 0)
	}
	if err != nil && err != unix.ESRCH {
		return fmt.Errorf("threads: making thread %d ordinary: %w", tid, err)
	}
	return nil
}
