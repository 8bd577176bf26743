package cgroup

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// A node that was killed before the best-effort branch was beside the root, or before
// latency-critical slots stood in it, has groups where all branches were once, which are
// found and removed like those of today.
func TestBranchesBelowTheRootAreRemoved(t *testing.T) {
	for _, branch := range []string{"be", "lc"} {
		t.Run(branch, func(t *testing.T) { branchBelowTheRootIsRemoved(t, branch) })
	}
}

func branchBelowTheRootIsRemoved(t *testing.T, branch string) {
	l, root := machine(t)
	cpu, ok := l.Dirs["cpu"]
	if !ok {
		t.Skip("the cpu controller has no hierarchy of its own")
	}
	old := filepath.Join(cpu, root, branch)
	if err := os.MkdirAll(filepath.Join(old, "n1", "r1", "7"), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := sleeper(t)
	if err := write(filepath.Join(old, "n1", "r1", "7"), "cgroup.procs", fmt.Sprint(cmd.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if roots, err := Roots(l); err != nil || !slices.Contains(roots, root) {
		t.Errorf("Roots = %q %v, want %s among them", roots, err, root)
	}
	list, err := Remains(l, root)
	if err != nil || len(list) != 1 || list[0].Node != "n1" {
		t.Fatalf("Remains = %v %v, want n1", list, err)
	}
	if err := list[0].Clean(); err != nil {
		t.Error(err)
	}
	if err := cmd.Wait(); err == nil {
		t.Error("what ran there has ended by itself")
	}
	if exists(filepath.Join(cpu, root)) {
		t.Errorf("%s is left", filepath.Join(cpu, root))
	}
}

// A sigmad that is killed while it makes groups, or removes them, leaves a root
// without nodes.
func TestRootsWithoutNodesAreRemoved(t *testing.T) {
	l, root := machine(t)
	for _, name := range []string{root, root + beside} {
		base := l.bases()[0]
		if d, ok := l.Dirs["cpu"]; ok {
			base = d
		}
		if err := os.Mkdir(filepath.Join(base, name), 0o755); err != nil {
			t.Fatal(err)
		}
		list, err := Remains(l, root)
		if err != nil || len(list) != 1 || list[0].Node != "" {
			t.Fatalf("Remains of %s = %v %v, want the root", name, list, err)
		}
		if err := list[0].Clean(); err != nil {
			t.Error(err)
		}
		if list, err := Remains(l, root); err != nil || len(list) > 0 {
			t.Errorf("Remains after Clean = %v %v", list, err)
		}
	}
}
