package leaktest

import (
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { Main(m) }

// Who ends late is awaited, for longer than goleak does.
func TestLateEndsAreNoLeaks(t *testing.T) {
	before := goleak.IgnoreCurrent()
	go time.Sleep(2 * time.Second)
	if err := goleak.Find(before); err == nil {
		t.Error("a goroutine that sleeps for 2 s is not found")
	}
	None(t, before)
}
