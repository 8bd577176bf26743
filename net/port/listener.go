package port

import (
	"context"
	"net"
	"sync"
)

// Listener registers a service whose library wants a net.Listener. Accept gives
// *Conn values. Close unregisters it; accepted connections stay.
func (p *Port) Listener(alpn string) (net.Listener, error) {
	l := &listener{addr: p.Addr(), conns: make(chan *Conn), done: make(chan struct{})}
	stop, err := p.Handle(alpn, l.handle)
	if err != nil {
		return nil, err
	}
	l.unregister = stop
	l.portDone = p.ctx.Done()
	return l, nil
}

type listener struct {
	addr       net.Addr
	conns      chan *Conn
	portDone   <-chan struct{}
	unregister func()
	once       sync.Once
	done       chan struct{}
}

func (l *listener) handle(ctx context.Context, c *Conn) {
	select {
	case l.conns <- c:
	case <-l.done:
		c.Close()
	case <-ctx.Done():
		c.Close()
	}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
	case <-l.portDone:
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: net.ErrClosed}
}

func (l *listener) Close() error {
	l.once.Do(func() {
		l.unregister()
		close(l.done)
	})
	return nil
}

func (l *listener) Addr() net.Addr { return l.addr }
