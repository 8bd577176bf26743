package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// fakeV2 is a directory with the files of cgroup2, filled and emptied at mkdir
// and rmdir as the kernel does. It keeps what is written and does nothing else.
func fakeV2(t *testing.T) Layout {
	t.Helper()
	top := v2Mount(t, "cpu memory pids", map[string]string{"/": ""})
	put(t, top, "cgroup.subtree_control", "")
	files := map[string]string{
		"cgroup.procs": "", "cgroup.subtree_control": "", "cgroup.controllers": "cpu memory pids", "cgroup.kill": "", "cgroup.type": "domain",
		"cpu.weight": "100", "cpu.idle": "0", "cpu.stat": "usage_usec 1500\nuser_usec 1000",
		"memory.max": "max", "memory.swap.max": "max", "memory.current": "4096", "memory.peak": "8192", "memory.reclaim": "", "memory.oom.group": "0",
		"memory.events": "low 0\nmax 3\noom 2\noom_kill 1\noom_group_kill 0",
		"pids.max":      "max", "pids.current": "3",
	}
	k := &kernel{
		mkdir: func(dir string) error {
			if err := os.Mkdir(dir, 0o755); err != nil {
				return err
			}
			for name, value := range files {
				put(t, dir, name, value)
			}
			return nil
		},
		rmdir: func(dir string) error {
			if pids, err := procs(dir); err != nil {
				return err
			} else if names, _ := subdirs(dir); len(pids) > 0 || len(names) > 0 {
				return syscall.EBUSY
			}
			return os.RemoveAll(dir)
		},
	}
	return Layout{Version: V2, Dirs: map[string]string{"": top}, own: map[string]string{"": top}, fake: k}
}

