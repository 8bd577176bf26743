package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestTreeOnThisMachine(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	group(t, tree, LC, "r1", "1")
	for p, want := range map[string]bool{"": false, "lc/n1/r1/1": false, "be": true, "be/n1": false} {
		if got := value(t, tree, p, "cpu", "cpu.idle", "cpu.idle"); (got == "1") != want {
			t.Errorf("cpu.idle of %q = %s, want %v", p, got, want)
		}
	}
	g := group(t, tree, BE, "r1", "1")
	cmd := sleeper(t)
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	in, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	groups := parseGroups(string(in))
	for c := range l.Dirs {
		want := "/" + root + "/be/n1/r1/1"
		if l.Dirs[c] == l.Dirs["cpu"] {
			want = "/" + root + ".be/be/n1/r1/1"
		}
		if !strings.HasSuffix(groups[c], want) {
			t.Errorf("the process is in %s of controller %q, want …%s", groups[c], c, want)
		}
	}
	if ps, err := g.Procs(); err != nil || !slices.Equal(ps, []int{cmd.Process.Pid}) {
		t.Errorf("Procs = %v %v, want %d", ps, err, cmd.Process.Pid)
	}
	st, err := g.Stats()
	if err != nil || st.Pids < 1 {
		t.Errorf("Stats = %+v %v", st, err)
	}
	if err := errors.Join(g.SetMemory(64<<20), g.SetPids(9), tree.SetBEMemory(256<<20)); err != nil {
		t.Fatal(err)
	}
	if got := value(t, tree, "be/n1/r1/1", "memory", "memory.limit_in_bytes", "memory.max"); got != "67108864" {
		t.Errorf("memory limit = %s", got)
	}
	if got := value(t, tree, "be/n1", "memory", "memory.limit_in_bytes", "memory.max"); got != "268435456" {
		t.Errorf("memory limit of be = %s", got)
	}
	if got := value(t, tree, "be/n1/r1/1", "pids", "pids.max", "pids.max"); got != "9" {
		t.Errorf("pids limit = %s", got)
	}
	// Up, down and off again, with swap accounting where there is any.
	for _, n := range []int64{128 << 20, 32 << 20, Unlimited, 16 << 20} {
		if err := g.SetMemory(n); err != nil {
			t.Errorf("SetMemory(%d): %v", n, err)
		}
	}
	// Closing while it runs names it; after Kill all is gone.
	if err := g.Close(); !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), fmt.Sprint(cmd.Process.Pid)) || !strings.Contains(err.Error(), "be/n1/r1/1") {
		t.Errorf("Close of a group in use = %v, want EBUSY, the group and the process", err)
	}
	if err := g.Kill(); err != nil {
		t.Fatal(err)
	}
	if ps, err := g.Procs(); err != nil || len(ps) != 0 {
		t.Errorf("Procs after Kill = %v %v", ps, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := g.Close(); err != nil {
		t.Error("second Close:", err)
	}
	for _, d := range tree.dirs("be/n1/r1") {
		if exists(d) {
			t.Errorf("%s is left after the realm's last slot", d)
		}
	}
}

func TestOOMKillsAreCounted(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	g := group(t, tree, BE, "r1", "1")
	cmd, proceed := child(t, "eat")
	if err := errors.Join(g.Add(cmd.Process.Pid), g.SetMemory(48<<20)); err != nil {
		t.Fatal(err)
	}
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Fatalf("OOMKills before = %d %v", n, err)
	}
	out := proceed()
	if st := cmd.ProcessState.Sys().(syscall.WaitStatus); st.Signal() != syscall.SIGKILL {
		t.Fatalf("a process of 256 MiB in 48 MiB ended with %v, %q", cmd.ProcessState, out)
	}
	if n, err := g.OOMKills(); n != 1 || err != nil {
		t.Errorf("OOMKills = %d %v, want 1", n, err)
	}
	// What the kernel may not fail to have, a few pages of its own, goes beyond.
	if st, err := g.Stats(); err != nil || st.MemoryPeak < 40<<20 || st.MemoryPeak > 48<<20+64<<10 || st.Pids != 0 {
		t.Errorf("Stats = %+v %v, want a peak at the limit and no process", st, err)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func TestMemoryLimitBelowUse(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	g := group(t, tree, BE, "r1", "1")
	cmd := sleeper(t)
	os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", cmd.Process.Pid), []byte("1000"), 0)
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	// What it had before stays with its first group, so let it have some here.
	hold, proceed := child(t, "hold")
	if err := errors.Join(g.Add(hold.Process.Pid), g.SetMemory(512<<20)); err != nil {
		t.Fatal(err)
	}
	go proceed()
	for end, used := time.Now().Add(time.Minute), int64(0); used < 256<<20; time.Sleep(time.Millisecond) {
		st, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if used = st.MemoryPeak; time.Now().After(end) {
			t.Fatalf("it holds %d bytes, want 256 MiB", used)
		}
	}
	err := g.SetMemory(8 << 20)
	if !errors.Is(err, syscall.EBUSY) || !strings.Contains(err.Error(), "be/n1/r1/1") {
		t.Errorf("SetMemory below use = %v, want EBUSY with the group's name", err)
	}
	if n, err := g.OOMKills(); n != 0 || err != nil {
		t.Errorf("lowering the limit killed %d %v", n, err)
	}
	if err := errors.Join(g.Kill(), g.SetMemory(8<<20), g.Close()); err != nil {
		t.Error(err)
	}
}

func TestPidsLimit(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	g := group(t, tree, BE, "r1", "1")
	cmd, proceed := child(t, "fork")
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	st, err := g.Stats()
	if err != nil {
		t.Fatal(err)
	}
	if err := g.SetPids(st.Pids); err != nil {
		t.Fatal(err)
	}
	// A Go program that cannot start a thread dies; one that cannot fork says so.
	if out := proceed(); cmd.ProcessState.Success() {
		t.Errorf("it could fork beyond the limit: %q", out)
	}
	if err := errors.Join(g.Kill(), g.Close()); err != nil {
		t.Error(err)
	}
}

func TestCPUIsReservedAtEveryLevel(t *testing.T) {
	l, root := deep(t)
	a, b := open(t, l, root, "n1"), open(t, l, root, "n2")
	g1, g2, g3 := group(t, a, LC, "r1", "1"), group(t, a, LC, "r1", "2"), group(t, a, LC, "r2", "3")
	other := group(t, b, LC, "r1", "1")
	shares := func(path string) string { return value(t, a, path, "cpu", "cpu.shares", "cpu.weight") }
	_, v2 := a.l.at("cpu")
	weight := func(mcpu ...int) string {
		sum := 0
		for _, m := range mcpu {
			_, w := weightFile(v2, m)
			sum += w
		}
		return fmt.Sprint(sum)
	}
	branch := func(mcpu ...int) string {
		sum, _ := strconv.Atoi(weight(mcpu...))
		limit := maxShares
		if v2 {
			limit = maxWeight
		}
		return fmt.Sprint(min(sum*branchScale(v2), limit))
	}
	check := func(when string, want map[string]string) {
		t.Helper()
		for p, w := range want {
			if got := shares(p); got != w {
				t.Errorf("%s: weight of %s = %s, want %s", when, p, got, w)
			}
		}
	}
	check("at first", map[string]string{"lc/n1/r1/1": weight(0), "lc/n1/r1": weight(0), "lc/n1": weight(0), "lc": branch(0, 0, 0), "sys": branch(1000)})
	if err := errors.Join(g1.SetCPU(500), g2.SetCPU(1500), g3.SetCPU(1000), other.SetCPU(2000)); err != nil {
		t.Fatal(err)
	}
	check("all set", map[string]string{
		"lc/n1/r1/1": weight(500), "lc/n1/r1/2": weight(1500), "lc/n1/r1": weight(2000), "lc/n1/r2": weight(1000),
		"lc/n1": weight(3000), "lc/n2": weight(2000), "lc": branch(0, 3000, 2000),
	})
	if err := errors.Join(g2.SetCPU(0), g3.Close()); err != nil {
		t.Fatal(err)
	}
	check("two given back", map[string]string{"lc/n1/r1": weight(500), "lc/n1": weight(500), "lc": branch(0, 500, 2000)})
	if err := errors.Join(other.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
	check("the other node gone", map[string]string{"lc": branch(0, 500)})
	if err := errors.Join(g1.Close(), g2.Close()); err != nil {
		t.Fatal(err)
	}
	if err := g1.SetCPU(-1); err == nil {
		t.Error("SetCPU(-1) succeeds")
	}
}

func TestRealmCPUOutlivesSlots(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	g := group(t, tree, BE, "r1", "1")
	cmd, _ := child(t, "spin")
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	for {
		st, err := g.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if st.CPU > 20*time.Millisecond {
			break
		}
		time.Sleep(time.Millisecond)
	}
	if err := errors.Join(g.Kill(), g.Close()); err != nil {
		t.Fatal(err)
	}
	before, err := tree.RealmCPU("r1")
	if err != nil || before < 20*time.Millisecond {
		t.Errorf("RealmCPU after the last slot = %v %v, want at least 20ms", before, err)
	}
	if cpu, err := tree.RealmCPU("unknown"); cpu != 0 || err != nil {
		t.Errorf("RealmCPU of an unknown realm = %v %v", cpu, err)
	}
}

// Slots of one realm that end together leave nothing of the realm, in whatever
// order the hierarchies lose them.
func TestFAULTS_F34_LastSlotsEndTogether(t *testing.T) {
	l, root := machine(t)
	tree := open(t, l, root, "n1")
	for range 50 {
		var wg sync.WaitGroup
		for i := range 4 {
			g := group(t, tree, BE, "r1", fmt.Sprint(i))
			wg.Go(func() {
				if err := g.Close(); err != nil {
					t.Errorf("Close: %v", err)
				}
			})
		}
		wg.Wait()
		for _, dir := range tree.dirs("be/n1/r1") {
			if exists(dir) {
				t.Fatalf("%s is left", dir)
			}
		}
	}
}

func TestNames(t *testing.T) {
	l := fakeV2(t)
	tree := open(t, l, "sigma", "n1")
	for _, n := range []string{"", ".", "..", "a/b", "A", "a b", "a\x00", "ä", strings.Repeat("a", 41)} {
		_, e1 := Open(Config{Layout: l, Node: n})
		_, e2 := tree.NewGroup(BE, n, "1")
		_, e3 := tree.NewGroup(BE, "r", n)
		_, e4 := tree.RealmCPU(n)
		for i, err := range []error{e1, e2, e3, e4, Clean(l, "sigma", n)} {
			if err == nil || !strings.Contains(err.Error(), "cannot name a group") {
				t.Errorf("name %q, call %d: %v", n, i, err)
			}
		}
	}
	for _, r := range []string{"x", "sigma/..", "sigma-", "sigmaX", "sigma-A"} {
		if _, err := Open(Config{Layout: l, Root: r, Node: "n2"}); err == nil {
			t.Errorf("root %q is accepted", r)
		}
	}
	g := group(t, tree, BE, "r", "1")
	if _, err := tree.NewGroup(BE, "r", "1"); err == nil {
		t.Error("the same slot twice is accepted")
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
	if _, err := tree.NewGroup(BE, "r", "1"); err == nil {
		t.Error("NewGroup after Close succeeds")
	}
	if left, _ := filepath.Glob(filepath.Join(l.Dirs[""], "sigma*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// A v2 tree is there on most v1 machines, without controllers: Kill on it is
// the kernel's own.
func TestCgroupKill(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	self, _ := os.ReadFile("/proc/self/cgroup")
	m, ok := pick(parseMounts(string(mounts)), "", parseGroups(string(self))[""])
	if !ok || m.readOnly {
		t.Skip("no cgroup2 mount")
	}
	dir := filepath.Join(m.point, fmt.Sprintf("sigma-kill%d", os.Getpid()))
	inner := filepath.Join(dir, "inner")
	if err := os.MkdirAll(inner, 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := (Layout{}).rmTree(dir); err != nil {
			t.Error(err)
		}
	})
	if !exists(filepath.Join(dir, "cgroup.kill")) {
		t.Skip("no cgroup.kill (Linux 5.14)")
	}
	var cmds []*os.Process
	for range 3 {
		cmd := sleeper(t)
		cmds = append(cmds, cmd.Process)
		if err := write(inner, "cgroup.procs", fmt.Sprint(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
	}
	if err := killTree(dir, nil); err != nil {
		t.Fatal(err)
	}
	for _, p := range cmds {
		if st, err := p.Wait(); err != nil || st.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("ended with %v %v", st, err)
		}
	}
}
