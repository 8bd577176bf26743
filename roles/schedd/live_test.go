package schedd

import (
	"testing"

	"sigmaos/api"
)

// A proc is found as long as it has not ended for its home or is on this machine.
func TestLiveUntilEndedAndGone(t *testing.T) {
	for _, c := range []struct {
		name string
		p    proc
		left bool
	}{
		{"runs here", proc{state: api.Running, node: 1}, true},
		{"ended for its home, still here", proc{state: api.Lost, node: 1}, true},
		{"gone from here, its home not told", proc{state: api.Running, node: 1, gone: true}, true},
		{"both", proc{state: api.Exited, node: 1, gone: true}, false},
		{"ended elsewhere", proc{state: api.Exited, node: 2}, false},
		{"ended in the queue", proc{state: api.Killed}, false},
		{"a guest that is gone", proc{state: api.Exited, guest: true, gone: true}, false},
	} {
		s := &Schedd{cfg: Config{NodeNum: 1}, live: map[api.ProcID]*proc{"x": &c.p}}
		c.p.id = "x"
		s.overLocked(&c.p)
		if _, left := s.live["x"]; left != c.left {
			t.Errorf("%s: still found: %v, want %v", c.name, left, c.left)
		}
	}
}