func TestV2Files(t *testing.T) {
	l := fakeV2(t)
	top := l.Dirs[""]
	tree := open(t, l, "sigma", "n1")
	lc := group(t, tree, LC, "r1", "7")
	be := group(t, tree, BE, "r1", "8")
	for _, err := range []error{
		lc.SetMemory(1 << 20), lc.SetPids(5), lc.SetCPU(2500),
		be.SetMemory(Unlimited), be.SetCPU(700), tree.SetBEMemory(3 << 20), be.Add(os.Getpid()),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	for file, want := range map[string]string{
		"cgroup.subtree_control":                  "+cpu +memory +pids",
		"sigma/cgroup.subtree_control":            "+cpu +memory +pids",
		"sigma/sys/cgroup.subtree_control":        "+cpu +memory +pids",
		"sigma/sys/n1/cgroup.subtree_control":     "", // it holds sigmad
		"sigma/lc/n1/r1/cgroup.subtree_control":   "+cpu +memory +pids",
		"sigma/lc/n1/r1/7/cgroup.subtree_control": "", // it holds a proc
		"sigma/be/cpu.idle":                       "1",
		"sigma/be/n1/cpu.idle":                    "0",
		"sigma/lc/cpu.idle":                       "0",
		"sigma/cpu.weight":                        strconv.Itoa(min(100*runtime.NumCPU(), 10000)),
		"sigma/be/cpu.weight":                     "100",
		"sigma/be/n1/r1/cpu.weight":               "100",
		"sigma/lc/n1/r1/7/cpu.weight":             "250",
		"sigma/lc/n1/r1/cpu.weight":               "250",
		"sigma/lc/n1/cpu.weight":                  "250",
		"sigma/lc/cpu.weight":                     strconv.Itoa(min(251*branchScale(true), 10000)), // and the least that there is
		"sigma/sys/cpu.weight":                    strconv.Itoa(100 * branchScale(true)),
		"sigma/lc/n1/r1/7/memory.max":             "1048576",
		"sigma/lc/n1/r1/7/memory.swap.max":        "0",
		"sigma/lc/n1/r1/7/memory.oom.group":       "0",
		"sigma/lc/n1/r1/7/pids.max":               "5",
		"sigma/be/n1/memory.max":                  "3145728",
		"sigma/be/n1/r1/8/memory.max":             "max",
	} {
		b, err := os.ReadFile(filepath.Join(top, file))
		if err != nil || string(b) != want {
			t.Errorf("%s = %q %v, want %q", file, b, err, want)
		}
	}
	st, err := lc.Stats()
	if want := (Stats{CPU: 1500 * time.Microsecond, Memory: 4096, MemoryPeak: 8192, Pids: 3}); err != nil || st != want {
		t.Errorf("Stats = %v %v, want %v", st, err, want)
	}
	if n, err := lc.OOMKills(); n != 1 || err != nil {
		t.Errorf("OOMKills = %d %v, want 1", n, err)
	}
	if ps, err := be.Procs(); err != nil || len(ps) != 1 || ps[0] != os.Getpid() {
		t.Errorf("Procs = %v %v, want this process", ps, err)
	}
	put(t, filepath.Join(top, "sigma/be/n1/r1/8"), "cgroup.procs", "")

	if cpu, err := tree.RealmCPU("r1"); err != nil || cpu != 3*time.Millisecond {
		t.Errorf("RealmCPU = %v %v, want the sum of both classes", cpu, err)
	}
	if err := errors.Join(lc.Close(), be.Close()); err != nil {
		t.Fatal(err)
	}
	if cpu, err := tree.RealmCPU("r1"); err != nil || cpu != 3*time.Millisecond {
		t.Errorf("RealmCPU after the last slot = %v %v, want it kept", cpu, err)
	}
	b, _ := os.ReadFile(filepath.Join(top, "sigma/lc/n1/cpu.weight"))
	if string(b) != "1" {
		t.Errorf("weight of the node after its last LC slot = %s, want 1", b)
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(top, "sigma")); !os.IsNotExist(err) {
		t.Errorf("sigma is left after Close: %v", err)
	}
}

// The threads of all procs together stay below half of what the machine has, and
// one realm cannot take them all.
func TestFAULTS_F25_NodeAndRealmsAreBoundInThreads(t *testing.T) {
	l := fakeV2(t)
	tree, err := Open(Config{Layout: l, Root: "sigma", Node: "n1", Pids: 1000})
	if err != nil {
		t.Fatal(err)
	}
	defer tree.Close()
	for _, c := range []Class{BE, LC} {
		g, err := tree.NewGroup(c, "r", "1")
		if err != nil {
			t.Fatal(err)
		}
		defer g.Close()
	}
	for file, want := range map[string]string{
		"be/n1": "750", "lc/n1": "250", "be/n1/r": "562", "lc/n1/r": "187", "be/n1/r/1": "max", "be": "max", "sys/n1": "max",
	} {
		if got, _ := read(filepath.Join(l.Dirs[""], "sigma", file), "pids.max"); got != want {
			t.Errorf("pids.max of %s = %s, want %s", file, got, want)
		}
	}
	if PidMax() < 300 {
		t.Errorf("PidMax = %d", PidMax())
	}
}

// The kernel of v2 kills to get below a new limit; we refuse first.
func TestV2LoweringDoesNotKill(t *testing.T) {
	l := fakeV2(t)
	tree := open(t, l, "sigma", "n1")
	g := group(t, tree, BE, "r", "1")
	dir := filepath.Join(l.Dirs[""], "sigma/be/n1/r/1")
	err := g.SetMemory(1000)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "be/n1/r/1") {
		t.Errorf("SetMemory below use = %v, want EBUSY with the group's name", err)
	}
	for file, want := range map[string]string{"memory.max": "max", "memory.reclaim": "3096"} {
		if got, _ := read(dir, file); got != want {
			t.Errorf("%s = %q, want %q", file, got, want)
		}
	}
	put(t, dir, "memory.current", "500")
	if err := g.SetMemory(1000); err != nil {
		t.Error("the same value after a failure is not an equal write:", err)
	}
}

func TestSettersSkipEqualWrites(t *testing.T) {
	l := fakeV2(t)
	tree := open(t, l, "sigma", "n1")
	g := group(t, tree, LC, "r", "1")
	dir := filepath.Join(l.Dirs[""], "sigma/lc/n1/r/1")
	set := func() {
		t.Helper()
		if err := errors.Join(g.SetMemory(8192), g.SetPids(4), g.SetCPU(1000)); err != nil {
			t.Fatal(err)
		}
	}
	set()
	for _, f := range []string{"memory.max", "pids.max", "cpu.weight"} {
		put(t, dir, f, "untouched")
	}
	set()
	for _, f := range []string{"memory.max", "pids.max", "cpu.weight"} {
		if got, _ := read(dir, f); got != "untouched" {
			t.Errorf("%s was written again: %s", f, got)
		}
	}
}

