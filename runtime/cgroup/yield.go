package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// besideScale is how many times the group beside the root the root weighs: what is
// reserved is there although best-effort procs compete with the host's.
const besideScale = 16

// besideShares are the weights of the root and of the group beside it when that
// competes. The group's is that of as many of the host's processes as there are CPUs,
// but never more than leaves the root its distance: from 17 CPUs on the root weighs
// the most that the kernel takes, and the group as much as 16 processes.
func besideShares(cpus int) (root, be int) {
	root = min(besideScale*1024*cpus, maxShares)
	return root, min(1024*cpus, root/besideScale)
}

// Apart reports whether the be branch is beside the root, so that Yield has a meaning.
// It yields to what else is in the group that the root is in: to the whole machine only
// where that is the hierarchy's own root.
func (t *Tree) Apart() bool { return t.outer() != "" }

// outer is the directory of the group beside the root that has the be branch, if there
// is one.
func (t *Tree) outer() string {
	dir, _ := t.dir("cpu", "be")
	if up := filepath.Dir(dir); strings.HasSuffix(up, beside) {
		return up
	}
	return ""
}

// setRoot makes the root weigh against the host's processes at least as much as the
// machine has CPUs. All nodes write the same.
func (t *Tree) setRoot() error {
	if !t.Apart() {
		return t.setWeight("", 1000*runtime.NumCPU())
	}
	dir, _ := t.dir("cpu", "")
	root, _ := besideShares(runtime.NumCPU())
	return write(dir, "cpu.shares", strconv.Itoa(root))
}

// setYield begins with a branch that competes, unless others are in it, who have said
// what it is to do.
func (t *Tree) setYield() error {
	return t.Yield(func(yields bool) bool { return yields && t.Neighbours() > 0 })
}

// Yield asks whether best-effort procs are to run only when nothing else wants to, or
// weigh against the host's processes together as besideShares says; decide is told
// which of the two they do. All nodes of a machine share one branch: no other decides
// or writes meanwhile, and what none has said, or half of it, is put right. Where the
// branch is below the root nothing happens.
func (t *Tree) Yield(decide func(yields bool) bool) error {
	dir := t.outer()
	if dir == "" {
		return nil
	}
	// Shares cannot be set in a group of the idle class, so the two are one change.
	lock, err := lockDir(dir)
	if err != nil {
		return err
	}
	defer lock.Close()
	_, shares := besideShares(runtime.NumCPU())
	_, least := weightFile(false, 0)
	idle, err := readInt(dir, "cpu.idle")
	if errors.Is(err, fs.ErrNotExist) { // Linux before 5.15: the least weight does
		now, err := readInt(dir, "cpu.shares")
		if err != nil {
			return err
		}
		if decide(now == int64(least)) {
			shares = least
		}
		return setShares(dir, shares)
	}
	if err != nil {
		return err
	}
	was := idle != 0
	switch on := decide(was); {
	case on && was:
		return nil
	case on:
		return write(dir, "cpu.idle", "1") // that is the least weight, and none can be set
	case was:
		if err := write(dir, "cpu.idle", "0"); err != nil {
			return err
		}
	}
	return setShares(dir, shares)
}

// setShares gives a group of v1 a weight unless it has it.
func setShares(dir string, shares int) error {
	if now, err := readInt(dir, "cpu.shares"); err != nil || now == int64(shares) {
		return err
	}
	return write(dir, "cpu.shares", strconv.Itoa(shares))
}

// Spent is the CPU time of everything in the root and the best-effort branch, other
// nodes of the machine included, on each CPU. It is there where Apart holds.
func (t *Tree) Spent() ([]time.Duration, error) {
	dir, _ := t.dir("cpuacct", "")
	sum, err := usedPerCPU(dir)
	if err != nil || !t.Apart() || t.l.Dirs["cpuacct"] != t.l.Dirs["cpu"] { // else be is in the root
		return sum, err
	}
	dir, _ = t.dir("cpuacct", "be")
	be, err := usedPerCPU(dir)
	for i := range min(len(sum), len(be)) {
		sum[i] += be[i]
	}
	return sum, err
}

// usedPerCPU is what a group has used of each CPU.
func usedPerCPU(dir string) ([]time.Duration, error) {
	s, err := read(dir, "cpuacct.usage_percpu")
	if err != nil {
		return nil, err
	}
	var out []time.Duration
	for _, f := range strings.Fields(s) {
		n, err := strconv.ParseInt(f, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("cgroup: cpuacct.usage_percpu of %s: %w", dir, err)
		}
		out = append(out, time.Duration(n))
	}
	return out, nil
}
