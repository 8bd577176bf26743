package test

import (
	"fmt"
	"os"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/runtime/threads"
)

// While best-effort procs use the machine, a latency-critical proc runs before everything
// else, as long as it keeps to what it has reserved.
func TestPaper64_LatencyCriticalProcsAreRealtimeWithinTheirReservation(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	started := 0
	spawn := func(d api.ProcDesc, args ...string) (api.ProcID, int) {
		t.Helper()
		started++
		mark := fmt.Sprintf("MARK=realtime-%d-%d", os.Getpid(), started)
		d.Program, d.Args, d.Env, d.Memory = n.program("testproc"), args, []string{mark}, 16<<20
		id, err := c.Spawn(minute(t), &d)
		if err != nil {
			t.Fatal(err)
		}
		var pid int
		eventually(t, patience, "runs", func() (bool, string) {
			pids := marked(mark)
			if len(pids) == 1 {
				pid = pids[0]
			}
			return pid > 0, fmt.Sprint(pids)
		})
		return id, pid
	}
	end := func(id api.ProcID) {
		t.Helper()
		if err := c.Kill(minute(t), id, 0); err != nil {
			t.Fatal(err)
		}
		n.Await(c, id)
	}
	quiet, pid := spawn(api.ProcDesc{Class: api.LC, MCPU: 500}, "sleep")
	time.Sleep(500 * time.Millisecond) // some looks
	if r, _ := realtime(pid); r != 0 {
		t.Errorf("%d threads are real-time without best-effort procs", r)
	}
	var burners []api.ProcID
	var burning []int
	for range 2 {
		id, pid := spawn(api.ProcDesc{}, "burn", "600000")
		burners, burning = append(burners, id), append(burning, pid)
	}
	eventually(t, patience, "latency-critical threads are real-time", func() (bool, string) {
		r, o := realtime(pid)
		return r > 0 && o == 0, fmt.Sprintf("%d are, %d are not", r, o)
	})
	if r, _ := realtime(n.PID()); r == 0 {
		t.Error("the thread of sigmad that looks after it is not real-time")
	}
	for _, pid := range burning {
		if r, o := realtime(pid); r != 0 || o == 0 {
			t.Errorf("%d threads of a best-effort proc are real-time, %d are not", r, o)
		}
	}
	greedy, spins := spawn(api.ProcDesc{Class: api.LC, MCPU: 100}, "burn", "600000")
	if err := syscall.Kill(spins, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "real-time while it uses nothing", func() (bool, string) {
		r, o := realtime(spins)
		return r > 0 && o == 0, fmt.Sprintf("%d are real-time, %d are not", r, o)
	})
	if err := syscall.Kill(spins, syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	eventually(t, time.Minute, "ordinary when it uses more than it has reserved", func() (bool, string) {
		r, o := realtime(spins)
		return r == 0 && o > 0, fmt.Sprintf("%d are real-time, %d are not", r, o)
	})
	if out, errs, code := n.Ctl("ps"); code != 0 {
		t.Errorf("ps beside it: %s%s", out, errs)
	}
	end(greedy)
	for _, id := range burners {
		end(id)
	}
	eventually(t, time.Minute, "ordinary again", func() (bool, string) {
		r, o := realtime(pid)
		s, _ := realtime(n.PID())
		return r == 0 && o > 0 && s == 0, fmt.Sprintf("%d of the proc and %d of sigmad are not", r, s)
	})
	end(quiet)
}

// realtime counts the threads of a process that are of the real-time class, and others.
func realtime(pid int) (yes, no int) {
	for _, tid := range threads.List(pid) {
		switch p, ok := threads.Policy(tid); {
		case ok && p == unix.SCHED_RR:
			yes++
		case ok:
			no++
		}
	}
	return yes, no
}
