package sigma

import (
	"context"
	"net"
	"sync"
	"time"

	"sigmaos/api/wire"
)

// Listener is a net.Listener on an endpoint of this proc.
type Listener struct {
	c   *Client
	ep  Endpoint
	ctx context.Context

	once sync.Once
	stop context.CancelFunc

	mu      sync.Mutex
	closed  bool
	kept    []*Conn // for who accepts next
	waiters map[*waiter]bool
}

var _ net.Listener = (*Listener)(nil)

// NewEndpoint makes an endpoint and the listener on it. It lasts until Close or
// the end of the proc.
func (c *Client) NewEndpoint(ctx context.Context) (*Listener, Endpoint, error) {
	p, err := c.ask(ctx, wire.TNewEndpoint, nil)
	if err != nil {
		return nil, "", err
	}
	ep, err := wire.DecodeEndpoint(p)
	if err != nil {
		return nil, "", err
	}
	l := &Listener{c: c, ep: ep, waiters: make(map[*waiter]bool)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l, ep, nil
}

// Accept waits for the next connection. What it returns is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptContext(l.ctx)
	if err != nil {
		if l.ctx.Err() != nil {
			err = net.ErrClosed
		}
		return nil, &net.OpError{Op: "accept", Net: "sigma", Addr: l.Addr(), Err: err}
	}
	return conn, nil
}

// AcceptContext waits for the next connection until ctx ends. One that comes in
// that moment is the next caller's.
func (l *Listener) AcceptContext(ctx context.Context) (*Conn, error) {
	local := Peer{Endpoint: l.ep}
	for {
		w, conn := l.await(ctx)
		if conn != nil {
			return conn, nil
		}
		conn, err := l.c.passed(w.ctx, wire.TAccept, wire.EncodeEndpoint(l.ep), local, func(a answer) error {
			conn, err := connOf(a, local)
			if err == nil {
				l.keep(conn)
			}
			return err
		})
		woken := w.ctx.Err() != nil
		l.leave(w)
		switch {
		case err == nil || !woken:
			return conn, err
		case ctx.Err() != nil:
			return nil, ended(ctx)
		}
	}
}

// waiter is one who waits in AcceptContext; wake ends its wait when a
// connection was kept.
type waiter struct {
	ctx  context.Context
	wake context.CancelFunc
}

// await takes a connection that was kept, or enters a waiter.
func (l *Listener) await(ctx context.Context) (*waiter, *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.kept) > 0 {
		conn := l.kept[0]
		l.kept = l.kept[1:]
		return nil, conn
	}
	w := &waiter{}
	w.ctx, w.wake = context.WithCancel(ctx)
	l.waiters[w] = true
	return w, nil
}

// leave forgets a waiter, and wakes another if it leaves something behind.
func (l *Listener) leave(w *waiter) {
	w.wake()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.waiters, w)
	l.wakeLocked()
}

// keep is for a connection that came when who asked for it had just given up.
func (l *Listener) keep(conn *Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.closed {
		conn.Close()
		return
	}
	l.kept = append(l.kept, conn)
	l.wakeLocked()
}

func (l *Listener) wakeLocked() {
	if len(l.kept) == 0 {
		return
	}
	for w := range l.waiters {
		w.wake()
		return
	}
}

// Addr is the endpoint.
func (l *Listener) Addr() net.Addr { return Addr{Peer{Endpoint: l.ep}} }

// Endpoint is what others dial.
func (l *Listener) Endpoint() Endpoint { return l.ep }

// closeTime bounds what Close waits for sigmad.
const closeTime = 5 * time.Second

// Close ends the endpoint: waiting Accepts end, dials are refused. Connections
// go on.
func (l *Listener) Close() (err error) {
	l.once.Do(func() {
		l.stop()
		l.mu.Lock()
		l.closed = true
		for _, conn := range l.kept {
			conn.Close()
		}
		l.kept = nil
		l.mu.Unlock()
		ctx, cancel := context.WithTimeout(context.Background(), closeTime)
		defer cancel()
		_, err = l.c.ask(ctx, wire.TCloseEndpoint, wire.EncodeEndpoint(l.ep))
	})
	return err
}
