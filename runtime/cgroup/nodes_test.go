package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// As sigmad does: the process joins sys, and is back where it was at the end.
func TestJoinSys(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	cmd := sleeper(t)
	where := func() string {
		b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	before := where()
	if err := tree.JoinSys(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	if got := where(); strings.Count(got, "/"+root+"/sys/n1\n") < len(l.bases()) {
		t.Errorf("after JoinSys it is in %s", got)
	}
	// A node started from there builds beside, not inside.
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	again, err := detect(where(), string(mounts), descends)
	if err != nil || !slices.Equal(again.bases(), l.bases()) {
		t.Errorf("detect from sys = %v %v, want %v", again.bases(), err, l.bases())
	}
	if err := tree.Close(); err != nil {
		t.Fatal(err)
	}
	if got := where(); got != before {
		t.Errorf("after Close it is in %s, want %s", got, before)
	}
}

func TestNodesShareARoot(t *testing.T) {
	l, root := machine(t)
	a, b := open(t, l, root, "n1"), open(t, l, root, "n2")
	if got, err := Nodes(l, root); err != nil || !slices.Equal(got, []string{"n1", "n2"}) {
		t.Errorf("Nodes = %v %v", got, err)
	}
	if _, err := Open(Config{Layout: l, Root: root, Node: "n1"}); !errors.Is(err, errAlive) {
		t.Errorf("a second n1: %v, want %v", err, errAlive)
	}
	if err := Clean(l, root, "n1"); !errors.Is(err, errAlive) {
		t.Errorf("Clean of a living node: %v, want %v", err, errAlive)
	}
	if got, err := Roots(l); err != nil || !slices.Contains(got, root) || slices.ContainsFunc(got, func(n string) bool { return !rootRule.MatchString(n) }) {
		t.Errorf("Roots = %v %v, want %s among them", got, err, root)
	}
	g := group(t, b, BE, "r", "1")
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	if got, err := Nodes(l, root); err != nil || !slices.Equal(got, []string{"n2"}) {
		t.Errorf("Nodes = %v %v", got, err)
	}
	if got := value(t, b, "be", "cpu", "cpu.idle", "cpu.idle"); got != "1" {
		t.Errorf("cpu.idle of be = %s after the first node left", got)
	}
	if err := errors.Join(g.SetMemory(1<<20), g.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

// Nodes that come and go at once: none may find the shared groups half there.
func TestComingAndGoing(t *testing.T) {
	l, root := machine(t)
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for range 10 {
				tree, err := Open(Config{Layout: l, Root: root, Node: fmt.Sprintf("n%d", i)})
				if err != nil {
					t.Error(err)
					return
				}
				g, err := tree.NewGroup(LC, "r", "1")
				if err != nil {
					t.Error(err)
				} else if err := errors.Join(g.SetCPU(100), g.Close()); err != nil {
					t.Error(err)
				}
				if s, err := read(tree.dirs("be")[0], "cpu.idle"); l.Dirs["cpu"] == l.bases()[0] && s != "1" {
					t.Errorf("cpu.idle of be = %q %v", s, err)
				}
				if err := errors.Join(tree.Yield(to(true)), tree.Yield(to(false))); err != nil {
					t.Error(err)
				}
				if err := tree.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

// Sweep takes what nobody will come back to, of the roots that it is asked about, and
// leaves what lives.
func TestSweepCleansDeadRootsAlone(t *testing.T) {
	l, root := machine(t)
	prefix := root + "-"
	var living []*Tree
	for _, name := range []string{"dead", "lives", "mixed", "comes"} {
		tree := open(t, l, prefix+name, "a")
		group(t, tree, LC, "r", "1")
		if name == "lives" {
			living = append(living, tree)
			continue
		}
		tree.lock.Close() // as the kernel does
		if name == "mixed" {
			living = append(living, open(t, l, prefix+name, "b"))
		}
	}
	if err := os.Mkdir(filepath.Join(l.bases()[0], prefix+"empty"), 0o755); err != nil {
		t.Fatal(err)
	}
	sweep := func(gone func(string) bool, want ...string) {
		t.Helper()
		if err := Sweep(l, prefix, gone); err != nil {
			t.Error(err)
		}
		roots, err := Roots(l)
		if err != nil {
			t.Fatal(err)
		}
		roots = slices.DeleteFunc(roots, func(r string) bool { return !strings.HasPrefix(r, prefix) })
		for i := range want {
			want[i] = prefix + want[i]
		}
		if !slices.Equal(roots, want) {
			t.Errorf("left are %q, want %q", roots, want)
		}
	}
	sweep(func(r string) bool { return r != prefix+"comes" }, "comes", "lives", "mixed")
	if nodes, err := Nodes(l, prefix+"mixed"); err != nil || !slices.Equal(nodes, []string{"b"}) {
		t.Errorf("of a dead and a living node are left %q, %v", nodes, err)
	}
	for _, tree := range living {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}
	sweep(func(string) bool { return true })
}

// What kill -9 of a node leaves: groups that nobody has locked, with processes.
func TestClean(t *testing.T) {
	l, root := machine(t)
	dead, alive := open(t, l, root, "dead"), open(t, l, root, "alive")
	g := group(t, dead, BE, "r", "1")
	victim, helper, bystander := sleeper(t), sleeper(t), sleeper(t)
	keep := group(t, alive, BE, "r", "1")
	if err := errors.Join(g.Add(victim.Process.Pid), dead.JoinSys(helper.Process.Pid), keep.Add(bystander.Process.Pid), dead.JoinSys(os.Getpid())); err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as the kernel does
	if ok, err := Alive(l, root, "dead"); ok || err != nil {
		t.Errorf("Alive of a dead node = %v %v", ok, err)
	}
	if ok, err := Alive(l, root, "alive"); !ok || err != nil {
		t.Errorf("Alive of a living node = %v %v", ok, err)
	}
	if err := Clean(l, root, "dead"); err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*os.Process{victim.Process, helper.Process} {
		st, err := cmd.Wait()
		if err != nil || st.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("a process of the dead node ended with %v %v", st, err)
		}
	}
	if err := bystander.Process.Signal(syscall.Signal(0)); err != nil {
		t.Error("a process of the other node was killed")
	}
	if got, err := Nodes(l, root); err != nil || !slices.Equal(got, []string{"alive"}) {
		t.Errorf("Nodes = %v %v", got, err)
	}
	if err := Clean(l, root, "never-was"); err != nil {
		t.Error("Clean of nothing:", err)
	}
	// Close kills what a node still has in slots.
	if err := alive.Close(); err != nil {
		t.Error(err)
	}
	if st, err := bystander.Process.Wait(); err != nil || st.Success() {
		t.Errorf("a process in a slot survived Close: %v %v", st, err)
	}
}
