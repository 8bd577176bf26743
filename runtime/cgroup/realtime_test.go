package cgroup

import (
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/threads"
)

func openRealtime(t *testing.T, tree *Tree) *Realtime {
	t.Helper()
	r, err := tree.OpenRealtime()
	if errors.Is(err, ErrNoRealtime) {
		t.Skip(err)
	} else if err != nil {
		t.Fatal(err)
	}
	return r
}

// limitedNow reports whether best-effort procs are limited.
func limitedNow(t *testing.T, tree *Tree) bool {
	t.Helper()
	dir, v2 := tree.limited()
	name, none := "cpu.cfs_quota_us", "-1"
	if v2 {
		name, none = "cpu.max", "max "+limitUS
	}
	now, err := read(dir, name)
	if err != nil {
		t.Fatal(err)
	}
	return now != none
}

// What nodes share goes with the last of them, and what a killed one left is found. The
// group for real-time threads is the whole machine's: other tests may use it meanwhile.
func TestFAULTS_F34_RealtimeTimeOfADeadNodeIsGivenBack(t *testing.T) {
	l, root := machine(t)
	a, b := open(t, l, root, "n1"), open(t, l, root, "n2")
	first, second := openRealtime(t, a), openRealtime(t, b)
	for _, cpus := range []float64{0.5, 0, 0.01} { // however little
		if err := a.LimitBestEffort(cpus); err != nil {
			t.Fatal(err)
		}
	}
	first.Close()
	b.TidyRealtime()
	if !limitedNow(t, a) || second.dir != "" && !exists(second.dir) {
		t.Error("what the second uses is gone with the first")
	}
	for _, f := range second.locks { // as if it had been killed
		f.Close()
	}
	if !limitedNow(t, a) {
		t.Fatal("the limit is gone by itself")
	}
	a.TidyRealtime()
	if limitedNow(t, a) {
		t.Error("a limit of nobody is left")
	}
	third := openRealtime(t, a)
	if err := a.LimitBestEffort(0.5); err != nil {
		t.Fatal(err)
	}
	third.Close()
	if limitedNow(t, a) {
		t.Error("a limit is left after the last")
	}
	base, _ := l.at("cpu")
	for end := time.Now().Add(time.Minute); exists(filepath.Join(base, realtime)); time.Sleep(10 * time.Millisecond) {
		a.TidyRealtime()
		if time.Now().After(end) {
			ifUnused(base, func() { t.Error("the group of nobody is left") })
			t.Skip("another test uses the group")
		}
	}
}

// A limit of an operator's own is left alone.
func TestSomebodyElsesLimitStays(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	dir, v2 := tree.limited()
	name, own := "cpu.cfs_quota_us", "50000"
	if v2 {
		name, own = "cpu.max", "50000 100000"
	}
	if err := write(dir, name, own); err != nil {
		t.Fatal(err)
	}
	tree.TidyRealtime()
	if now, err := read(dir, name); err != nil || now != own {
		t.Errorf("%s is %q, %v", name, now, err)
	}
}

func TestRealtimeThreadsAreInTheGroupAndComeBack(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	g := group(t, tree, LC, "r1", "1")
	cmd := sleeper(t)
	if err := errors.Join(g.SetCPU(500), g.Add(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	r := openRealtime(t, tree)
	defer r.Close()
	claims := tree.Claims()
	if len(claims) != 1 || claims[0].MCPU != 500 {
		t.Fatalf("claims %v", claims)
	}
	list, err := tree.Threads(claims[0])
	if err != nil || len(list) < 2 {
		t.Fatalf("threads %v %v", list, err)
	}
	for _, tid := range list {
		if err := errors.Join(r.Take(tid), threads.Realtime(tid, 1, true)); err != nil {
			t.Fatal(err)
		}
	}
	inside, err := r.Inside()
	if err != nil || r.dir != "" && !inside[list[0]] {
		t.Errorf("inside: %v %v", inside, err)
	}
	view, err := ViewOf(cmd.Process.Pid)
	if err != nil || view.Node != "n1" || view.Realm != "r1" {
		t.Errorf("view of a real-time process: %+v %v", view, err)
	}
	if err := view.JoinSys(cmd.Process.Pid); err != nil {
		t.Errorf("into sigmad's group: %v", err)
	}
	joined, err := r.Joined()
	if err != nil || r.dir != "" && !joined[list[0]] {
		t.Errorf("joined: %v %v", joined, err)
	}
	for _, tid := range list {
		if err := errors.Join(threads.Ordinary(tid, 0), r.Return(tid, claims[0])); err != nil {
			t.Error(err)
		}
	}
	if inside, err = r.Inside(); err != nil {
		t.Error(err)
	}
	for _, tid := range list {
		if inside[tid] {
			t.Errorf("%d is inside at the end", tid)
		}
	}
	if r.dir == "" {
		return
	}
	back, err := ids(r.home(claims[0].Path), "tasks")
	if err != nil || len(back) < len(list) {
		t.Errorf("back are %v of %v, %v", back, list, err)
	}
	if err := r.Take(1 << 30); err != nil {
		t.Errorf("a thread that has ended: %v", err)
	}
}

// The kernel keeps the part of each CPU that we asked for, whoever runs.
func TestRealtimeThreadsLeaveSomethingToTheMachine(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	r := openRealtime(t, tree)
	defer r.Close()
	if r.dir == "" {
		t.Skip("this kernel does not share real-time CPU time out by groups")
	}
	g := group(t, tree, LC, "r1", "1")
	cmd, _ := child(t, "spin")
	if err := errors.Join(g.SetCPU(500), g.Add(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	claim := tree.Claims()[0]
	used := func() time.Duration {
		d, err := tree.CPU(claim)
		if err != nil {
			t.Fatal(err)
		}
		return d
	}
	_, cpus, err := threads.CPUs()
	if err != nil {
		t.Fatal(err)
	}
	var one unix.CPUSet
	one.Set(cpus[0])
	for range 3 {
		list, err := tree.Threads(claim)
		if err != nil {
			t.Fatal(err)
		}
		for _, tid := range list {
			if err := errors.Join(threads.Place(tid, one), r.Take(tid), threads.Realtime(tid, 1, true)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if us, err := readInt(r.dir, rtRuntime); err != nil || us != rtPart*rtPeriod {
		t.Errorf("%s is %d, %v", rtRuntime, us, err)
	}
	before, begin := used(), time.Now()
	for end := begin.Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	if d, in := used()-before, time.Since(begin); d <= 0 || float64(d) > 0.93*float64(in) {
		t.Errorf("%v of CPU time in %v, want nine tenths at most", d, in)
	}
	cmd.Process.Kill()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if _, err := os.Stat("/proc/" + strconv.Itoa(cmd.Process.Pid) + "/exe"); err != nil {
			break
		}
		unix.Kill(cmd.Process.Pid, unix.SIGKILL)
	}
}
