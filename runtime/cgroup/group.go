package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Group is the cgroup of one slot. Setters remember what they last set and do
// nothing for an equal value; they are safe for concurrent use.
type Group struct {
	t     *Tree
	path  string // lc|be/node/realm/slot
	realm string // the one above
	class Class

	mu     sync.Mutex // taken before t.mu
	memory int64
	pids   int
	mcpu   int
	closed bool
}

// Stats is one sample of a group.
type Stats struct {
	CPU        time.Duration // since the group was made
	Memory     int64         // bytes, page cache included
	MemoryPeak int64         // bytes since the group was made; 0 on v2 before Linux 5.19
	Pids       int           // threads
}

// Add moves a process, with its threads, into the group.
func (g *Group) Add(pid int) error { return g.t.add(g.path, pid) }

// SetMemory bounds the group's memory, bytes, or Unlimited; it gets no swap.
// Lowering the limit below what is in use and cannot be dropped fails with
// EBUSY and changes nothing. Going beyond the limit ends single processes.
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

// Below reports whether the group uses less than so many bytes, if need be after
// dropping the page cache that it was charged for.
func (g *Group) Below(bytes int64) (bool, error) {
	used, err := g.t.memory(g.path)
	if err != nil || used < bytes {
		return err == nil, err
	}
	g.t.drop(g.path, used)
	used, err = g.t.memory(g.path)
	return err == nil && used < bytes, err
}

// SetPids bounds the threads in the group, PID 1 included; or Unlimited.
func (g *Group) SetPids(n int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.pids == n {
		return nil
	}
	if err := g.t.setPids(g.path, n); err != nil {
		return err
	}
	g.pids = n
	return nil
}

// SetCPU reserves mCPU for an LC group, 0 to give them back: the weight of it, and of
// every level above where it has some (see the package comment), is the mCPU below.
// Nothing happens for BE.
func (g *Group) SetCPU(mcpu int) error {
	if g.class != LC {
		return nil
	}
	if mcpu < 0 {
		return fmt.Errorf("cgroup: %s: cannot reserve %d mCPU", g.path, mcpu)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.setCPU(mcpu)
}

func (g *Group) setCPU(mcpu int) error {
	if g.mcpu == mcpu || g.closed {
		return nil
	}
	g.t.mu.Lock()
	defer g.t.mu.Unlock()
	diff := mcpu - g.mcpu
	g.mcpu = mcpu
	return g.t.reserve(g.path, diff)
}

// Stats samples the group.
func (g *Group) Stats() (s Stats, err error) {
	if s.CPU, err = g.t.cpuTime(g.path); err != nil {
		return s, err
	}
	if s.Memory, err = g.t.memory(g.path); err != nil {
		return s, err
	}
	dir, v2 := g.t.dir("memory", g.path)
	peak := "memory.max_usage_in_bytes"
	if v2 {
		peak = "memory.peak"
	}
	if s.MemoryPeak, err = readInt(dir, peak); err != nil && !(v2 && errors.Is(err, fs.ErrNotExist)) {
		return s, err
	}
	dir, _ = g.t.dir("pids", g.path)
	n, err := readInt(dir, "pids.current")
	s.Pids = int(n)
	return s, err
}

// OOMKills counts the processes that the kernel killed here for want of memory,
// whichever level's limit it was.
func (g *Group) OOMKills() (int, error) {
	dir, v2 := g.t.dir("memory", g.path)
	name := "memory.oom_control"
	if v2 {
		name = "memory.events"
	}
	n, err := field(dir, name, "oom_kill")
	return int(n), err
}

// Procs are the host pids in the group, without those that are dead and wait
// for their parent.
func (g *Group) Procs() ([]int, error) {
	dir, _ := g.t.dir("pids", g.path)
	return procs(dir)
}

// Kill ends every process in the group and waits, at most 2 s, until none runs.
func (g *Group) Kill() error {
	dir, _ := g.t.dir("pids", g.path)
	return killTree(dir, nil)
}

// Close gives back the reservation and removes the group; its processes must be
// dead or dying. The error names the group and the processes that hold it. The
// realm's group goes with its last slot.
func (g *Group) Close() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	err := g.setCPU(0)
	if err != nil && vanished(err) { // removed under us; so is its weight
		err = nil
	}
	// Waiting for the dying must not hold up the other slots.
	for _, d := range g.t.dirs(g.path) {
		err = errors.Join(err, g.t.l.rmdirWait(d))
	}
	g.t.mu.Lock()
	defer g.t.mu.Unlock()
	g.t.removeRealm(g.realm)
	g.closed = err == nil
	return err
}

// remove takes back a group that did not come about. t.mu must be held.
func (g *Group) remove() {
	for _, d := range g.t.dirs(g.path) {
		g.t.l.rmdir(d)
	}
	g.t.removeRealm(g.realm)
}

// removeRealm removes a realm's group where it was the last slot, and keeps its
// CPU time. Of two slots that end together, the first may find it gone in some
// hierarchies and held by the other in the rest, which are then the second's to
// remove. t.mu must be held.
func (t *Tree) removeRealm(path string) {
	used, err := t.cpuTime(path)
	if err != nil && !vanished(err) {
		return
	}
	gone := false
	for _, d := range t.dirs(path) {
		gone = t.l.rmdir(d) == nil || gone // fails while other slots are in it
	}
	if gone {
		t.spent[path] += used
	}
}

func (g *Group) String() string { return g.t.root + "/" + g.path }
