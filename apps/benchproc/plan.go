package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// plan is what a client is to measure.
type plan struct {
	dials, pings int
	bytes        int64
	cpus         *unix.CPUSet // nil is any
}

const maxCount = 1 << 40

// parsePlan reads DIALS PINGS BYTES CPUS.
func parsePlan(args []string) (p plan, err error) {
	if len(args) != 4 {
		return p, fmt.Errorf("want DIALS PINGS BYTES CPUS, not %q", args)
	}
	var n [3]int64
	for i := range n {
		if n[i], err = strconv.ParseInt(args[i], 10, 64); err != nil || n[i] < 0 || n[i] > maxCount {
			return p, fmt.Errorf("%q is no count", args[i])
		}
	}
	p.dials, p.pings, p.bytes = int(n[0]), int(n[1]), n[2]
	if args[3] == "-" {
		return p, nil
	}
	p.cpus = new(unix.CPUSet)
	for _, s := range strings.Split(args[3], ",") {
		c, err := strconv.Atoi(s)
		if err != nil || c < 0 || c >= 1024 {
			return p, fmt.Errorf("%q is no list of CPUs", args[3])
		}
		p.cpus.Set(c)
	}
	return p, nil
}

// awaitCPUs waits until somebody has put this process on the plan's CPUs: its
// first thread, which is put there last.
func (p plan) awaitCPUs(limit time.Duration) error {
	if p.cpus == nil {
		return nil
	}
	var now unix.CPUSet
	for end := time.Now().Add(limit); ; time.Sleep(time.Millisecond) {
		if err := unix.SchedGetaffinity(os.Getpid(), &now); err != nil {
			return fmt.Errorf("sched_getaffinity: %w", err)
		}
		if now == *p.cpus {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("nobody has put this process on its CPUs within %v", limit)
		}
	}
}
