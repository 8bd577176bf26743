package fusemount

import (
	"context"
	"slices"
	"sync"
	"time"
)

const (
	pieceSize = 1 << 20
	window    = 8                     // pieces of one file on their way
	maxPieces = 64                    // of all files, being filled or on their way
	idle      = 20 * time.Millisecond // until a piece that is not full is sent
)

// pieces are what was written to a file and has not arrived. Its mutex is the
// node's.
type pieces struct {
	list    []*piece // in order
	change  chan struct{}
	arrived uint64 // what server.writes was when the last one arrived
}

// piece is a stretch of a file.
type piece struct {
	h    *handle
	off  int64
	data []byte
	sent bool
	idle *time.Timer
}

var buffers = sync.Pool{New: func() any { b := make([]byte, 0, pieceSize); return &b }}

func (p *piece) end() int64 { return p.off + int64(len(p.data)) }

// changedSince reports whether attributes that were asked for when server.writes
// was since may not know all that was written.
func (n *node) changedSince(since uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.list) > 0 || n.arrived > since
}

// write takes data for h. It returns when there is room; fewer bytes say that the
// rest is to be written through.
func (n *node) write(ctx context.Context, s *server, h *handle, data []byte, off int64) (done int, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for done < len(data) && !h.throughLocked() {
		if err := h.takeErrLocked(); err != nil {
			return done, err
		}
		k, err := n.takeLocked(ctx, s, h, data[done:], off+int64(done))
		if err != nil {
			return done, err
		}
		done += k
	}
	return done, nil
}

// takeLocked takes some of data, or waits and takes nothing.
func (n *node) takeLocked(ctx context.Context, s *server, h *handle, data []byte, off int64) (int, error) {
	if p := n.fillingLocked(); p != nil {
		if k := p.add(h, data, off); k > 0 {
			if len(p.data) == pieceSize {
				n.sendLocked(s, p)
			}
			return k, nil
		}
		n.sendLocked(s, p)
	}
	end := off + int64(len(data))
	over := slices.ContainsFunc(n.list, func(p *piece) bool { return p.off < end && off < p.end() })
	if over || len(n.list) >= window {
		return 0, n.waitLocked(ctx)
	}
	select {
	case s.room <- struct{}{}:
	default:
		return 0, n.roomLocked(ctx, s)
	}
	buf := buffers.Get().(*[]byte)
	p := &piece{h: h, off: off, data: (*buf)[:0]}
	n.list = append(n.list, p)
	p.idle = time.AfterFunc(idle, func() {
		n.mu.Lock()
		defer n.mu.Unlock()
		n.sendLocked(s, p)
	})
	return 0, nil
}

// add puts data where it belongs into p, if it fits; 0: it does not.
func (p *piece) add(h *handle, data []byte, off int64) int {
	if p.h != h || off < p.off || off > p.end() || off-p.off >= pieceSize {
		return 0
	}
	at := int(off - p.off)
	k := min(len(data), pieceSize-at)
	p.data = p.data[:max(len(p.data), at+k)]
	return copy(p.data[at:], data[:k])
}

// fillingLocked is the piece that has not been sent.
func (n *node) fillingLocked() *piece {
	if k := len(n.list); k > 0 && !n.list[k-1].sent {
		return n.list[k-1]
	}
	return nil
}

// sendLocked sends p on its way, once.
func (n *node) sendLocked(s *server, p *piece) {
	if p.sent {
		return
	}
	p.sent = true
	p.idle.Stop()
	s.wg.Go(func() {
		ctx, cancel := context.WithTimeout(s.ctx, long)
		_, err := p.h.file.WriteAt(ctx, p.data, p.off)
		cancel()
		n.mu.Lock()
		defer n.mu.Unlock()
		if err != nil && p.h.err == nil {
			p.h.err = err
		}
		buf := p.data[:0]
		buffers.Put(&buf)
		<-s.room
		n.list = slices.DeleteFunc(n.list, func(q *piece) bool { return q == p })
		n.arrived = s.writes.Add(1)
		n.wakeLocked()
	})
}

// arrived notes a write that went through.
func (s *server) arrived(n *node) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.arrived = s.writes.Add(1)
}

func (n *node) wakeLocked() {
	if n.change != nil {
		close(n.change)
		n.change = nil
	}
}

// waitLocked waits until a piece has arrived, without the lock.
func (n *node) waitLocked(ctx context.Context) error {
	if n.change == nil {
		n.change = make(chan struct{})
	}
	c := n.change
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// roomLocked waits until there is room for one more piece of all files.
func (n *node) roomLocked(ctx context.Context, s *server) error {
	n.mu.Unlock()
	defer n.mu.Lock()
	select {
	case s.room <- struct{}{}:
		<-s.room // it is taken with the lock
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// drain sends what there is and waits until all of that has arrived; what comes
// meanwhile is not waited for.
func (n *node) drain(ctx context.Context, s *server) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p := n.fillingLocked(); p != nil {
		n.sendLocked(s, p)
	}
	mine := slices.Clone(n.list)
	for slices.ContainsFunc(mine, func(p *piece) bool { return slices.Contains(n.list, p) }) {
		if err := n.waitLocked(ctx); err != nil {
			return err
		}
	}
	return nil
}
