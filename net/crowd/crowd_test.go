package crowd

import (
	"sync"
	"testing"
)

func TestCrowd(t *testing.T) {
	c := New(3, 2)
	for i, tt := range []struct {
		kind string
		want bool
	}{{"a", true}, {"a", true}, {"a", false}, {"b", true}, {"b", false}} {
		if got := c.Enter(tt.kind); got != tt.want {
			t.Errorf("step %d: Enter(%q) is %v", i, tt.kind, got)
		}
	}
	c.Leave("a")
	if !c.Enter("b") {
		t.Error("a place that was given back is not there")
	}
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 1000 {
				if c.Enter("x") {
					c.Leave("x")
				}
			}
		})
	}
	wg.Wait()
	if c.Count() != 3 || c.of["x"] != 0 {
		t.Errorf("%d are counted, %v", c.n, c.of)
	}
}
