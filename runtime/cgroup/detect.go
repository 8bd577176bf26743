package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// needed are the controllers; v2 counts CPU time in cpu.
var needed = [...]string{"cpu", "cpuacct", "memory", "pids"}

// Detect finds the layout for this process. The error says which controller is
// missing and what to do.
func Detect() (Layout, error) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return Layout{}, fmt.Errorf("cgroup: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, fmt.Errorf("cgroup: %w", err)
	}
	return detect(string(self), string(mounts), descends)
}

// detect works on the contents of the two files; ours tells sigmad's processes
// from others.
func detect(self, mountinfo string, ours func(pid int) bool) (Layout, error) {
	mounts := parseMounts(mountinfo)
	groups := parseGroups(self)
	l := Layout{Dirs: make(map[string]string), own: make(map[string]string)}
	var missing []string
	for _, c := range needed {
		if g, ok := groups[c]; ok {
			if m, ok := pick(mounts, c, g); ok {
				if m.readOnly {
					return l, readOnly(c, m)
				}
				l.Dirs[c] = m.dir(outside(g))
				l.own[c] = l.Dirs[c]
				continue
			}
		}
		missing = append(missing, c)
	}
	u, hasV2 := pick(mounts, "", groups[""])
	switch {
	case len(missing) == 0 && !hasV2:
		l.Version = V1
	case len(missing) == 0:
		l.Version = Hybrid
	case !hasV2:
		return l, fmt.Errorf("cgroup: no %s controller is mounted; mount cgroup2 (mount -t cgroup2 none /sys/fs/cgroup) or that controller of v1; if /proc/cgroups does not list it as enabled, boot with cgroup_enable=%[1]s", strings.Join(missing, ", "))
	default:
		l.Version = Hybrid
		if len(missing) == len(needed) {
			l.Version = V2
		}
		if u.readOnly {
			return l, readOnly(missing[0], u)
		}
		if _, v1 := l.Dirs["cpu"]; !v1 {
			delete(l.Dirs, "cpuacct") // comes with cpu, whose times are the ones we read
			delete(l.own, "cpuacct")
		}
		missing = slices.DeleteFunc(missing, func(c string) bool { return c == "cpuacct" })
		return l, l.placeV2(u, groups[""], missing, ours)
	}
	return l, nil
}

func readOnly(controller string, m mount) error {
	return fmt.Errorf("cgroup: the %s controller is mounted read-only at %s; remount it (mount -o remount,rw %[2]s), or start the container with --privileged", controller, m.point)
}

// placeV2 decides where to build on the v2 tree. A group whose children have
// controllers may not hold processes itself (the machine's root may), so
// sigmad's own group serves only if whatever is in it can be moved, that is,
// belongs to sigmad.
func (l *Layout) placeV2(u mount, group string, controllers []string, ours func(int) bool) error {
	top := u.point
	l.own[""] = u.dir(outside(group))
	dir := l.own[""]
	if dir != top {
		if pid := foreign(dir, ours); pid != 0 {
			l.Why = fmt.Sprintf("process %d, not of sigmad, is in its group %s too", pid, dir)
			dir = top
		} else if c := lacking(dir, controllers); len(c) > 0 {
			l.Why = fmt.Sprintf("%s is not enabled in sigmad's group %s", strings.Join(c, ", "), dir)
			dir = top
		}
	}
	l.Dirs[""] = dir
	if c := lacking(dir, controllers); len(c) > 0 {
		return fmt.Errorf("cgroup: no %s controller: v1 does not have it mounted and %s/cgroup.controllers does not list it; boot with cgroup_enable=%[1]s or, in a container, enable it in the groups above (echo +%[3]s >> cgroup.subtree_control)", strings.Join(c, ", "), dir, c[0])
	}
	// Only groups below the machine's root have a type: a container's top looks
	// like a root and is none.
	if _, err := os.Stat(filepath.Join(dir, "cgroup.type")); err == nil {
		if pid := foreign(dir, ours); pid != 0 {
			return fmt.Errorf("cgroup: process %d, not of sigmad, is in %s, so that no controllers can be enabled below it; move what is there to a group of its own (mkdir %[2]s/init; for p in $(cat %[2]s/cgroup.procs); do echo $p > %[2]s/init/cgroup.procs; done), or start the container with --cgroupns=host", pid, dir)
		}
	}
	return nil
}

// lacking are the controllers that a v2 group does not have.
func lacking(dir string, controllers []string) (out []string) {
	b, _ := os.ReadFile(filepath.Join(dir, "cgroup.controllers"))
	have := strings.Fields(string(b))
	for _, c := range controllers {
		if !slices.Contains(have, c) {
			out = append(out, c)
		}
	}
	return out
}

// foreign is a process in the group that is not ours, or 0.
func foreign(dir string, ours func(int) bool) int {
	pids, _ := procs(dir)
	for _, pid := range pids {
		if !ours(pid) {
			return pid
		}
	}
	return 0
}

// descends reports whether pid is this process or below it.
func descends(pid int) bool {
	for self := os.Getpid(); pid > 1; pid = parent(pid) {
		if pid == self {
			return true
		}
	}
	return false
}

// parent of a process, 0 if it is gone or has none.
func parent(pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0
	}
	// The name is in parentheses and may hold anything: "pid (name) state ppid".
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}
