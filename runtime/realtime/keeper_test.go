package realtime

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	goruntime "runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/slot"
	"sigmaos/runtime/threads"
)

// TestMain lets the test binary be a process in a slot, with several threads.
func TestMain(m *testing.M) {
	role := os.Getenv("REALTIME_TEST_CHILD")
	if role == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(2*time.Minute, func() { os.Exit(1) })
	for range 3 {
		go func() {
			goruntime.LockOSThread()
			unix.Nanosleep(&unix.Timespec{Sec: 120}, nil)
		}()
	}
	if role == "sleep" {
		time.Sleep(2 * time.Minute)
	}
	//lint:ignore SA5002 to use all of a core until it is killed
	for {
	}
}

// world is a node's groups, with its Keeper, in a root of the test's own.
type world struct {
	*testing.T
	tree *cgroup.Tree
	root string
	keep *Keeper
}

// patience is for a machine that is busy with other things.
const patience = 60 * time.Second

func newWorld(t *testing.T) *world {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l, err := cgroup.Detect()
	if err != nil {
		t.Skip(err)
	}
	root := fmt.Sprintf("sigma-rt%d", os.Getpid())
	tree, err := cgroup.Open(cgroup.Config{Layout: l, Root: root, Node: "n1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := tree.JoinSys(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	w := &world{T: t, tree: tree, root: root}
	w.free()
	k := keeper(tree, slot.Slice, slog.New(slog.NewTextHandler(t.Output(), nil)))
	w.keep = k.start()
	t.Cleanup(k.Close)
	return w
}

// free skips where the machine has no real-time time for us.
func (w *world) free() {
	w.Helper()
	r, err := w.tree.OpenRealtime()
	if errors.Is(err, cgroup.ErrNoRealtime) {
		w.Skip(err)
	} else if err != nil {
		w.Fatal(err)
	}
	r.Close()
}

// proc starts a process in a slot of its own.
func (w *world) proc(class cgroup.Class, name, role string, mcpu int) (*cgroup.Group, *os.Process) {
	w.Helper()
	g, err := w.tree.NewGroup(class, "r1", name)
	if err != nil {
		w.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "REALTIME_TEST_CHILD="+role, "GOMAXPROCS=2")
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() { cmd.Process.Kill(); cmd.Wait(); g.Close() })
	if err := errors.Join(g.SetCPU(mcpu), g.Add(cmd.Process.Pid)); err != nil {
		w.Fatal(err)
	}
	return g, cmd.Process
}

// policies counts a process's threads by their policy.
func policies(pid int) (realtime, ordinary int) {
	for _, tid := range threads.List(pid) {
		switch p, ok := threads.Policy(tid); {
		case ok && p == unix.SCHED_RR:
			realtime++
		case ok:
			ordinary++
		}
	}
	return realtime, ordinary
}

func (w *world) until(what string, ok func() bool) {
	w.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			w.Fatalf("not %s in %v", what, patience)
		}
	}
}

func (w *world) untilRealtime(pid int) {
	w.Helper()
	w.until("real-time", func() bool { r, o := policies(pid); return r > 3 && o == 0 })
}

func (w *world) untilOrdinary(pid int) {
	w.Helper()
	w.until("ordinary", func() bool { r, o := policies(pid); return r == 0 && o > 3 })
}

// They are before all others while best-effort procs run.
func TestPaper64_LatencyCriticalProcsRunBeforeBestEffortOnes(t *testing.T) {
	w := newWorld(t)
	_, lc := w.proc(cgroup.LC, "1", "sleep", 500)
	unix.Setpriority(unix.PRIO_PROCESS, lc.Pid, 3)
	time.Sleep(3 * every)
	if r, _ := policies(lc.Pid); r != 0 {
		t.Errorf("%d threads are real-time without best-effort procs", r)
	}
	_, be := w.proc(cgroup.BE, "2", "spin", 0)
	w.untilRealtime(lc.Pid)
	w.until("the Keeper above them", func() bool {
		for _, tid := range threads.List(os.Getpid()) {
			if a, err := unix.SchedGetAttr(tid, 0); err == nil && a.Policy == unix.SCHED_RR && a.Priority == keeperPriority {
				return true
			}
		}
		return false
	})
	_, other := w.proc(cgroup.LC, "3", "sleep", 500)
	w.untilRealtime(other.Pid)
	w.until("of the priority of procs", func() bool {
		a, err := unix.SchedGetAttr(other.Pid, 0)
		return err == nil && a.Policy == unix.SCHED_RR && a.Priority == procPriority
	})
	if r, _ := policies(be.Pid); r != 0 {
		t.Errorf("%d threads of a best-effort proc are real-time", r)
	}
	be.Kill()
	w.untilOrdinary(lc.Pid)
	w.until("ordinary here, too", func() bool { r, _ := policies(os.Getpid()); return r == 0 })
	a, err := unix.SchedGetAttr(lc.Pid, 0)
	if err != nil || a.Nice != 3 || a.Runtime != 0 && a.Runtime != uint64(slot.Slice) {
		t.Errorf("%+v %v, want nice 3 as before and slices of %v", a, err, slot.Slice)
	}
}

// Who uses more than he has reserved is ordinary until he has been quiet for a while,
// and nobody else is.
func TestPaper64_MoreThanReservedIsNotRealtime(t *testing.T) {
	w := newWorld(t)
	w.proc(cgroup.BE, "1", "spin", 0)
	_, fair := w.proc(cgroup.LC, "2", "sleep", 500)
	_, spins := w.proc(cgroup.LC, "3", "spin", 50)
	w.until("there with its threads", func() bool { r, o := policies(spins.Pid); return r+o > 3 })
	spins.Signal(unix.SIGSTOP)
	w.untilRealtime(spins.Pid)
	spins.Signal(unix.SIGCONT)
	w.untilOrdinary(spins.Pid)
	w.untilRealtime(fair.Pid)
	w.until("back in its group", func() bool {
		for _, tid := range threads.List(spins.Pid) {
			if in := cpuGroup(tid); in != "" && !strings.Contains(in, w.root+"/lc") {
				return false
			}
		}
		return true
	})
	spins.Signal(unix.SIGSTOP)
	w.untilRealtime(spins.Pid)
}

// cpuGroup is the group from which a thread has its CPU time.
func cpuGroup(tid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", tid))
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 && (f[1] == "cpu" || f[1] == "" && !strings.Contains(string(b), ":cpu:")) {
			return f[2]
		}
	}
	return ""
}

// Close leaves nothing real-time, and the groups can go (newWorld looks).
func TestCloseMakesOrdinary(t *testing.T) {
	w := newWorld(t)
	_, lc := w.proc(cgroup.LC, "1", "sleep", 500)
	w.proc(cgroup.BE, "2", "spin", 0)
	w.untilRealtime(lc.Pid)
	w.keep.Close()
	if r, _ := policies(lc.Pid); r != 0 {
		t.Errorf("%d threads are real-time", r)
	}
	if r, _ := policies(os.Getpid()); r != 0 {
		t.Errorf("%d threads of ours are real-time", r)
	}
}
