package cgroup

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// side is the machine's layout where it has latency-critical slots side by side.
func side(t *testing.T) (l Layout, root, cpu string) {
	t.Helper()
	l, root = machine(t)
	cpu, ok := l.Dirs["cpu"]
	if !ok || !l.flat(cpu) {
		t.Skip("the cpu controller has no hierarchy for itself")
	}
	return l, root, filepath.Join(cpu, root)
}

func TestLatencyCriticalSlotsStandSideBySide(t *testing.T) {
	l, root, cpu := side(t)
	a, b := open(t, l, root, "n1"), open(t, l, root, "n2")
	g1, g2, other := group(t, a, LC, "r1", "1"), group(t, a, LC, "r2", "2"), group(t, b, LC, "r1", "1")
	if err := errors.Join(g1.SetCPU(500), g2.SetCPU(1500), other.SetCPU(2000)); err != nil {
		t.Fatal(err)
	}
	check := func(when string, want map[string]int) {
		t.Helper()
		names, err := subdirs(cpu)
		if err != nil || len(names) != len(want) {
			t.Errorf("%s: in the root are %q %v, want %v", when, names, err, want)
		}
		for name, mcpu := range want {
			_, w := weightFile(false, mcpu)
			if got, err := readInt(filepath.Join(cpu, name), "cpu.shares"); err != nil || got != int64(w) {
				t.Errorf("%s: weight of %s = %d %v, want %d", when, name, got, err, w)
			}
		}
	}
	check("all set", map[string]int{"sys": 1000, "lc.n1.r1.1": 500, "lc.n1.r2.2": 1500, "lc.n2.r1.1": 2000})

	cmd := sleeper(t)
	if err := g1.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	in, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", cmd.Process.Pid))
	for c, got := range parseGroups(string(in)) {
		want := "/" + root + "/lc/n1/r1/1"
		if c == "cpu" {
			want = "/" + root + "/lc.n1.r1.1"
		}
		if _, ours := l.Dirs[c]; ours && !strings.HasSuffix(got, want) {
			t.Errorf("the process is in %s of controller %q, want …%s", got, c, want)
		}
	}
	// A node that is started from there builds beside, not inside.
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	again, err := detect(string(in), string(mounts), descends)
	if err != nil || !slices.Equal(again.bases(), l.bases()) {
		t.Errorf("detect from a slot = %v %v, want %v", again.bases(), err, l.bases())
	}

	if err := errors.Join(g1.Kill(), g1.Close(), g2.SetCPU(0)); err != nil {
		t.Fatal(err)
	}
	check("one closed, one given back", map[string]int{"sys": 1000, "lc.n1.r2.2": 0, "lc.n2.r1.1": 2000})
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	check("a node gone", map[string]int{"sys": 1000, "lc.n2.r1.1": 2000})
}

// Whose a slot is makes no difference: a CPU is shared as it was reserved, by slots of
// other nodes and realms as by those of one.
func TestCPUIsSharedAsReserved(t *testing.T) {
	l, root := machine(t)
	a, b := open(t, l, root, "n1"), open(t, l, root, "n2")
	spin := func(g *Group, mcpu int) *Group {
		cmd, _ := child(t, "spin")
		if err := errors.Join(g.Add(cmd.Process.Pid), g.SetCPU(mcpu), onFirstCPU(cmd.Process.Pid)); err != nil {
			t.Fatal(err)
		}
		return g
	}
	less := spin(group(t, a, LC, "r1", "1"), 250)
	one, two := spin(group(t, a, LC, "r2", "2"), 500), spin(group(t, b, LC, "r1", "1"), 500)
	used := func() (out [3]time.Duration) {
		for i, g := range []*Group{less, one, two} {
			st, err := g.Stats()
			if err != nil {
				t.Fatal(err)
			}
			out[i] = st.CPU
		}
		return out
	}
	// once are the times at the first moment at which enough has been used.
	once := func(enough func(now [3]time.Duration) bool) [3]time.Duration {
		for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
			now := used()
			if enough(now) {
				return now
			}
			if time.Now().After(end) {
				t.Fatalf("three that spin used %v in a minute", now)
			}
		}
	}
	begin := once(func(now [3]time.Duration) bool { return slices.Min(now[:]) > 50*time.Millisecond })
	got := once(func(now [3]time.Duration) bool {
		return now[0]+now[1]+now[2] > begin[0]+begin[1]+begin[2]+2*time.Second
	})
	for i := range got {
		got[i] -= begin[i]
	}
	for _, more := range got[1:] {
		if r := float64(more) / float64(got[0]); r < 1.6 || r > 2.4 {
			t.Errorf("250, 500 and 500 mCPU got %v, want 1:2:2", got)
			break
		}
	}
	for _, g := range []*Group{less, one, two} {
		if err := errors.Join(g.Kill(), g.Close()); err != nil {
			t.Error(err)
		}
	}
}

// onFirstCPU keeps all threads of a process to the first CPU that this one may use.
func onFirstCPU(pid int) error {
	var mine, first unix.CPUSet
	if err := unix.SchedGetaffinity(0, &mine); err != nil {
		return err
	}
	for c := 0; ; c++ {
		if mine.IsSet(c) {
			first.Set(c)
			break
		}
	}
	for known := 0; ; {
		tids, err := subdirs(fmt.Sprintf("/proc/%d/task", pid))
		if err != nil || len(tids) == known {
			return err
		}
		known = len(tids)
		for _, tid := range tids {
			n, _ := strconv.Atoi(tid)
			if err := unix.SchedSetaffinity(n, &first); err != nil && err != unix.ESRCH {
				return err
			}
		}
	}
}

