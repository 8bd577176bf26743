package dialproxy

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// Dials that are the first to a node ask for its key at once; each must count on
// where the others are.
func TestFirstDialsAtOnce(t *testing.T) {
	for round := range 10 {
		c := newCluster(t, 2, Limits{})
		server := caller("r1", "server")
		ep, err := c.nodes[1].NewEndpoint(server)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				d, err := c.nodes[2].Dial(ctx, caller("r1", "client"), api.Target{Endpoint: ep})
				if err != nil {
					t.Errorf("round %d: dial: %v", round, err)
					return
				}
				unix.Close(d.FD)
			})
		}
		wg.Wait()
	}
}

// An answer that says "stale key" is not signed. Whoever sends one costs a
// question for the key, not the count.
func TestCountGoesOnWithTheSameKey(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	server := caller("r1", "server")
	ep, err := c.nodes[1].NewEndpoint(server)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		d, err := c.nodes[2].Dial(ctx, caller("r1", "client"), api.Target{Endpoint: ep})
		if err != nil {
			t.Fatalf("dial %d: %v", i, err)
		}
		unix.Close(d.FD)
		c.nodes[2].keys.out[1].stale.Store(true)
	}
}
