package cgroup

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Group is the cgroup of one slot.
type Group struct {
	t     *Tree
	path  string // lc|be/node/realm/slot
	realm string
	class Class

	mu     sync.Mutex
	memory int64
	pids   int
	mcpu   int
}

// Stats is one sample of a group.
type Stats struct {
	CPU        time.Duration
	Memory     int64 // bytes
	MemoryPeak int64
	Pids       int
}

// Add moves a process into the group.
func (g *Group) Add(pid int) error { return g.t.add(g.path, pid) }

// SetMemory bounds the group, bytes; an equal value costs nothing.
func (g *Group) SetMemory(bytes int64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.memory == bytes {
		return nil
	}
	if err := g.t.setMemory(g.path, bytes); err != nil {
		return err
	}
	g.memory = bytes
	return nil
}

// SetPids bounds the threads in the group, PID 1 included.
func (g *Group) SetPids(n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pids == n {
		return nil
	}
	if err := g.t.write("pids", g.path, "pids.max", strconv.Itoa(n)); err != nil {
		return err
	}
	g.pids = n
	return nil
}

// SetCPU reserves for an LC group: the weight of it and of every level above
// is the mCPU below. Nothing happens for BE.
func (g *Group) SetCPU(mcpu int) error {
	if g.class != LC {
		return nil
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.mcpu == mcpu {
		return nil
	}
	diff := mcpu - g.mcpu
	g.mcpu = mcpu
	g.t.mu.Lock()
	defer g.t.mu.Unlock()
	var errs []error
	for p := g.path; p != "."; {
		g.t.mcpu[p] += diff
		errs = append(errs, g.t.setWeight(p, g.t.mcpu[p]))
		if g.t.mcpu[p] == 0 {
			delete(g.t.mcpu, p)
		}
		i := strings.LastIndexByte(p, '/')
		if i < 0 {
			break
		}
		p = p[:i]
	}
	return errors.Join(errs...)
}

// Stats samples the group.
func (g *Group) Stats() (s Stats, err error) {
	if s.CPU, err = g.t.cpu(g.path); err != nil {
		return s, err
	}
	usage, peak := "memory.usage_in_bytes", "memory.max_usage_in_bytes"
	if g.t.v2() {
		usage, peak = "memory.current", "memory.peak"
	}
	if s.Memory, err = g.t.readInt("memory", g.path, usage); err != nil {
		return s, err
	}
	s.MemoryPeak, _ = g.t.readInt("memory", g.path, peak) // v2: Linux 5.19
	n, err := g.t.readInt("pids", g.path, "pids.current")
	s.Pids = int(n)
	return s, err
}

// OOMKills counts the kernel's kills in the group for memory.
func (g *Group) OOMKills() (int, error) {
	name := "memory.oom_control"
	if g.t.v2() {
		name = "memory.events"
	}
	s, err := g.t.read("memory", g.path, name)
	return int(field(s, "oom_kill")), err
}

// Procs are the host pids in the group.
func (g *Group) Procs() ([]int, error) {
	s, err := g.t.read("pids", g.path, "cgroup.procs")
	if err != nil {
		return nil, err
	}
	var out []int
	for _, f := range strings.Fields(s) {
		if n, err := strconv.Atoi(f); err == nil {
			out = append(out, n)
		}
	}
	return out, nil
}

// Kill ends every process in the group.
func (g *Group) Kill() error {
	if g.t.v2() {
		if err := g.t.write("", g.path, "cgroup.kill", "1"); err == nil {
			return nil
		}
	}
	return killTree(g.t.file("pids", g.path, ""))
}

// Close removes the group; its processes must be gone or dying. The realm's
// group goes with the last slot.
func (g *Group) Close() error {
	g.SetCPU(0)
	var errs []error
	for _, d := range g.t.dirs(g.path) {
		if _, err := os.Stat(d); err == nil {
			errs = append(errs, rmdir(d))
		}
	}
	g.t.mu.Lock()
	defer g.t.mu.Unlock()
	for _, d := range g.t.dirs(g.realm) {
		syscall.Rmdir(d) // fails while other slots are in it
	}
	return errors.Join(errs...)
}
