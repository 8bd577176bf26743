package trial

import (
	"slices"
	"sync"
	"time"
)

// Calls says how long net/talk's calls took. One is under way at a time to a node,
// and what is sent meanwhile goes with the next one: so that is how long a batch
// waits, at most.
type Calls struct {
	N   int   `json:"n"`
	P50 int64 `json:"p50_ns"`
	P99 int64 `json:"p99_ns"`
	Max int64 `json:"max_ns"`
}

type calls struct {
	mu   sync.Mutex
	took []time.Duration
}

// begin notes the beginning of a call, and what it returns the end.
func (c *calls) begin() (end func()) {
	at := time.Now()
	return func() {
		d := time.Since(at)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.took = append(c.took, d)
	}
}

// take forgets what was noted, and says what it was.
func (c *calls) take() (all Calls) {
	c.mu.Lock()
	defer c.mu.Unlock()
	slices.Sort(c.took)
	if n := len(c.took); n > 0 {
		all = Calls{N: n, P50: int64(c.took[n/2]), P99: int64(c.took[min(n-1, n*99/100)]), Max: int64(c.took[n-1])}
	}
	c.took = nil
	return all
}
