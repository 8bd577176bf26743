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

// leftOver says what is there that nobody uses, of a group for real-time threads and of a
// limit on best-effort procs.
func leftOver(t *testing.T, tree *Tree) (group, limit bool) {
	t.Helper()
	base, v2 := tree.l.at("cpu")
	name, none := "cpu.cfs_quota_us", "-1"
	ifUnused(base, func() { group = exists(filepath.Join(base, realtime)) })
	be, _ := tree.dir("cpu", "be")
	if outer := tree.outer(); outer != "" {
		be = outer
	}
	if v2 {
		name, none = "cpu.max", "max "+strconv.Itoa(int(limitPeriod/time.Microsecond))
	}
	now, err := read(be, name)
	if err != nil {
		t.Fatal(err)
	}
	return group, now != none
}

// What two nodes share goes with the last of them, and what a killed one left is found.
func TestFAULTS_F34_RealtimeTimeOfADeadNodeIsGivenBack(t *testing.T) {
	l, root := machine(t)
	a, b := open(t, l, root, "n1"), open(t, l, root, "n2")
	first, second := openRealtime(t, a), openRealtime(t, b)
	if err := a.LimitBestEffort(0.5); err != nil {
		t.Fatal(err)
	}
	if group, limit := leftOver(t, a); group || !limit {
		t.Fatalf("group %v, limit %v", group, limit)
	}
	first.Close()
	b.TidyRealtime()
	if group, limit := leftOver(t, a); group || !limit {
		t.Errorf("of the second: group %v, limit %v", group, limit)
	}
	for _, f := range second.locks { // as if it had been killed
		f.Close()
	}
	if group, limit := leftOver(t, a); !limit {
		t.Fatalf("group %v, no limit", group)
	} else if group != (second.dir != "") {
		t.Skipf("another test uses the group just now: %v", group)
	}
	a.TidyRealtime()
	if group, limit := leftOver(t, a); group || limit {
		t.Errorf("of nobody: group %v, limit %v", group, limit)
	}
	third := openRealtime(t, a)
	third.Close()
	if group, limit := leftOver(t, a); group || limit {
		t.Errorf("after the last: group %v, limit %v", group, limit)
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
	if inside, err := r.Inside(); err != nil || len(inside) != 0 {
		t.Errorf("inside at the end: %v %v", inside, err)
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
	before, begin := used(), time.Now()
	for end := begin.Add(time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
	}
	if d, in := used()-before, time.Since(begin); d <= 0 || float64(d) > 0.95*float64(in) {
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
