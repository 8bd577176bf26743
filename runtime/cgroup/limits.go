package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Unlimited takes a limit off.
const Unlimited = -1

func limit(n int64, unlimited string) string {
	if n < 0 {
		return unlimited
	}
	return strconv.FormatInt(n, 10)
}

// setMemory bounds a group. Lowering never kills: it fails with EBUSY where
// what is in use does not fit.
func (t *Tree) setMemory(path string, n int64) error {
	dir, v2 := t.dir("memory", path)
	set := setMemoryV1
	if v2 {
		set = setMemoryV2
	}
	if err := set(dir, n); err != nil {
		return fmt.Errorf("memory limit of %s: %w", path, err)
	}
	return nil
}

// PidMax is how many threads the machine can have.
func PidMax() int {
	n, err := readInt("/proc/sys/kernel", "pid_max")
	if err != nil {
		return 1 << 15 // the kernel's own default
	}
	return int(n)
}

// share is a class's part of the threads that the node may have.
func (t *Tree) share(c Class) int {
	if c == LC {
		return t.pids / 4
	}
	return t.pids - t.pids/4
}

// setPids bounds the threads in a group and below it; 0 leaves them be.
func (t *Tree) setPids(path string, n int) error {
	if n == 0 {
		return nil
	}
	dir, _ := t.dir("pids", path)
	return write(dir, "pids.max", limit(int64(n), "max"))
}

// limitPeriod is the time in which best-effort procs get what they are limited to: short,
// so that a limit that changes often is kept soon.
const limitPeriod = 10 * time.Millisecond

var limitUS = strconv.FormatInt(limitPeriod.Microseconds(), 10)

// limited is the directory whose limit is that of all best-effort procs, and whether it
// is v2's.
func (t *Tree) limited() (dir string, v2 bool) {
	if outer := t.outer(); outer != "" {
		return outer, false
	}
	return t.dir("cpu", "be")
}

// unlimit takes off the limit that LimitBestEffort has set, but none of somebody else's.
func (t *Tree) unlimit() {
	dir, v2 := t.limited()
	if v2 {
		if now, err := read(dir, "cpu.max"); err != nil || strings.HasPrefix(now, "max") || !strings.HasSuffix(now, " "+limitUS) {
			return
		}
	} else {
		quota, err1 := read(dir, "cpu.cfs_quota_us")
		period, err2 := read(dir, "cpu.cfs_period_us")
		if err1 != nil || err2 != nil || quota == "-1" || period != limitUS {
			return
		}
	}
	t.LimitBestEffort(Unlimited)
}

// LimitBestEffort bounds what best-effort procs of all nodes below the root use together,
// in CPUs, at least a tenth of one; or Unlimited.
func (t *Tree) LimitBestEffort(cpus float64) error {
	dir, v2 := t.limited()
	us := max(1000, int64(cpus*float64(limitPeriod/time.Microsecond))) // the kernel takes no less
	switch {
	case v2 && cpus < 0:
		return write(dir, "cpu.max", "max")
	case v2:
		return write(dir, "cpu.max", strconv.FormatInt(us, 10)+" "+limitUS)
	case cpus < 0:
		return write(dir, "cpu.cfs_quota_us", "-1")
	default:
		if now, err := read(dir, "cpu.cfs_period_us"); err == nil && now != limitUS {
			if err := write(dir, "cpu.cfs_period_us", limitUS); err != nil {
				return err
			}
		}
		return write(dir, "cpu.cfs_quota_us", strconv.FormatInt(us, 10))
	}
}

// memory is what a group uses, bytes, page cache and the kernel's own included.
func (t *Tree) memory(path string) (int64, error) {
	dir, v2 := t.dir("memory", path)
	if v2 {
		return readInt(dir, "memory.current")
	}
	return readInt(dir, "memory.usage_in_bytes")
}

// drop asks the kernel to give up so many bytes of a group's; it does what it
// can.
func (t *Tree) drop(path string, bytes int64) {
	dir, v2 := t.dir("memory", path)
	if v2 {
		write(dir, "memory.reclaim", strconv.FormatInt(bytes, 10)) // Linux 5.19; EAGAIN if less was dropped
		return
	}
	write(dir, "memory.force_empty", "0")
}

func setMemoryV1(dir string, n int64) error {
	const name, withSwap = "memory.limit_in_bytes", "memory.memsw.limit_in_bytes"
	v := limit(n, "-1")
	err := write(dir, name, v)
	if errors.Is(err, syscall.EINVAL) {
		// memory alone may never be allowed more than memory and swap.
		if e := write(dir, withSwap, v); e != nil && !errors.Is(e, fs.ErrNotExist) {
			return e
		}
		err = write(dir, name, v)
	}
	if errors.Is(err, syscall.EBUSY) {
		// Failing to drop everything is fine if enough was dropped.
		write(dir, "memory.force_empty", "0")
		err = write(dir, name, v)
	}
	if err != nil {
		return err
	}
	// No swap beside it. Kernels without swap accounting do not have the file.
	if err := write(dir, withSwap, v); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

func setMemoryV2(dir string, n int64) error {
	if err := write(dir, "memory.swap.max", "0"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if n >= 0 {
		// Here the kernel would kill to get below a new limit.
		used, err := readInt(dir, "memory.current")
		if err != nil {
			return err
		}
		if used > n {
			write(dir, "memory.reclaim", strconv.FormatInt(used-n, 10)) // Linux 5.19; EAGAIN if less was dropped
			if used, err = readInt(dir, "memory.current"); err != nil {
				return err
			}
		}
		if used > n {
			return fmt.Errorf("cgroup: %s uses %d bytes, more than %d: %w", dir, used, n, syscall.EBUSY)
		}
	}
	return write(dir, "memory.max", limit(n, "max"))
}