// sigmad alone in its v2 group moves to sys before controllers are enabled.
func TestV2VacatesOwnGroup(t *testing.T) {
	l := fakeV2(t)
	top := l.Dirs[""]
	own := filepath.Join(top, "service")
	if err := l.mkdir(own); err != nil {
		t.Fatal(err)
	}
	l.Dirs[""], l.own[""] = own, own
	sys := filepath.Join(own, "sigma/sys/n1")
	mkdir := l.fake.mkdir
	l.fake.mkdir = func(dir string) error {
		// What the kernel does at the write to sys, done when sys is left for lc.
		if filepath.Base(dir) == "lc" {
			if got, _ := read(sys, "cgroup.procs"); got != "4242" {
				t.Errorf("processes of sys = %q before anything else is made, want 4242", got)
			}
		}
		return mkdir(dir)
	}
	// A plain file keeps the process that went to sys, so whoever reads it is answered.
	list := filepath.Join(own, "cgroup.procs")
	next := func(make func(path string) error) error {
		return errors.Join(make(list+".next"), os.Rename(list+".next", list))
	}
	pipe := func(path string) error { return unix.Mkfifo(path, 0o644) }
	plain := func(path string) error { return os.WriteFile(path, nil, 0o644) }
	if err := next(pipe); err != nil {
		t.Fatal(err)
	}
	moved := make(chan error, 1)
	go func() {
		for in := true; in; {
			w, err := os.OpenFile(list, os.O_WRONLY, 0) // until somebody reads
			if err != nil {
				moved <- err
				return
			}
			got, _ := read(sys, "cgroup.procs")
			if in = got != "4242"; in {
				err = next(pipe)
				w.WriteString("4242\n")
			} else {
				err = next(plain)
			}
			if w.Close(); err != nil {
				moved <- err
				return
			}
		}
		moved <- nil
	}()
	tree := open(t, l, "", "n1")
	if err := <-moved; err != nil {
		t.Fatal(err)
	}
	put(t, sys, "cgroup.procs", "")
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if b, _ := os.ReadFile(filepath.Join(own, "cgroup.subtree_control")); string(b) != "-pids" {
		t.Errorf("subtree_control of the own group ends as %q, want the controllers taken back", b)
	}
}

func TestIdleFallsBackToWeight(t *testing.T) {
	l := fakeV2(t)
	mkdir := l.fake.mkdir
	l.fake.mkdir = func(dir string) error {
		err := mkdir(dir)
		os.Remove(filepath.Join(dir, "cpu.idle"))
		return err
	}
	tree := open(t, l, "sigma", "n1")
	if got, _ := read(tree.dirs("be")[0], "cpu.weight"); got != "1" {
		t.Errorf("cpu.weight of be = %s, want 1", got)
	}
}

func TestWeights(t *testing.T) {
	for _, c := range []struct{ mcpu, v1, v2 int }{
		{0, 2, 1}, {1, 2, 1}, {10, 10, 1}, {15, 15, 2}, {1000, 1024, 100}, {64000, 65536, 6400}, {1 << 30, 262144, 10000},
	} {
		if _, w := weightFile(false, c.mcpu); w != c.v1 {
			t.Errorf("shares of %d mCPU = %d, want %d", c.mcpu, w, c.v1)
		}
		if _, w := weightFile(true, c.mcpu); w != c.v2 {
			t.Errorf("weight of %d mCPU = %d, want %d", c.mcpu, w, c.v2)
		}
	}
}

// The root is made with the weight of one CPU; beside the host's own processes it
// has that of all of them, or many times that where best-effort procs are not in it.
func TestRootWeighsAsMuchAsTheMachineHasCPUs(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	n := runtime.NumCPU()
	want := strconv.Itoa(min(100*n, 10000))
	if _, v2 := tree.dir("cpu", ""); !v2 {
		want = strconv.Itoa(min(16*1024*n, 262144))
	}
	if got := value(t, tree, "", "cpu", "cpu.shares", "cpu.weight"); got != want {
		t.Errorf("weight of %s = %s, want %s for %d CPUs", root, got, want, n)
	}
}
