package bench

import (
	"net"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/threads"
)

// A socket of this process is found in its tables, by kind.
func TestSocketsAreFound(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	own, err := sockets(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	tcp, err := socketTable(os.Getpid(), "tcp")
	if err != nil {
		t.Fatal(err)
	}
	pipes, err := socketTable(os.Getpid(), "unix")
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for _, inode := range own {
		if tcp[inode] {
			found++
		}
	}
	if found != 1 || !pipes[own[pair[0]]] || !pipes[own[pair[1]]] || tcp[own[pair[0]]] {
		t.Errorf("of %v, %d are TCP (want 1); the pair is in the table of Unix sockets: %v, %v", own, found, pipes[own[pair[0]]], pipes[own[pair[1]]])
	}
}

// A watch says so where a connection is not what it should be, or where sigmad
// has it too: here this process is both.
func TestWatchSeesWhatIsWrong(t *testing.T) {
	pid := os.Getpid()
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(pair[0])
	defer unix.Close(pair[1])
	for _, table := range []string{"tcp", "unix"} {
		w, err := newWatch(table, pid, pid)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.look(&session{server: pid, client: pid}); err != nil {
			t.Fatal(err)
		}
		if n := len(w.sigmads()); n != 1 {
			t.Errorf("one sigmad is counted %d times", n)
		}
		checks, err := w.checks("row", 1)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range checks {
			if c.OK {
				t.Errorf("%s: a connection that this process holds itself passes: %s", table, c.Text)
			}
		}
	}
}

func TestPinReachesAllThreads(t *testing.T) {
	where, err := places()
	if err != nil {
		t.Fatal(err)
	}
	if n := where[0].cpus(); n != 1 {
		t.Errorf("the first place has %d CPUs, want 1", n)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestManyThreads$")
	cmd.Env = append(os.Environ(), "BENCH_THREADS=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Wait() }()
	if _, err := out.Read(make([]byte, 64)); err != nil {
		t.Fatal(err)
	}
	last := where[len(where)-1]
	if err := pin(cmd.Process.Pid, last.client); err != nil {
		t.Fatal(err)
	}
	tids := threads.List(cmd.Process.Pid)
	if len(tids) < 4 {
		t.Fatalf("%d threads; the test needs some", len(tids))
	}
	for _, tid := range tids {
		var set unix.CPUSet
		if err := unix.SchedGetaffinity(tid, &set); err != nil || set.Count() != 1 || !set.IsSet(last.client[0]) {
			t.Errorf("after pin to %v thread %d may use %d CPUs, %v", last.client, tid, set.Count(), err)
		}
	}
	if err := pin(cmd.Process.Pid, nil); err != nil {
		t.Errorf("pin to anywhere = %v", err)
	}
	if err := pin(1<<30, []int{0}); err == nil {
		t.Error("pin of no process = nil")
	}
	if got := strings.Join(plan{3, 5, 7}.args(last.client), " "); !strings.HasPrefix(got, "3 5 7 ") || strings.HasSuffix(got, "-") {
		t.Errorf("the client is told %q", got)
	}
}

// TestManyThreads is a process for the test above.
func TestManyThreads(t *testing.T) {
	if os.Getenv("BENCH_THREADS") == "" {
		t.Skip("only in a process of its own")
	}
	var up sync.WaitGroup
	up.Add(4)
	for range 4 {
		go func() { runtime.LockOSThread(); up.Done(); select {} }()
	}
	up.Wait()
	os.Stdout.WriteString("here\n")
	os.Stdin.Read(make([]byte, 1))
}
