package spread

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/cgroup"
)

// TestMain lets the test binary be a process that spins.
func TestMain(m *testing.M) {
	if os.Getenv("SPREAD_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(time.Minute, func() { os.Exit(1) })
	// Threads that are started by one that is kept to a CPU: some sleep, one spins.
	for i := range 20 {
		time.AfterFunc(time.Duration(i)*50*time.Millisecond, func() {
			runtime.LockOSThread()
			if i == 10 {
				//lint:ignore SA5002 as below
				for {
				}
			}
			unix.Nanosleep(&unix.Timespec{Sec: 60}, nil)
		})
	}
	//lint:ignore SA5002 to use all of a core until it is killed
	for {
	}
}

// spinner starts one in a slot's group.
func spinner(t *testing.T, g *cgroup.Group) *os.Process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "SPREAD_TEST_CHILD=1", "GOMAXPROCS=2")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	if err := g.Add(cmd.Process.Pid); err != nil {
		t.Fatal(err)
	}
	return cmd.Process
}

// kept are the CPUs that threads of a process are kept to, each counted.
func kept(t *testing.T, pid int) map[int]int {
	t.Helper()
	out := make(map[int]int)
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		var tid int
		var set unix.CPUSet
		fmt.Sscan(e.Name(), &tid)
		if unix.SchedGetaffinity(tid, &set) != nil || set.Count() != 1 {
			continue
		}
		for c := range len(set) * 64 {
			if set.IsSet(c) {
				out[c]++
			}
		}
	}
	return out
}

func eventually(t *testing.T, what string, ok func() (bool, string)) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		done, said := ok()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within 30 s: %s", what, said)
		}
	}
}

// Two realms, each with as many spinning procs as there are CPUs: every CPU has
// one of each. When fewer run than there are CPUs they may go everywhere again.
func TestPaper64_RealmsAreOnEveryCPU(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if runtime.NumCPU() < 2 {
		t.Skip("needs two CPUs")
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Skip(err)
	}
	tree, err := cgroup.Open(cgroup.Config{Layout: l, Root: fmt.Sprintf("sigma-sp%d", os.Getpid()), Node: "n"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	}()
	cpus := min(runtime.NumCPU(), 4)
	procs := make(map[string][]*os.Process)
	groups := make(map[string][]*cgroup.Group)
	for _, realm := range []string{"a", "b"} {
		for i := range cpus {
			g, err := tree.NewGroup(cgroup.BE, realm, fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			groups[realm] = append(groups[realm], g)
			procs[realm] = append(procs[realm], spinner(t, g))
		}
	}
	s, err := Start(tree, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	on := func(realm string) (cpu map[int]int, threads int) {
		cpu = make(map[int]int)
		for _, p := range procs[realm] {
			for c, n := range kept(t, p.Pid) {
				cpu[c] += n
				threads += n
			}
		}
		return cpu, threads
	}
	eventually(t, "every realm on every CPU", func() (bool, string) {
		a, _ := on("a")
		b, _ := on("b")
		return len(a) >= cpus && len(b) >= cpus, fmt.Sprint(a, b)
	})
	eventually(t, "threads that kept ones started", func() (bool, string) {
		least := 1 << 20
		for _, p := range procs["a"] {
			list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", p.Pid))
			least = min(least, len(list))
		}
		return least > 20, fmt.Sprint(least)
	})
	for _, g := range append(groups["b"], groups["a"][1:]...) {
		if err := errors.Join(g.Kill(), g.Close()); err != nil {
			t.Fatal(err)
		}
	}
	procs["a"] = procs["a"][:1]
	if cpus == 2 { // its threads that spin are two
		if err := procs["a"][0].Signal(unix.SIGSTOP); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "few may be everywhere", func() (bool, string) {
		a, threads := on("a")
		return threads == 0, fmt.Sprint(a)
	})
	for _, g := range groups["a"][:1] {
		if err := errors.Join(g.Kill(), g.Close()); err != nil {
			t.Fatal(err)
		}
	}
}
