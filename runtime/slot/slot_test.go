package slot

import (
	"maps"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/leaktest"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/lsm"
	"sigmaos/runtime/seccomp"
)

// One slot, one proc after another: each has its own status, output, stamps.
func TestProcsFollowEachOtherInASlot(t *testing.T) {
	e := newEnv(t, landlock())
	s := e.make(testRealm)
	var last int64
	for i, want := range []struct {
		args   []string
		status int
		text   string
	}{
		{[]string{"print", "2", "3"}, 0, "xxx\nxxx\n"}, {[]string{"exit", "7"}, 7, ""}, {[]string{"print", "1", "1"}, 0, "x\n"}, {[]string{"nonsense"}, 1, "testproc: no behaviour \"nonsense\"\n"},
	} {
		out, got := e.output(s, want.args...)
		if got.Err() != nil || got.Died || got.OOM || !got.Status.Exited() || got.Status.ExitStatus() != want.status || out != want.text {
			t.Errorf("proc %d, %q: %+v, output %q; want status %d, %q", i, want.args, got, out, want.status, want.text)
		}
		if got.Taken <= last || got.Exec < got.Taken || got.RSS == 0 {
			t.Errorf("proc %d: stamps %d, %d after %d, peak %d", i, got.Taken, got.Exec, last, got.RSS)
		}
		last = got.Exec
	}
	if !s.usable() {
		t.Error("after that the slot is not usable")
	}
}

// PROBES N37, without a node: whatever layers there are, all are on when the
// program begins; and each holds without the other.
func TestPROBES_N37_EachLayerHoldsByItself(t *testing.T) {
	for name, layers := range map[string]lsm.Layers{"with Landlock": landlock(), "without Landlock": {}} {
		t.Run(name, func(t *testing.T) {
			e := newEnv(t, layers)
			out, got := e.output(e.make(testRealm), "look")
			if !got.Status.Exited() {
				t.Fatalf("%+v", got)
			}
			for _, want := range []string{
				"dir / dev etc mnt proc <nil>\n", "dir /dev null urandom zero <nil>\n", "Seccomp:\t2\n", "NoNewPrivs:\t1\n", "CapEff:\t0000000000000000\n", "CapBnd:\t0000000000000000\n",
			} {
				if !strings.Contains(out, want) {
					t.Errorf("it does not see %q in\n%s", want, out)
				}
			}
			if strings.Contains(out, "write <nil>") || strings.Contains(out, "Uid:\t0") {
				t.Errorf("it could write, or is root:\n%s", out)
			}
		})
	}
}

