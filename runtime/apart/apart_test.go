package apart

import (
	"errors"
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
		fn("r", strconv.Itoa(i), threads.List(p.Pid))
	}
	return nil
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
		for _, tid := range threads.List(cmd.Process.Pid) {
			if err := threads.Place(tid, one); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(5 * time.Millisecond)
	}
	return cmd.Process
}

// on counts a process's threads that may use this CPU and no other.
func on(pid, cpu int) (n int) {
	var one unix.CPUSet
	one.Set(cpu)
	for _, tid := range threads.List(pid) {
		var now unix.CPUSet
		if unix.SchedGetaffinity(tid, &now) == nil && now == one {
			n++
		}
	}
	return n
}

// two starts processes that wait for each other on the first of two CPUs, and a Keeper
// for which that one is all that a thread may use: what it does with them stays to be
// seen, whatever the kernel thinks.
func two(t *testing.T) (k *Keeper, s slots, cpus []int) {
	t.Helper()
	_, cpus, err := threads.CPUs()
	if err != nil {
		t.Fatal(err)
	}
	if len(cpus) < 2 {
		t.Skip("needs two CPUs")
	}
	cpus = cpus[:2]
	s = slots{pinned(t, cpus[0]), pinned(t, cpus[0])}
	var all unix.CPUSet
	all.Set(cpus[0])
	k = keeper(s, slog.New(slog.NewTextHandler(t.Output(), nil)), all, cpus)
	return k, s, cpus
}

// sent looks until a thread of one of the two was sent to the other CPU, and says of
// which. Their run-times have threads that wait, too.
func sent(t *testing.T, k *Keeper, s slots, cpu int) int {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err := k.look(time.Now()); err != nil {
			t.Fatal(err)
		}
		a, b := on(s[0].Pid, cpu), on(s[1].Pid, cpu)
		switch {
		case a > 0:
			return 0
		case b > 0:
			return 1
		}
		if time.Now().After(end) {
			t.Fatal("after 30 s both are where they were")
		}
	}
}

// Two that wait for each other on one CPU are parted: one runs on another, and may
// then be where it could be before.
func TestPaper64_LatencyCriticalProcsDoNotWaitForEachOther(t *testing.T) {
	k, s, cpus := two(t)
	who := sent(t, k, s, cpus[1])
	ran := false
	for end := time.Now().Add(30 * time.Second); !ran; time.Sleep(time.Millisecond) {
		for _, tid := range threads.List(s[who].Pid) {
			state, cpu, ok := threads.State(tid)
			ran = ran || ok && state == 'R' && cpu == cpus[1]
		}
		if !ran && time.Now().After(end) {
			t.Fatal("it does not run where it was sent")
		}
	}
	k.owed = time.Hour // no more moves
	if _, err := k.look(time.Now()); err != nil {
		t.Fatal(err)
	}
	if n := on(s[who].Pid, cpus[1]); n != 0 {
		t.Errorf("%d threads are still kept to the CPU", n)
	}
	if k.look(time.Now()); len(k.marks) != 0 {
		t.Errorf("the slots %v are still marked", k.marks)
	}
}

// late lists threads, and has one of them start another before it tells.
type late struct {
	slots
	tell func()
}

func (l late) LCThreads(fn func(realm, slot string, tids []int)) error {
	return l.slots.LCThreads(func(realm, slot string, tids []int) {
		l.tell()
		fn(realm, slot, tids)
	})
}

// A thread that one starts which was sent to a CPU is let go, even if it comes up while
// that one is; and so is what a look missed because it failed.
func TestAllAreLetGo(t *testing.T) {
	k, s, cpus := two(t)
	var one unix.CPUSet
	one.Set(cpus[1])
	k.owed = time.Hour
	place := func(tid int) {
		t.Helper()
		if err := threads.Place(tid, one); err != nil {
			t.Fatal(err)
		}
	}
	main, other := threads.List(s[0].Pid)[0], threads.List(s[0].Pid)[1]
	place(main)
	k.marks[slot{"r", "0"}] = one
	k.groups = failing{}
	if _, err := k.look(time.Now()); err == nil {
		t.Fatal("a listing that fails is no error")
	}
	k.groups = late{s, func() { place(main) }}
	k.look(time.Now())
	place(other) // it came up behind the listing
	for range 2 {
		k.groups = s
		if _, err := k.look(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if n := on(s[0].Pid, cpus[1]); n != 0 || len(k.marks) != 0 {
		t.Errorf("%d threads are kept to the CPU, slots %v are marked", n, k.marks)
	}
}

type failing struct{}

func (failing) LCThreads(func(realm, slot string, tids []int)) error {
	return errors.New("no descriptors")
}

// Whom somebody else keeps to a CPU, an operator's taskset, is left there.
func TestOthersAffinityStays(t *testing.T) {
	k, s, cpus := two(t)
	k.all.Set(cpus[1]) // so that theirs is another's doing
	for range 10 {
		time.Sleep(20 * time.Millisecond)
		if _, err := k.look(time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range s {
		if n, all := on(p.Pid, cpus[0]), len(threads.List(p.Pid)); n != all {
			t.Errorf("%d of %d threads are where they were kept", n, all)
		}
	}
}

// A thread that waits no less where it was sent stays where the kernel puts it.
func TestMovesInVainEnd(t *testing.T) {
	k, s, cpus := two(t)
	third := pinned(t, cpus[1]) // not ours: the Keeper does not see it
	defer third.Kill()
	who := sent(t, k, s, cpus[1])
	for alone, end := false, time.Now().Add(30*time.Second); !alone; time.Sleep(50 * time.Millisecond) {
		if _, err := k.look(time.Now()); err != nil {
			t.Fatal(err)
		}
		for _, tid := range threads.List(s[who].Pid) {
			alone = alone || !k.last[tid].alone.IsZero()
		}
		if !alone && time.Now().After(end) {
			t.Fatal("it is sent again and again")
		}
	}
}

// What was moved at the last look may go everywhere when the Keeper ends.
func TestCloseLetsGo(t *testing.T) {
	k, s, cpus := two(t)
	who := sent(t, k, s, cpus[1])
	k.stop = func() {}
	k.Close()
	if n := on(s[who].Pid, cpus[1]); n != 0 {
		t.Errorf("%d threads are still kept to a CPU", n)
	}
}

// Looking takes its part of a CPU and no more, however long it takes; what was moved
// is let go soon all the same, and the rest that is due follows.
func TestPauses(t *testing.T) {
	k := keeper(slots{}, slog.New(slog.DiscardHandler), unix.CPUSet{}, []int{0, 1})
	for _, c := range []struct {
		ran, marked bool
		took, want  time.Duration
	}{
		{false, false, 100 * time.Microsecond, rest},
		{true, false, 100 * time.Microsecond, every},
		{true, false, 5 * ms, 500 * ms},
		{true, true, 5 * ms, every}, // 0.4 s are owed
		{true, false, 5 * ms, 900 * ms},
		{false, false, 20 * ms, 2 * time.Second},
	} {
		clear(k.marks)
		if c.marked {
			k.marks[slot{"r", "0"}] = unix.CPUSet{}
		}
		if got := k.pause(c.ran, c.took); got != c.want {
			t.Errorf("after %+v: %v", c, got)
		}
	}
}
