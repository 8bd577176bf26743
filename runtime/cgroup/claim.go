package cgroup

import (
	"strings"
	"time"
)

// A Claim is what a latency-critical slot has reserved.
type Claim struct {
	Path string
	MCPU int
}

// Claims lists the slots that have reserved something.
func (t *Tree) Claims() (out []Claim) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for path, mcpu := range t.mcpu {
		if strings.Count(path, "/") == slotDepth-1 {
			out = append(out, Claim{path, mcpu})
		}
	}
	return out
}

// Used is the CPU time that latency-critical slots and sigmad, and of that the slots, have
// used since the nodes below the root were started, all of them.
func (t *Tree) Used() (all, slots time.Duration, err error) {
	sys, err := t.cpuTime("sys")
	if err == nil {
		slots, err = t.cpuTime("lc")
	}
	return sys + slots, slots, err
}

// CPU is the CPU time that a group has used.
func (t *Tree) CPU(c Claim) (time.Duration, error) { return t.cpuTime(c.Path) }

// BestEffortCPU is the CPU time that best-effort procs of all nodes below the root have
// used.
func (t *Tree) BestEffortCPU() (time.Duration, error) { return t.cpuTime("be") }

// Threads are those of a group that the kernel lists there for good, wherever else their
// CPU time comes from: in the hierarchy of the pids controller.
func (t *Tree) Threads(c Claim) ([]int, error) {
	dir, v2 := t.dir("pids", c.Path)
	return tids(dir, v2)
}

func tids(dir string, v2 bool) ([]int, error) {
	if v2 {
		return ids(dir, "cgroup.threads")
	}
	return ids(dir, "tasks")
}
