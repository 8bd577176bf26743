package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigmaos/runtime/threads"
)

// View reads CPU times of a tree that another process owns.
type View struct {
	root  string // the directory of <root> in the hierarchy that counts CPU time
	cpu   string // and in the one that shares it out
	v2    bool
	Node  string // where the process is by which the tree was found
	Realm string // empty for sigmad and its helpers
}

// ViewOf finds the tree that a process is in.
func ViewOf(pid int) (View, error) {
	groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	if err != nil {
		return View{}, fmt.Errorf("cgroup: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return View{}, fmt.Errorf("cgroup: %w", err)
	}
	v, err := view(string(groups), string(mounts))
	if err != nil {
		return View{}, fmt.Errorf("cgroup: process %d: %w", pid, err)
	}
	return v, nil
}

func view(groups, mountinfo string) (v View, err error) {
	all := parseGroups(groups)
	controller := "cpuacct"
	if _, ok := all[controller]; !ok {
		controller, v.v2 = "", true
	}
	m, ok := pick(parseMounts(mountinfo), controller, all[controller])
	at := within.FindStringIndex(all[controller])
	if !ok || at == nil {
		return v, errors.New("it is in no group of a node")
	}
	parts := strings.Split(all[controller][at[0]+1:], "/") // root, branch, node, realm, slot
	parts[0] = strings.TrimSuffix(parts[0], beside)        // cpu and cpuacct are mounted together
	v.root = filepath.Join(m.dir(outside(all[controller])), parts[0])
	v.cpu = v.root
	if group, ok := all["cpu"]; ok {
		if m, ok := pick(parseMounts(mountinfo), "cpu", group); ok {
			v.cpu = filepath.Join(m.dir(outside(group)), parts[0])
		}
	}
	if len(parts) > 2 {
		v.Node = parts[2]
	}
	if len(parts) > 3 && parts[1] != "sys" {
		v.Realm = parts[3]
	}
	return v, nil
}

// CPU is what the groups of a pattern have used together since each was made; a
// pattern is a path below the root in which * is any name: be/*/REALM. None is 0.
func (v View) CPU(pattern string) (sum time.Duration, err error) {
	dirs, err := filepath.Glob(filepath.Join(v.root, pattern))
	if err != nil {
		return 0, fmt.Errorf("cgroup: %w", err)
	}
	more, _ := filepath.Glob(filepath.Join(v.root+beside, pattern))
	dirs = append(dirs, more...)
	for _, d := range dirs {
		used, err := used(d, v.v2)
		if errors.Is(err, syscall.ENOTDIR) { // a control file
			continue
		}
		if err != nil && !vanished(err) {
			return 0, err
		}
		sum += used
	}
	return sum, nil
}

// JoinSys gives a process its CPU time as sigmad's, not as a proc's: who measures procs
// has his own part in it nowhere in their way. It is counted where it was: where one
// hierarchy counts and shares out, nothing is done.
func (v View) JoinSys(pid int) error {
	if v.cpu == v.root {
		return nil
	}
	dir := filepath.Join(v.cpu, "sys", v.Node)
	for try := 0; ; try++ {
		err := write(dir, "cgroup.procs", strconv.Itoa(pid))
		if !errors.Is(err, syscall.EINVAL) || try == attempts {
			return err
		}
		// It has become real-time, which sys has no room for; it will be again.
		for _, tid := range threads.List(pid) {
			if err := threads.Ordinary(tid, 0); err != nil {
				return fmt.Errorf("cgroup: %w", err)
			}
		}
	}
}

// used is the CPU time of a group in the hierarchy that counts it.
func used(dir string, v2 bool) (time.Duration, error) {
	if v2 {
		n, err := field(dir, "cpu.stat", "usage_usec")
		return time.Duration(n) * time.Microsecond, err
	}
	n, err := readInt(dir, "cpuacct.usage")
	return time.Duration(n), err
}

// BEThreads calls fn for each best-effort slot of the node with its threads.
// Slots that go meanwhile may be missing.
func (t *Tree) BEThreads(fn func(realm, slot string, tids []int)) error {
	top, v2 := t.dir("pids", t.top("be"))
	realms, err := subdirs(top)
	if err != nil {
		return err
	}
	for _, r := range realms {
		slots, err := subdirs(filepath.Join(top, r))
		if err != nil && !vanished(err) {
			return err
		}
		for _, s := range slots {
			list, err := tids(filepath.Join(top, r, s), v2)
			if err != nil && !vanished(err) {
				return err
			}
			fn(r, s, list)
		}
	}
	return nil
}

// Neighbours counts the other nodes that have best-effort groups below the root.
func (t *Tree) Neighbours() int {
	dir, _ := t.dir("pids", "be")
	nodes, err := subdirs(dir)
	if err != nil {
		return 0
	}
	return len(nodes) - 1
}