// What kill -9 leaves of slots in the root is found by its name alone, and taken with
// what runs there; a node whose name begins alike is another one.
func TestFAULTS_F34_SlotsOfADeadNodeInTheRootAreRemoved(t *testing.T) {
	l, root, cpu := side(t)
	dead, alive := open(t, l, root, "n1"), open(t, l, root, "n1-a")
	g, keep := group(t, dead, LC, "r", "1"), group(t, alive, LC, "r", "1")
	victim, half, bystander := sleeper(t), sleeper(t), sleeper(t)
	// half was on its way into its groups.
	group(t, dead, LC, "r", "2")
	if err := errors.Join(g.Add(victim.Process.Pid), keep.Add(bystander.Process.Pid), write(filepath.Join(cpu, "lc.n1.r.2"), "cgroup.procs", fmt.Sprint(half.Process.Pid))); err != nil {
		t.Fatal(err)
	}
	dead.lock.Close() // as the kernel does
	// The other hierarchies are clean: whoever did that was killed, too.
	for _, base := range l.bases() {
		if !l.flat(base) {
			for _, b := range branches {
				if err := errors.Join(killTree(filepath.Join(base, root, b, "n1"), nil), l.rmTree(filepath.Join(base, root, b, "n1"))); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	list, err := Remains(l, root)
	if err != nil || len(list) != 1 || list[0].Node != "n1" {
		t.Fatalf("Remains = %v %v, want n1", list, err)
	}
	if err := list[0].Clean(); err != nil {
		t.Error(err)
	}
	for _, cmd := range []*os.Process{victim.Process, half.Process} {
		if st, err := cmd.Wait(); err != nil || st.Success() {
			t.Errorf("a process of the dead node ended with %v %v", st, err)
		}
	}
	names, err := subdirs(cpu)
	if slices.Sort(names); err != nil || !slices.Equal(names, []string{"lc.n1-a.r.1", "sys"}) {
		t.Errorf("in the root are %q %v, want those of the living node", names, err)
	}
	if err := bystander.Process.Signal(unix.Signal(0)); err != nil {
		t.Error("a process of the other node was killed")
	}
	if roots, err := Roots(l); err != nil || !slices.Contains(roots, root) {
		t.Errorf("Roots = %q %v, want %s among them", roots, err, root)
	}
}

// Close kills what was on its way into a slot's groups and is in the root's alone.
func TestFAULTS_F34_CloseKillsWhatIsHalfInASlot(t *testing.T) {
	l, root, cpu := side(t)
	tree := open(t, l, root, "n1")
	half := sleeper(t)
	group(t, tree, LC, "r", "1")
	if err := write(filepath.Join(cpu, "lc.n1.r.1"), "cgroup.procs", fmt.Sprint(half.Process.Pid)); err != nil {
		t.Fatal(err)
	}
	if err := tree.Close(); err != nil {
		t.Error(err)
	}
	if st, err := half.Process.Wait(); err != nil || st.Success() {
		t.Errorf("the process ended with %v %v", st, err)
	}
	if l.there(root) {
		t.Error("the root is still there")
	}
}

func TestSlotsAreSideBySideWhereCPUIsAlone(t *testing.T) {
	for _, c := range []struct {
		name string
		dirs map[string]string
		want string
	}{
		{"v1, each alone", map[string]string{"cpu": "/c", "cpuacct": "/a", "memory": "/m", "pids": "/p"}, "/c/sigma/lc.n.r.7"},
		{"v1, cpuacct mounted with it", map[string]string{"cpu": "/c", "cpuacct": "/c", "memory": "/m", "pids": "/p"}, "/c/sigma/lc/n/r/7"},
		{"v1 beside v2", map[string]string{"cpu": "/c", "cpuacct": "/a", "": "/u"}, "/c/sigma/lc.n.r.7"},
		{"v2", map[string]string{"": "/u"}, "/u/sigma/lc/n/r/7"},
	} {
		l := Layout{Dirs: c.dirs}
		base, _ := l.at("cpu")
		if got := l.group(base, "sigma", "lc/n/r/7"); got != c.want {
			t.Errorf("%s: a slot is at %s, want %s", c.name, got, c.want)
		}
		if got := l.group(base, "sigma", "lc/n/r"); (got == "") != l.flat(base) {
			t.Errorf("%s: a realm is at %q", c.name, got)
		}
		for _, other := range l.bases() {
			if got := l.group(other, "sigma", "lc/n/r/7"); other != base && got != other+"/sigma/lc/n/r/7" {
				t.Errorf("%s: a slot is at %s", c.name, got)
			}
		}
		if got := outside("/u" + strings.TrimPrefix(l.group(base, "sigma", "lc/n/r/7"), base)); got != "/u" {
			t.Errorf("%s: outside of a slot is %s", c.name, got)
		}
	}
	for name, want := range map[string]string{"lc.n.r.7": "n", "lc.n-1.r.7": "n-1", "lc": "", "lc.n.r": "", "lc.n.r.7.8": "", "lc..r.7": "", "be.n.r.7": "", "lc.N.r.7": ""} {
		if got := flatNode(name); got != want {
			t.Errorf("%s is a slot of node %q, want %q", name, got, want)
		}
	}
}
