package apart

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/threads"
)

// TestMain lets the test binary be a process that spins.
func TestMain(m *testing.M) {
	if os.Getenv("APART_TEST_CHILD") == "" {
		os.Exit(m.Run())
	}
	time.AfterFunc(time.Minute, func() { os.Exit(1) })
	//lint:ignore SA5002 to use all of a core until it is killed
	for {
	}
}

// slots are processes, each a slot.
type slots []*os.Process

func (s slots) LCThreads(fn func(realm, slot string, tids []int)) error {
	for i, p := range s {
		fn("r", strconv.Itoa(i), tids(p.Pid))
	}
	return nil
}

func tids(pid int) (out []int) {
	list, _ := os.ReadDir(fmt.Sprintf("/proc/%d/task", pid))
	for _, e := range list {
		if tid, err := strconv.Atoi(e.Name()); err == nil {
			out = append(out, tid)
		}
	}
	return out
}

// pinned starts a process that spins and may use one CPU only.
func pinned(t *testing.T, cpu int) *os.Process {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "APART_TEST_CHILD=1", "GOMAXPROCS=1")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	var one unix.CPUSet
	one.Set(cpu)
	for range 20 { // threads that come up meanwhile have those of who started them
		for _, tid := range tids(cmd.Process.Pid) {
			if err := threads.Place(tid, one); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return cmd.Process
}

// narrow are a process's threads that may not go everywhere.
func narrow(t *testing.T, pid int) (n int) {
	t.Helper()
	all, _, err := threads.CPUs()
	if err != nil {
		t.Fatal(err)
	}
	for _, tid := range tids(pid) {
		var now unix.CPUSet
		if unix.SchedGetaffinity(tid, &now) == nil && now != all {
			n++
		}
	}
	return n
}

// Two that wait for each other on one CPU are parted: one goes to another, and may
// then be anywhere. Who waits for nobody is left alone.
func TestPaper64_LatencyCriticalProcsDoNotWaitForEachOther(t *testing.T) {
	_, cpus, err := threads.CPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) < 2 {
		t.Skip("needs two CPUs")
	}
	s := slots{pinned(t, cpus[0]), pinned(t, cpus[0])}
	k, err := Start(s, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		a, b := narrow(t, s[0].Pid), narrow(t, s[1].Pid)
		if a == 0 || b == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after 30 s both are where they were: %d and %d threads are kept to a CPU", a, b)
		}
	}
}

// What was moved at the last look may go everywhere when the Keeper ends.
func TestCloseLetsGo(t *testing.T) {
	_, cpus, err := threads.CPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) < 2 {
		t.Skip("needs two CPUs")
	}
	s := slots{pinned(t, cpus[0])}
	k, err := Start(slots{}, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	k.stop()
	k.wg.Wait()
	k.groups, k.moved = s, map[slot]bool{{"r", "0"}: true}
	k.Close()
	if n := narrow(t, s[0].Pid); n != 0 {
		t.Errorf("%d threads are still kept to a CPU", n)
	}
}
