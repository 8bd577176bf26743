package cgroup

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// to decides without looking.
func to(yields bool) func(bool) bool { return func(bool) bool { return yields } }

// apart opens a node whose best-effort branch is beside the root.
func apart(t *testing.T, l Layout, root, node string) *Tree {
	t.Helper()
	tree := open(t, l, root, node)
	if !tree.Apart() {
		t.Skip("the cpu controller has no hierarchy of its own")
	}
	return tree
}

// said is what the branch of a tree does.
func said(t *testing.T, tree *Tree) (idle, shares string) {
	t.Helper()
	idle, err1 := read(tree.outer(), "cpu.idle")
	shares, err2 := read(tree.outer(), "cpu.shares")
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return idle, shares
}

// Beside the root, best-effort groups yield or compete.
func TestBestEffortYieldsOrCompetes(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	if !tree.Apart() {
		if err := tree.Yield(to(true)); err != nil {
			t.Errorf("below the root: %v", err)
		}
		return
	}
	_, weight := besideShares(runtime.NumCPU())
	before := false
	for _, yields := range []bool{false, true, true, false} {
		if err := tree.Yield(func(now bool) bool {
			if now != before {
				t.Errorf("is told that they yield: %v, want %v", now, before)
			}
			return yields
		}); err != nil {
			t.Fatal(err)
		}
		if idle, shares := said(t, tree); (idle == "1") != yields || !yields && shares != fmt.Sprint(weight) {
			t.Errorf("yields %v: cpu.idle = %s, weight %s", yields, idle, shares)
		}
		before = yields
	}
}

func TestSpentCountsBestEffortProcs(t *testing.T) {
	l, root := machine(t)
	tree := apart(t, l, root, "n1")
	spent := func() (sum time.Duration) {
		list, err := tree.Spent()
		if err != nil || len(list) < runtime.NumCPU() {
			t.Fatalf("Spent = %v %v", list, err)
		}
		for _, d := range list {
			sum += d
		}
		return sum
	}
	before := spent()
	g := group(t, tree, BE, "r1", "1")
	cmd, _ := child(t, "spin")
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(30 * time.Second); spent()-before < 20*time.Millisecond; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("a process that spins has used %v", spent()-before)
		}
	}
	if err := errors.Join(g.Kill(), g.Close()); err != nil {
		t.Error(err)
	}
}

// Nodes that say different things at once: the kernel refuses shares to a group that
// another has just made idle, and nobody may see that.
func TestNodesThatDisagreeWriteOneAfterTheOther(t *testing.T) {
	l, root := machine(t)
	var wg sync.WaitGroup
	trees := []*Tree{apart(t, l, root, "n1"), open(t, l, root, "n2"), open(t, l, root, "n3")}
	for i, tree := range trees {
		wg.Go(func() {
			for n := range 500 {
				if err := tree.Yield(to((n+i)%2 == 0)); err != nil {
					t.Errorf("n%d: %v", i+1, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

// A node that starts, or leaves, does not change what those that are there have
// decided; the first begins anew.
func TestNodesThatComeLeaveTheDecisionAlone(t *testing.T) {
	l, root := machine(t)
	a := apart(t, l, root, "n1")
	if idle, _ := said(t, a); idle != "0" {
		t.Errorf("before anybody has decided cpu.idle = %s", idle)
	}
	if err := a.Yield(to(true)); err != nil {
		t.Fatal(err)
	}
	b := open(t, l, root, "n2")
	if idle, _ := said(t, a); idle != "1" {
		t.Errorf("after a second node has come cpu.idle = %s, want 1", idle)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if idle, _ := said(t, a); idle != "1" {
		t.Errorf("after it has left cpu.idle = %s, want 1", idle)
	}
	// As after a crash that left the node's groups.
	a.lock.Close()
	again := open(t, l, root, "n1")
	if idle, _ := said(t, again); idle != "0" {
		t.Errorf("the only node takes over cpu.idle = %s, want 0", idle)
	}
}

// Who is asked again puts right what somebody else wrote, or half of it.
func TestYieldRepairs(t *testing.T) {
	l, root := machine(t)
	tree := apart(t, l, root, "n1")
	_, want := said(t, tree)
	if err := write(tree.outer(), "cpu.shares", "1024"); err != nil {
		t.Fatal(err)
	}
	same := func(now bool) bool { return now }
	if err := tree.Yield(same); err != nil {
		t.Fatal(err)
	}
	if _, shares := said(t, tree); shares != want {
		t.Errorf("shares = %s, want %s", shares, want)
	}
	if err := write(tree.outer(), "cpu.idle", "1"); err != nil {
		t.Fatal(err)
	}
	if err := tree.Yield(to(false)); err != nil {
		t.Fatal(err)
	}
	if idle, shares := said(t, tree); idle != "0" || shares != want {
		t.Errorf("cpu.idle %s, shares %s, want 0 and %s", idle, shares, want)
	}
}

// However many CPUs there are, procs that have reserved are far above best-effort ones
// that compete, though the kernel takes no greater weight.
func TestRootStaysFarAboveWhatIsBesideIt(t *testing.T) {
	for cpus, want := range map[int][2]int{1: {16384, 1024}, 2: {32768, 2048}, 16: {262144, 16384}, 17: {262144, 16384}, 64: {262144, 16384}, 1024: {262144, 16384}} {
		root, be := besideShares(cpus)
		if [2]int{root, be} != want || root < besideScale*be || root > maxShares {
			t.Errorf("%d CPUs: root %d, beside it %d, want %v", cpus, root, be, want)
		}
	}
}
