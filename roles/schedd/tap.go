package schedd

import (
	"fmt"
	"sync"

	"sigmaos/api"
	"sigmaos/runtime/logs"
)

// tap takes the output of a guest to its home, whose log it is in. What is on the
// way is bounded: where the home is slower than the proc, the newest tapKeep bytes
// wait and the rest is lost, which the log says.
type tap struct {
	s  *Schedd
	id api.ProcID

	sending sync.Mutex // one flush at a time, so that pieces keep their order

	mu     sync.Mutex
	wait   []piece
	bytes  int   // in wait
	lost   int64 // bytes, since the last piece that was sent
	flying int   // bytes that the home has not acknowledged
	busy   bool  // a flush is under way
}

type piece struct {
	stream int
	data   []byte
}

const (
	tapKeep   = 64 << 10
	tapFlying = 256 << 10
)

// sink is the log that a guest's slot writes to.
func (t *tap) sink() *logs.Log { return logs.NewSink(t.write) }

func (t *tap) write(stream int, p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if n := len(t.wait); n > 0 && t.wait[n-1].stream == stream && len(t.wait[n-1].data)+len(p) <= tapKeep/4 {
		t.wait[n-1].data = append(t.wait[n-1].data, p...)
	} else {
		t.wait = append(t.wait, piece{stream, append([]byte(nil), p...)})
	}
	t.bytes += len(p)
	for t.bytes > tapKeep && len(t.wait) > 1 {
		n := len(t.wait[0].data)
		t.wait = t.wait[1:]
		t.bytes -= n
		t.lost += int64(n)
	}
	t.goLocked()
}

// goLocked has what waits sent. Whoever writes holds the lock of a pump and must not
// do it himself.
func (t *tap) goLocked() {
	if t.busy || len(t.wait) == 0 || t.flying >= tapFlying {
		return
	}
	t.busy = true
	t.s.wg.Add(1)
	go func() {
		defer t.s.wg.Done()
		t.flush(false)
	}()
}

// kept tells that the home has so many bytes more.
func (t *tap) kept(n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.flying = max(0, t.flying-n)
	t.goLocked()
}

// flush sends what waits; at the end of the proc, all of it.
func (t *tap) flush(all bool) {
	t.sending.Lock()
	defer t.sending.Unlock()
	for {
		t.mu.Lock()
		if len(t.wait) == 0 || !all && t.flying >= tapFlying {
			t.busy = false
			t.mu.Unlock()
			return
		}
		send, lost := t.wait, t.lost
		t.wait, t.lost = nil, 0
		t.flying += t.bytes
		t.bytes = 0
		t.mu.Unlock()
		if lost > 0 {
			t.s.place.Wrote(t.id, 2, fmt.Appendf(nil, "[%d bytes of output came faster than they could be passed on from node %s]\n", lost, t.s.cfg.Info.Node))
		}
		for _, p := range send {
			t.s.place.Wrote(t.id, p.stream, p.data)
		}
	}
}
