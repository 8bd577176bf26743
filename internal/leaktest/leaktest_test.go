package leaktest

import (
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

// Who ends late is awaited, for longer than goleak does.
func TestLateEndsAreNoLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	end := make(chan struct{})
	go func() { <-end }()
	if err := goleak.Find(before); err == nil {
		t.Error("a goroutine that waits is not found")
	}
	time.AfterFunc(2*time.Second, func() { close(end) })
	None(t, before)
}

// After Settle the collector closes nothing any more of what was forgotten before, and
// the first pipe or socket takes no more than its own descriptors.
func TestSettleClosesWhatWasForgotten(t *testing.T) {
	count := func() int {
		list, err := os.ReadDir("/proc/self/fd")
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	Settle()
	before := count()
	if _, _, err := os.Pipe(); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != before+2 {
		t.Errorf("a pipe has %d descriptors", n-before)
	}
	Settle()
	if n := count(); n != before {
		t.Errorf("of a pipe that was forgotten %d descriptors are left", n-before)
	}
}
