package rpc

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
)

// link is one connection: what is queued for it, what the other side said about
// itself, and its end. Client and session (a server's side) are built on it.
//
// One goroutine reads. Anybody queues frames, under mu; who writes them is in
// write.go. fail ends a link from anywhere.
type link struct {
	conn     io.ReadWriteCloser
	deadline interface{ SetWriteDeadline(time.Time) error } // nil: conn has none
	opt      Options
	in       reader
	paused   atomic.Bool   // the reading goroutine waits for a write
	wrote    atomic.Uint32 // counts writes
	beat     *time.Timer   // guarded by mu

	mu      sync.Mutex
	out     []byte        // frames that nobody writes yet
	spare   []byte        // an empty buffer to be the next out
	pong    bool          // a pong is due with the next write
	writing bool          // somebody is writing
	armed   time.Time     // when the write deadline was set; belongs to who is writing
	writer  *sync.Cond    // the writing goroutine waits here; nil: there is none yet
	asleep  bool          // it does
	changed chan struct{} // closed when there is room in out again, on greeting and on the end; nil: nobody waits
	other   hello         // zero until greeted
	greeted bool
	err     *api.Error // why the link ended
	wg      sync.WaitGroup
}

func (l *link) init(conn io.ReadWriteCloser, o Options, role uint8) {
	l.conn, l.opt = conn, o.normalize()
	l.deadline, _ = conn.(interface{ SetWriteDeadline(time.Time) error })
	l.in = reader{src: conn, limit: l.opt.MaxFrame}
	l.out = appendHello(nil, hello{
		newest: version, oldest: oldest, role: role,
		maxFrame: l.opt.MaxFrame, window: l.opt.Window, maxCalls: l.opt.MaxCalls,
	})
}

// greet says hello and reads the other side's, within the time for that.
func (l *link) greet(role uint8) error {
	l.mu.Lock()
	l.wakeLocked()
	l.mu.Unlock()
	late := time.AfterFunc(l.opt.Handshake, func() {
		l.fail(api.E(api.Unavailable, "rpc", "", "the other side did not say hello within %v", l.opt.Handshake))
	})
	defer late.Stop()
	h, err := readHello(l.conn, role)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.other, l.greeted = h, true
	l.changedLocked()
	l.startBeatLocked()
	return nil
}

// fail ends the link because of err; only the first call counts.
func (l *link) fail(err *api.Error) {
	l.mu.Lock()
	first := l.err == nil
	if first {
		l.err, l.out, l.spare = err, nil, nil
		l.changedLocked()
		l.wakeLocked()
		if l.beat != nil {
			l.beat.Stop()
		}
	}
	l.mu.Unlock()
	if first {
		l.conn.Close()
	}
}

// awaitLocked lets go of mu until something has changed or ctx ends.
func (l *link) awaitLocked(ctx context.Context, op, method string) error {
	if l.changed == nil {
		l.changed = make(chan struct{})
	}
	changed := l.changed
	l.mu.Unlock()
	defer l.mu.Lock()
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ended(ctx, op, method)
	}
}

func (l *link) changedLocked() {
	if l.changed != nil {
		close(l.changed)
		l.changed = nil
	}
}

// roomLocked waits until a frame of size bytes may be queued.
func (l *link) roomLocked(ctx context.Context, op, method string, size int) error {
	for {
		switch {
		case l.err != nil:
			return lost(op, method, l.err)
		case l.greeted && size > l.other.maxFrame:
			return api.E(api.TooLarge, op, method, "%d bytes; the other side takes %d in one frame", size, l.other.maxFrame)
		case len(l.out) < queueSize && (l.greeted || size <= minFrame):
			return nil
		}
		if err := l.awaitLocked(ctx, op, method); err != nil {
			return err
		}
	}
}

// ending turns the error that ended the reading goroutine into what is said of
// it; io.EOF is the clean end.
func ending(err error) *api.Error {
	e, ok := err.(*api.Error)
	switch {
	case ok:
		return e
	case err == io.EOF:
		return api.E(api.Unavailable, "rpc", "", "the other side closed it")
	}
	return api.E(api.Unavailable, "rpc", "", "%v", err)
}