func TestSignalReachesTheProcItIsFor(t *testing.T) {
	e := newEnv(t, landlock())
	s := e.make(testRealm)
	end := e.start(s, "sleep")
	e.running(s)
	first := s.Seq()
	if err := s.Signal(first, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if got := e.await(end); !got.Status.Signaled() || got.Status.Signal() != syscall.SIGTERM {
		t.Errorf("%v", got.Status)
	}
	// FAULTS F30: one for a proc that has ended hits nobody, whatever has its pid
	// now.
	end = e.start(s, "sleep")
	e.running(s)
	for range 50 {
		if err := s.Signal(first, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
	}
	select {
	case got := <-end:
		t.Errorf("a signal for the last proc ended this one: %+v", got)
	case <-time.After(100 * time.Millisecond):
	}
	// One that comes before the child has read its message is not lost.
	s.Signal(s.Seq(), syscall.SIGKILL)
	e.await(end)
	for range 20 {
		end := e.start(s, "sleep")
		if err := s.Signal(s.Seq(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		got := e.await(end)
		if got.Taken != 0 && got.Exec != 0 && !got.Status.Signaled() {
			t.Errorf("killed at once: %+v", got)
		}
	}
}

func TestWhatCannotStartHasAReason(t *testing.T) {
	e := newEnv(t, landlock())
	s := e.make(testRealm)
	for name, tt := range map[string]struct {
		change func(*Spec)
		stage  uint32
		errno  syscall.Errno
	}{
		"no such program":  {func(s *Spec) { s.Program = "s1-" + strings.Repeat("0", 64) }, StageOpen, syscall.ENOENT},
		"a folder":         {func(s *Spec) { s.Program = "." }, StageExec, syscall.EACCES},
		"up":               {func(s *Spec) { s.Program = "../../etc/passwd" }, StageExec, syscall.EACCES},
		"too many strings": {func(s *Spec) { s.Args = slices.Repeat([]string{""}, 40_000) }, 34, 0},
	} {
		spec, _ := e.spec()
		tt.change(&spec)
		end := make(chan End, 1)
		if err := s.Start(spec, func(e End) { end <- e }); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got := e.await(end); got.Stage != tt.stage || tt.errno != 0 && got.Errno != tt.errno || got.Err() == nil {
			t.Errorf("%s: stage %d, %v; want %d, %v", name, got.Stage, got.Errno, tt.stage, tt.errno)
		}
	}
	if out, got := e.output(s, "print", "1", "1"); out != "x\n" {
		t.Errorf("after that: %q %+v", out, got)
	}
}

// Another realm's folder is not there.
func TestSlotSeesItsRealmAlone(t *testing.T) {
	e := newEnv(t, landlock())
	if err := os.Remove(e.store.Path("realm-b", "") + "/" + e.digest + ".tree"); err != nil {
		t.Fatal(err)
	}
	spec, _ := e.spec("exit", "0")
	end := make(chan End, 1)
	if err := e.make("realm-b").Start(spec, func(e End) { end <- e }); err != nil {
		t.Fatal(err)
	}
	if got := e.await(end); got.Stage != StageOpen || got.Errno != syscall.ENOENT {
		t.Errorf("a program of another realm: %+v", got)
	}
}

// The end of PID 1, of the slot, and of sigmad's socket are one thing: the proc
// goes, its end is told once, and everything is given back.
func TestEndOfASlotEndsItsProc(t *testing.T) {
	e := newEnv(t, landlock())
	for name, end := range map[string]func(*Slot){
		"closed":       (*Slot).Close,
		"PID 1 killed": func(s *Slot) { syscall.Kill(s.InitPid(), syscall.SIGKILL) },
	} {
		s, err := e.maker.Make(e.holder, testRealm, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		ended := e.start(s, "sleep")
		e.running(s)
		pids, err := s.Procs()
		if err != nil || len(pids) < 2 {
			t.Fatalf("in the slot are %v %v", pids, err)
		}
		end(s)
		if got := e.await(ended); !got.Died {
			t.Errorf("%s: %+v", name, got)
		}
		select {
		case <-s.Gone():
		case <-time.After(5 * time.Second):
			t.Fatalf("%s: the slot is not gone", name)
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, 0); err == nil {
				t.Errorf("%s: process %d is there", name, pid)
			}
		}
		if s.usable() {
			t.Errorf("%s: it passes for usable", name)
		}
		spec, _ := e.spec()
		if err := s.Start(spec, func(End) {}); err == nil {
			t.Errorf("%s: it takes a start", name)
		}
	}
	if n := len(e.maker.uids); n != 64 {
		t.Errorf("%d of 64 uids are free", n)
	}
}

// Refused calls are counted by number, and too many end the slot's use.
func TestDeniedCallsAreCounted(t *testing.T) {
	e := newEnv(t, landlock())
	s := e.make(testRealm)
	_, got := e.output(s, "denied", "3")
	want := map[string]int{"socket": 3, "mkdirat": 3}
	named := make(map[string]int)
	for nr, n := range got.Denied {
		named[seccomp.Name("amd64", nr)] = n
	}
	for name, n := range want {
		if named[name] != n {
			t.Errorf("%s was counted %d times, want %d (all: %v)", name, named[name], n, named)
		}
	}
	if !s.usable() {
		t.Error("a few refused calls end a slot")
	}
	if _, got := e.output(s, "exit", "0"); len(got.Denied) != 0 && !maps.Equal(got.Denied, map[int]int{}) {
		t.Errorf("the next proc is told of %v", got.Denied)
	}
	e.output(s, "denied", "40")
	if s.usable() {
		t.Error("80 refused calls do not")
	}
}

// Descriptors of sigmad: none is left by slots that came and went.
func TestSlotsLeaveNoDescriptors(t *testing.T) {
	e := newEnv(t, landlock())
	count := func() int {
		l, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(l)
	}
	run := func() {
		s, err := e.maker.Make(e.holder, testRealm, 0, 64)
		if err != nil {
			t.Fatal(err)
		}
		spec, _ := e.spec("exit", "0")
		end := make(chan End, 1)
		if err := s.Start(spec, func(e End) { end <- e }); err != nil {
			t.Fatal(err)
		}
		e.await(end)
		s.Close()
		<-s.Gone()
	}
	run()
	leaktest.Settle()
	before := count()
	for range 10 {
		run()
	}
	if after := count() - 10; after > before { // the tests' own ends of ten channels
		t.Errorf("%d descriptors, before %d", after, before)
	}
}

func TestEmptyNetworkNamespaceShowsNothing(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	n, err := enterNowhere()
	if err != nil {
		t.Fatal(err)
	}
	defer n.close()
	ours, err := os.Readlink("/proc/self/ns/net")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	n.jobs <- func() {
		defer close(done)
		if theirs, err := os.Readlink("/proc/thread-self/ns/net"); err != nil || theirs == ours {
			t.Errorf("the thread is in %s %v, we in %s", theirs, err, ours)
		}
		list, err := os.ReadDir("/proc/thread-self/net")
		if err != nil || len(list) == 0 {
			t.Errorf("%v %v", list, err)
		}
		for _, e := range list {
			if i, err := e.Info(); err == nil && i.Mode().Perm() != 0 {
				t.Errorf("%s has mode %v", e.Name(), i.Mode())
			}
		}
	}
	<-done
	if st, err := os.Stat("/proc/self/net/tcp"); err != nil || st.Mode().Perm()&unix.S_IRUSR == 0 {
		t.Errorf("our own namespace was changed: %v %v", st, err)
	}
}

// Latency-critical procs ask for short slices, so that they need not wait for those of
// others; best-effort procs have what the kernel gives everybody.
func TestPaper64_LatencyCriticalProcsHaveShortSlices(t *testing.T) {
	e := newEnv(t, landlock())
	own, err := unix.SchedGetAttr(os.Getpid(), 0)
	if err != nil {
		t.Fatal(err)
	}
	if own.Runtime == 0 {
		t.Skip("this kernel has no slices (Linux 6.12)")
	}
	for class, want := range map[cgroup.Class]time.Duration{cgroup.LC: Slice, cgroup.BE: time.Duration(own.Runtime)} {
		s, err := e.maker.Make(e.holder, testRealm, class, 64)
		if err != nil {
			t.Fatal(err)
		}
		end := e.start(s, "sleep")
		e.running(s)
		pids, err := s.group.Procs()
		if err != nil || len(pids) < 2 {
			t.Fatalf("processes %v, %v; want PID 1 and the proc", pids, err)
		}
		for _, pid := range pids {
			attr, err := unix.SchedGetAttr(pid, 0)
			if err != nil {
				t.Fatal(err)
			}
			if got := time.Duration(attr.Runtime); got != want {
				t.Errorf("class %v: process %d has slices of %v, want %v", class, pid, got, want)
			}
		}
		s.Close()
		e.await(end)
		<-s.Gone()
	}
}
