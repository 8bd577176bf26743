// Package cgroup places procs in control groups, on cgroup v1, on v2, and on
// the hybrid of both.
//
// The tree of a machine is <root>/{sys,lc,be}/<node>/<realm>/<slot>, below the
// group that sigmad was started in, per controller. Nodes on one machine share
// <root>, because the idle class of be holds only among siblings. Weights of lc
// are the mCPU below each level; be is idle class as a whole and its realms
// weigh the same.
package cgroup

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Version of the hierarchy that holds the controllers.
type Version int

const (
	V1     Version = iota + 1
	Hybrid         // v1 controllers beside a v2 tree without any
	V2
)

func (v Version) String() string { return [...]string{"none", "v1", "hybrid", "v2"}[v] }

// Layout says where the controllers are. Dirs maps each to the directory of
// the group that sigmad may build below.
type Layout struct {
	Version Version
	Dirs    map[string]string
}

var needed = []string{"cpu", "cpuacct", "memory", "pids"}

// Detect reads the layout of this process.
func Detect() (Layout, error) {
	self, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return Layout{}, fmt.Errorf("cgroup: %w", err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return Layout{}, fmt.Errorf("cgroup: %w", err)
	}
	return detect(string(self), string(mounts))
}

func detect(self, mountinfo string) (Layout, error) {
	at := make(map[string]string) // controller or "" (v2) → mount point
	sc := bufio.NewScanner(strings.NewReader(mountinfo))
	for sc.Scan() {
		left, right, ok := strings.Cut(sc.Text(), " - ")
		f, r := strings.Fields(left), strings.Fields(right)
		if !ok || len(f) < 5 || len(r) < 3 {
			continue
		}
		switch r[0] {
		case "cgroup2":
			if _, ok := at[""]; !ok {
				at[""] = f[4]
			}
		case "cgroup":
			for _, c := range strings.Split(r[2], ",") {
				at[c] = f[4]
			}
		}
	}
	l := Layout{Dirs: make(map[string]string)}
	unified := ""
	for _, line := range strings.Split(strings.TrimSpace(self), "\n") {
		p := strings.SplitN(line, ":", 3)
		if len(p) != 3 {
			continue
		}
		group := p[2]
		if i := strings.Index(group, "/sigma/"); i >= 0 { // started by a sigmad or its child
			group = group[:i]
		}
		if p[1] == "" {
			unified = group
			continue
		}
		for _, c := range strings.Split(p[1], ",") {
			if m, ok := at[c]; ok {
				l.Dirs[c] = filepath.Join(m, group)
			}
		}
	}
	var missing []string
	for _, c := range needed {
		if _, ok := l.Dirs[c]; !ok {
			missing = append(missing, c)
		}
	}
	_, has2 := at[""]
	switch {
	case len(missing) == 0:
		l.Version = V1
		if has2 {
			l.Version = Hybrid
		}
		for c := range l.Dirs {
			if c != "cpu" && c != "cpuacct" && c != "memory" && c != "pids" {
				delete(l.Dirs, c)
			}
		}
		return l, nil
	case len(missing) == len(needed) && has2:
		dir := filepath.Join(at[""], unified)
		if unified != "/" && unified != "" { // v2 allows no processes in inner groups
			dir = at[""]
		}
		return Layout{Version: V2, Dirs: map[string]string{"": dir}}, nil
	}
	return l, fmt.Errorf("cgroup: no %s controller is mounted; mount cgroup2 (systemd.unified_cgroup_hierarchy=1) or the v1 controllers under /sys/fs/cgroup", strings.Join(missing, ", "))
}
