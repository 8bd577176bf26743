package cgroup

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// Who only looks sees the same times as the owner, of one realm and of all.
func TestViewSeesATreeFromOutside(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	a, b := group(t, tree, BE, "r1", "1"), group(t, tree, BE, "r2", "2")
	cmd, _ := child(t, "spin")
	idle := sleeper(t)
	if err := errors.Join(a.Add(cmd.Process.Pid), b.Add(idle.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	v, err := ViewOf(cmd.Process.Pid)
	if err != nil || v.Node != "n1" || v.Realm != "r1" {
		t.Fatalf("ViewOf = %+v %v", v, err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		before, err := tree.RealmCPU("r1")
		if err != nil {
			t.Fatal(err)
		}
		one, err1 := v.CPU("be/*/r1")
		all, err2 := v.CPU("be/*")
		if err := errors.Join(err1, err2); err != nil {
			t.Fatal(err)
		}
		if one < before || all < one {
			t.Fatalf("the realm has used %v, the view says %v and %v of all", before, one, all)
		}
		if one > 20*time.Millisecond {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%v of a process that spins", one)
		}
	}
	if err := v.JoinSys(cmd.Process.Pid); err != nil {
		t.Error(err)
	} else if groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid)); err != nil || v.cpu != v.root && !strings.Contains(string(groups), tree.root+"/sys/n1\n") {
		t.Errorf("after JoinSys: %s, %v", groups, err)
	}
	if none, err := v.CPU("lc/*/r1"); none != 0 || err != nil {
		t.Errorf("of a group that is not there: %v %v", none, err)
	}
	if _, err := ViewOf(os.Getpid()); err == nil {
		t.Error("this process is in no node's group, and has a view")
	}
	if err := errors.Join(a.Kill(), b.Kill(), a.Close(), b.Close()); err != nil {
		t.Error(err)
	}
}

func TestViewOnEachVersion(t *testing.T) {
	const v1 = "30 20 0:1 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu,cpuacct\n"
	const apart = "32 20 0:3 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n33 20 0:4 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct\n"
	const v2 = "31 20 0:2 / /sys/fs/cgroup/unified rw - cgroup2 none rw\n"
	for _, c := range []struct {
		name, groups, mounts string
		want                 View
	}{
		{"v1", "3:cpu,cpuacct:/u/sigma-x/be/n/r/7\n0::/\n", v1 + v2, View{root: "/sys/fs/cgroup/cpu/u/sigma-x", cpu: "/sys/fs/cgroup/cpu/u/sigma-x", Node: "n", Realm: "r"}},
		{"v1, beside the root", "3:cpu,cpuacct:/u/sigma-x.be/be/n/r/7\n0::/\n", v1 + v2, View{root: "/sys/fs/cgroup/cpu/u/sigma-x", cpu: "/sys/fs/cgroup/cpu/u/sigma-x", Node: "n", Realm: "r"}},
		{"v1, each by itself", "3:cpuacct:/u/sigma-x/lc/n/r/7\n4:cpu:/w/sigma-x/lc/n/r/7\n0::/\n", apart + v2, View{root: "/sys/fs/cgroup/cpuacct/u/sigma-x", cpu: "/sys/fs/cgroup/cpu/w/sigma-x", Node: "n", Realm: "r"}},
		{"v2", "0::/sigma/lc/n/r/7\n", v2, View{root: "/sys/fs/cgroup/unified/sigma", cpu: "/sys/fs/cgroup/unified/sigma", v2: true, Node: "n", Realm: "r"}},
		{"sigmad", "0::/sigma/sys/n\n", v2, View{root: "/sys/fs/cgroup/unified/sigma", cpu: "/sys/fs/cgroup/unified/sigma", v2: true, Node: "n"}},
		{"another program", "0::/user.slice\n", v2, View{}},
	} {
		got, err := view(c.groups, c.mounts)
		if (err != nil) != (c.want == View{}) || err == nil && got != c.want {
			t.Errorf("%s: %+v %v, want %+v", c.name, got, err, c.want)
		}
	}
}
