package threads

import (
	"errors"
	"os"
	"runtime"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// onThread calls fn on a thread of its own, which ends with it.
func onThread(fn func(tid int)) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		fn(unix.Gettid())
	}()
	<-done
}

func TestPlaceAndState(t *testing.T) {
	all, list, err := CPUs()
	if err != nil || len(list) != all.Count() {
		t.Fatalf("CPUs = %v, %v", list, err)
	}
	onThread(func(tid int) {
		for _, cpu := range list[:min(2, len(list))] {
			var one unix.CPUSet
			one.Set(cpu)
			if err := Place(tid, one); err != nil {
				t.Fatal(err)
			}
			if state, at, ok := State(tid); !ok || state != 'R' || at != cpu {
				t.Errorf("State = %q on %d, %v; want it running on %d", state, at, ok, cpu)
			}
		}
	})
	if _, _, ok := State(1 << 30); ok {
		t.Error("a thread that is none has a state")
	}
	if err := Place(1<<30, all); err != nil {
		t.Errorf("a thread that has ended: %v", err)
	}
}

func TestSetSliceKeepsTheRest(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	onThread(func(tid int) {
		before, err := unix.SchedGetAttr(tid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if err := SetSlice(tid, 300*time.Microsecond); err != nil {
			t.Fatal(err)
		}
		after, err := unix.SchedGetAttr(tid, 0)
		if err != nil {
			t.Fatal(err)
		}
		if after.Nice != before.Nice || after.Policy != before.Policy {
			t.Errorf("%+v, before %+v", after, before)
		}
		if before.Runtime != 0 && after.Runtime != 300_000 { // a kernel that has slices
			t.Errorf("slices of %d ns, want 300000", after.Runtime)
		}
	})
	if err := SetSlice(1<<30, time.Millisecond); err != nil {
		t.Errorf("a thread that has ended: %v", err)
	}
}

func TestRealtimeAndBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	refused := false
	onThread(func(tid int) {
		if err := unix.Setpriority(unix.PRIO_PROCESS, tid, -3); err != nil {
			t.Error(err)
			return
		}
		err := Realtime(tid, 1, false)
		if refused = errors.Is(err, unix.EPERM); refused {
			return
		}
		if p, ok := Policy(tid); err != nil || !ok || p != unix.SCHED_RR {
			t.Errorf("%v, policy %d", err, p)
		}
		onThread(func(child int) { // perhaps started by this one, perhaps not
			if p, _ := Policy(child); p != unix.SCHED_NORMAL {
				t.Errorf("another one has policy %d", p)
			}
		})
		if err := Ordinary(tid, 300*time.Microsecond); err != nil {
			t.Error(err)
		}
		a, err := unix.SchedGetAttr(tid, 0)
		if err != nil || a.Policy != unix.SCHED_NORMAL || a.Nice != -3 || a.Runtime != 0 && a.Runtime != 300_000 {
			t.Errorf("%+v %v", a, err)
		}
	})
	if refused {
		t.Skip("the group of this test has no real-time CPU time")
	}
	for _, err := range []error{Realtime(1<<30, 1, true), Ordinary(1<<30, 0)} {
		if err != nil {
			t.Errorf("a thread that has ended: %v", err)
		}
	}
	if _, ok := Policy(1 << 30); ok {
		t.Error("a thread that has ended has a policy")
	}
}
