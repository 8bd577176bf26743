package sigma

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// writeTime bounds a write on a connection that can be interrupted only once:
// one of a program outside.
const writeTime = 15 * time.Second

// writer sends frames. A caller waits no longer than its ctx, even for a sigmad
// that does not read: what the socket took of its frame cannot be had back, so
// the rest is kept and goes first when there is room again.
type writer struct {
	conn io.ReadWriteCloser
	try  interrupted   // conn, where it can be; nil otherwise
	sem  chan struct{} // has room for one: who may write
	out  []byte        // what is to be sent, of who has sem

	mu   sync.Mutex
	late []byte      // frames that nobody waits for
	left atomic.Bool // there is something in late or, while nobody writes, in out
}

// interrupted is a connection that goes on after a write was cut short.
type interrupted interface {
	TryWrite(p []byte) (int, error)
	SetWriteDeadline(time.Time) error
}

func newWriter(conn io.ReadWriteCloser) *writer {
	w := &writer{conn: conn, sem: make(chan struct{}, 1)}
	w.try, _ = conn.(interrupted)
	return w
}

// write sends one frame. sent says, with an error, that a part of it is under
// way, so that it may be answered all the same.
func (w *writer) write(ctx context.Context, f wire.Frame) (sent bool, err error) {
	if len(f.Payload) > wire.MaxPayload {
		return false, api.E(api.TooLarge, "request", "", "%d bytes; the limit is %d", len(f.Payload), wire.MaxPayload)
	}
	select {
	case w.sem <- struct{}{}:
	case <-ctx.Done():
		return false, ended(ctx)
	}
	defer w.release()
	before := len(w.out)
	w.out = wire.Append(w.out, f)
	size := len(w.out) - before
	err = w.flush(ctx)
	if err == nil || ctx.Err() == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
		return false, gone(err)
	}
	if len(w.out) < size {
		return true, ended(ctx)
	}
	w.out = w.out[:len(w.out)-size] // not a byte of it went
	return false, ended(ctx)
}

// flush writes out until it is empty or ctx ends.
func (w *writer) flush(ctx context.Context) error {
	if w.try == nil {
		return w.plain()
	}
	n, err := w.try.TryWrite(w.out)
	if w.drop(n); err != nil || len(w.out) == 0 {
		return err
	}
	if ctx.Done() != nil {
		fired := make(chan struct{})
		stop := context.AfterFunc(ctx, func() {
			w.try.SetWriteDeadline(time.Unix(1, 0))
			close(fired)
		})
		defer func() {
			if !stop() {
				<-fired
				w.try.SetWriteDeadline(time.Time{})
			}
		}()
	}
	n, err = w.conn.Write(w.out)
	w.drop(n)
	return err
}

// plain writes out on a connection that is lost when that takes too long.
func (w *writer) plain() error {
	if c, ok := w.conn.(interface{ SetWriteDeadline(time.Time) error }); ok {
		c.SetWriteDeadline(time.Now().Add(writeTime))
	}
	_, err := w.conn.Write(w.out)
	if w.drop(len(w.out)); err != nil {
		w.conn.Close()
	}
	return err
}

// drop forgets the first n bytes of out.
func (w *writer) drop(n int) {
	w.out = w.out[:copy(w.out, w.out[n:])]
	if len(w.out) == 0 && cap(w.out) > 16<<10 {
		w.out = nil
	}
}

// later sends a frame for which nobody waits, now or when there is room.
func (w *writer) later(f wire.Frame) {
	w.mu.Lock()
	w.late = wire.Append(w.late, f)
	w.left.Store(true)
	w.mu.Unlock()
	w.push()
}

// push sends what was left, as far as there is room. It does not wait, and
// leaves it to who is writing just now.
func (w *writer) push() {
	for {
		select {
		case w.sem <- struct{}{}:
		default:
			return
		}
		w.mu.Lock()
		w.out = append(w.out, w.late...)
		w.late = nil
		w.left.Store(false)
		w.mu.Unlock()
		if w.try == nil {
			w.plain()
		} else {
			n, _ := w.try.TryWrite(w.out) // an error ends the reader too
			w.drop(n)
		}
		stuck := len(w.out) > 0
		if stuck {
			w.left.Store(true)
		}
		<-w.sem
		if stuck || !w.left.Load() {
			return
		}
	}
}

// release lets the next one write, and sends what came meanwhile.
func (w *writer) release() {
	if len(w.out) > 0 {
		w.left.Store(true)
	}
	<-w.sem
	if w.left.Load() {
		w.push()
	}
}

// ended is the error of a call whose ctx ended.
func ended(ctx context.Context) error {
	kind := api.Canceled
	if ctx.Err() == context.DeadlineExceeded {
		kind = api.Deadline
	}
	return api.E(kind, "wait", "", "%v", ctx.Err())
}

func gone(err error) error {
	if err == nil {
		return nil
	}
	return api.E(api.Unavailable, "connection", "", "sigmad is gone (%v)", err)
}
