package rpc

import (
	"context"
	"io"
	"sync"
	"time"

	"sigmaos/api"
)

// Client is the calling side of a connection. Its methods may be called
// concurrently.
type Client struct {
	link
	numbers numbers
	pool    sync.Pool // of *call, for Call
	calls   []*call   // by number; nil where free. Guarded by mu
	done    chan struct{}
}

// call is one entry of Client.calls: a Call, a Go or a Stream.
type call struct {
	id        uint32
	method    string
	over      bool // has its result; guarded by mu, as is abandoned
	abandoned bool // nobody waits, but the server has not answered yet
	body      []byte
	err       error

	ready  chan struct{}       // of a Call: tells that body and err are there; holds one
	fn     func([]byte, error) // of a Go
	stop   func() bool         // of a Go: forgets its ctx
	stream *Stream             // of a Stream
}

// NewClient begins to speak over conn, which it owns from now on; closing conn
// must end reads and writes that wait, as it does for a net.Conn. NewClient does
// not wait for the other side: if nobody is there that speaks this protocol, the
// calls say so. Close it.
func NewClient(conn io.ReadWriteCloser, o Options) *Client {
	c := &Client{done: make(chan struct{})}
	c.init(conn, o, roleCaller)
	c.numbers.limit = minCalls
	go c.run()
	return c
}

// Close ends the connection and waits for the Client's goroutines. Calls under
// way get Unavailable. It must not be called by a callback of Go.
func (c *Client) Close() error {
	c.fail(api.E(api.Unavailable, "rpc", "", "it was closed on this side"))
	<-c.done
	return nil
}

// Done is closed when the connection has ended and everybody was told.
func (c *Client) Done() <-chan struct{} { return c.done }

// Err says why the connection ended; nil while it has not.
func (c *Client) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		return nil
	}
	return c.err
}

// Call asks for method with req and waits for the answer, which belongs to the
// caller. req is not kept. When MaxCalls of the other side are under way, or
// when more is queued than the connection takes, Call waits, until ctx ends.
func (c *Client) Call(ctx context.Context, method string, req []byte) ([]byte, error) {
	ca, _ := c.pool.Get().(*call)
	if ca == nil {
		ca = &call{ready: make(chan struct{}, 1)}
	}
	ca.method = method
	if err := c.begin(ctx, ca, kCall, req, true); err != nil {
		c.free(ca)
		return nil, err
	}
	select {
	case <-ca.ready:
	case <-ctx.Done():
		if c.abandon(ca) { // the reading goroutine frees it
			return nil, ended(ctx, "call", method)
		}
		<-ca.ready
	}
	body, err := ca.body, ca.err
	c.free(ca)
	return body, err
}

func (c *Client) free(ca *call) {
	*ca = call{ready: ca.ready}
	c.pool.Put(ca)
}

// begin gives ca a number and queues its first frame.
func (c *Client) begin(ctx context.Context, ca *call, k kind, req []byte, wait bool) error {
	if n := len(ca.method); n == 0 || n > maxName {
		return api.E(api.Invalid, "call", cut(ca.method, 40), "a method's name has 1 to %d bytes", maxName)
	}
	if ctx.Err() != nil {
		return ended(ctx, "call", ca.method)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if !wait && (len(c.out) >= queueSize || !c.numbers.any() || !c.greeted && len(req) > minFrame/2) {
		if c.err != nil {
			return lost("call", ca.method, c.err)
		}
		return api.E(api.Busy, "call", ca.method, "too much is under way on this connection; wait for some of it")
	}
	id, err := c.takeLocked(ctx, ca.method)
	if err != nil {
		return err
	}
	if err := c.roomLocked(ctx, "call", ca.method, len(ca.method)+len(req)); err != nil {
		c.numbers.put(id)
		return err
	}
	for int(id) >= len(c.calls) {
		c.calls = append(c.calls, nil)
	}
	c.calls[id], ca.id = ca, id
	if ca.stream != nil {
		ca.stream.id = id
	}
	c.out = appendFrame(c.out, k, id, timeLeft(ctx), ca.method, req)
	c.wakeLocked()
	return nil
}

// timeLeft is the time until ctx ends in milliseconds, at least 1, rounded up
// so that the server does not give up first; 0 means for ever.
func timeLeft(ctx context.Context) uint32 {
	at, ok := ctx.Deadline()
	if !ok {
		return 0
	}
	ms := (time.Until(at) + time.Millisecond - 1) / time.Millisecond
	if ms > 1<<32-1 {
		return 0
	}
	return uint32(max(ms, 1))
}

// abandon gives ca up, unless it has its result: then it reports false.
func (c *Client) abandon(ca *call) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ca.over {
		return false
	}
	ca.abandoned = true
	c.cancelLocked(ca.id)
	return true
}

func (c *Client) cancelLocked(id uint32) {
	if c.err == nil {
		c.out = appendFrame(c.out, kCancel, id, 0, "", nil)
		c.wakeLocked()
	}
}
