package slot

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"
)

// heir starts a process that has the pid of one that has ended, as happens by
// itself once the machine's pids have gone round.
func heir(t *testing.T, pid int) *exec.Cmd {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(fmt.Sprint(pid-1)), 0); err != nil {
			t.Skipf("pids cannot be chosen here: %v", err)
		}
		cmd := exec.Command("sleep", "60")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if cmd.Process.Pid == pid {
			t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
			return cmd
		}
		cmd.Process.Kill() // somebody else was quicker
		cmd.Wait()
	}
	t.Skipf("pid %d was not to be had", pid)
	return nil
}

func lives(t *testing.T, what string, cmd *exec.Cmd) {
	t.Helper()
	if pid, err := syscall.Wait4(cmd.Process.Pid, nil, syscall.WNOHANG, nil); pid != 0 || err != nil {
		t.Errorf("%s: the process that has the pid now was ended (%d %v)", what, pid, err)
	}
}

// What is meant for a proc, or a slot, that has ended hits nobody, though its pid
// on the machine belongs to another process by then.
func TestFAULTS_F30_PidsAreUsedAgain(t *testing.T) {
	e := newEnv(t, landlock())
	s := e.make(testRealm)
	end := e.start(s, "sleep")
	e.running(s)
	pids, err := s.Procs()
	if err != nil || len(pids) != 2 {
		t.Fatalf("in the slot are %v %v", pids, err)
	}
	init, proc := s.InitPid(), pids[0]+pids[1]-s.InitPid()
	seq := s.Seq()
	if err := s.Signal(seq, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	e.await(end)
	victim := heir(t, proc)
	for range 50 {
		if err := s.Signal(seq, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	if _, got := e.output(s, "exit", "3"); got.Status.ExitStatus() != 3 { // all of that was read
		t.Errorf("the next proc of the slot: %+v", got)
	}
	lives(t, "a late kill of a proc", victim)

	// PID 1 is killed by somebody, and its pid is another's when the slot ends.
	syscall.Kill(init, syscall.SIGKILL)
	select {
	case <-s.Gone():
	case <-time.After(10 * time.Second):
		t.Fatal("the slot does not go")
	}
	victim = heir(t, init)
	s.Close()
	s.Signal(seq, syscall.SIGKILL)
	s.Signal(seq+1, syscall.SIGKILL)
	time.Sleep(50 * time.Millisecond)
	lives(t, "the end of a slot", victim)
}
