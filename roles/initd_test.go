package roles

import (
	"context"
	"testing"
	"time"

	"sigmaos/api"
)

// A registration waits for the node to be part of the system's boot, but not for
// ever.
func TestInitAwaitsTheBoot(t *testing.T) {
	i := &initState{part: make(chan struct{})}
	if _, err := i.await(t.Context(), time.Millisecond); api.KindOf(err) != api.Unavailable {
		t.Errorf("without a boot: %v", err)
	}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := i.await(ended, time.Hour); api.KindOf(err) != api.Canceled {
		t.Errorf("of a caller that has gone: %v", err)
	}
	got := make(chan int64)
	go func() {
		boot, err := i.await(t.Context(), time.Hour)
		if err != nil {
			t.Error(err)
		}
		got <- boot
	}()
	i.boot.Store(7)
	close(i.part)
	if boot := <-got; boot != 7 {
		t.Errorf("the boot is %d, want 7", boot)
	}
}
