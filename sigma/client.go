package sigma

import (
	"context"
	"io"
	"net"
	"sync"
	"syscall"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// Client is one connection to σOS; any number of calls may be under way.
type Client struct {
	conn io.ReadWriteCloser
	// outside makes connections where descriptors cannot be handed over; nil in
	// a proc and on the operator's socket.
	outside func(ctx context.Context, t api.Target) (net.Conn, error)
	w       *writer

	namesOnce sync.Once
	names     *Names

	mu      sync.Mutex
	next    uint32
	pending map[uint32]*request
	err     error // set once the connection is gone
}

type request struct {
	frames chan answer   // with room for one; closed when the connection is gone
	gone   chan struct{} // closed when nobody reads frames any more
	dead   bool          // the same, under Client.mu
	// late gets an answer with a descriptor that comes when nobody waits for it
	// any more; nil closes it.
	late func(answer) error
}

// NewClient speaks on conn and owns it from now on. dial, where it is given,
// makes the connections that conn cannot hand over: of a program outside.
func NewClient(conn io.ReadWriteCloser, dial ...func(ctx context.Context, t api.Target) (net.Conn, error)) *Client {
	c := &Client{conn: conn, w: newWriter(conn), pending: make(map[uint32]*request)}
	if len(dial) > 0 {
		c.outside = dial[0]
	}
	go c.read()
	return c
}

// Close ends the connection and every call on it.
func (c *Client) Close() error { return c.conn.Close() }

// read hands answers to those who wait; it ends with the connection.
func (c *Client) read() {
	r := wire.NewAnswerReader(c.conn)
	for {
		f, err := r.Read()
		if err != nil {
			c.lost(err)
			return
		}
		if c.w.try != nil && c.w.left.Load() { // it reads again
			c.w.push()
		}
		c.mu.Lock()
		q := c.pending[f.ID]
		if q != nil && f.Flags&wire.FlagMore == 0 {
			delete(c.pending, f.ID)
		}
		c.mu.Unlock()
		fd := -1
		if f.Flags&wire.FlagFD != 0 {
			fd = c.taken()
		}
		if q == nil { // cancelled meanwhile
			closeFD(fd)
			continue
		}
		f.Payload = append([]byte(nil), f.Payload...)
		if fd >= 0 {
			c.give(q, answer{f, fd})
			continue
		}
		select {
		case q.frames <- answer{f, -1}:
		case <-q.gone:
		}
	}
}

// give hands over an answer with a descriptor: the only one of its request, so
// that there is room, and surely to somebody or closed.
func (c *Client) give(q *request, a answer) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case q.dead:
		q.tooLate(a)
	case len(q.frames) == cap(q.frames):
		closeFD(a.fd)
	default:
		q.frames <- a
	}
}

// tooLate has an answer for which nobody waits.
func (q *request) tooLate(a answer) {
	if a.fd >= 0 && q.late != nil && a.Flags&(wire.FlagError|wire.FlagMore) == 0 {
		q.late(a)
		return
	}
	closeFD(a.fd)
}

// answer is a frame and the descriptor that came with it, -1 for none.
type answer struct {
	wire.Frame
	fd int
}

// taken is the descriptor of the frame that was just read; -1 when the kernel
// could not give it to us.
func (c *Client) taken() int {
	if t, ok := c.conn.(interface{ Taken() (int, bool) }); ok {
		if fd, ok := t.Taken(); ok {
			return fd
		}
	}
	return -1
}

func closeFD(fd int) {
	if fd >= 0 {
		syscall.Close(fd)
	}
}

func (c *Client) lost(err error) {
	c.conn.Close()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.err = api.E(api.Unavailable, "connection", "", "sigmad is gone (%v)", err)
	for _, q := range c.pending {
		close(q.frames)
	}
	c.pending = nil
}

// isLost reports whether the connection has ended.
func (c *Client) isLost() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err != nil
}

// tell sends one frame that wants no answer.
func (c *Client) tell(ctx context.Context, f wire.Frame) error {
	c.mu.Lock()
	err := c.err
	c.mu.Unlock()
	if err != nil {
		return err
	}
	_, err = c.w.write(ctx, f)
	return err
}

// Stream asks and gives every answer to fn, the last one too. It is what the
// calls of this package and its tools are made of.
func (c *Client) Stream(ctx context.Context, t wire.Type, payload []byte, fn func(payload []byte) error) error {
	return c.stream(ctx, t, payload, func(a answer) error {
		closeFD(a.fd)
		return fn(a.Payload)
	})
}

// stream is Stream for answers that may have a descriptor, which is fn's.
func (c *Client) stream(ctx context.Context, t wire.Type, payload []byte, fn func(answer) error) error {
	return c.streamLate(ctx, t, payload, nil, fn)
}

// streamLate is stream where a descriptor that comes after ctx ended is late's.
func (c *Client) streamLate(ctx context.Context, t wire.Type, payload []byte, late, fn func(answer) error) error {
	q, id, err := c.begin(late)
	if err != nil {
		return err
	}
	defer c.end(q)
	if sent, err := c.w.write(ctx, wire.Frame{Type: t, ID: id, Payload: payload}); err != nil {
		if sent {
			c.cancel(id, q)
		} else {
			c.forget(id)
		}
		return err
	}
	for {
		select {
		case f, ok := <-q.frames:
			if !ok {
				c.mu.Lock()
				defer c.mu.Unlock()
				return c.err
			}
			if f.Flags&wire.FlagError != 0 {
				closeFD(f.fd)
				return wire.DecodeError(f.Payload)
			}
			if err := fn(f); err != nil {
				c.cancel(id, q)
				return err
			}
			if f.Flags&wire.FlagMore == 0 {
				return nil
			}
		case <-ctx.Done():
			c.cancel(id, q)
			return ended(ctx)
		}
	}
}

// begin makes a request that answers can find.
func (c *Client) begin(late func(answer) error) (*request, uint32, error) {
	q := &request{frames: make(chan answer, 1), gone: make(chan struct{}), late: late}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, 0, c.err
	}
	for c.next++; c.next == 0 || c.pending[c.next] != nil; c.next++ {
	}
	c.pending[c.next] = q
	return q, c.next, nil
}

// end says that nobody waits for q's answers any more.
func (c *Client) end(q *request) {
	c.mu.Lock()
	q.dead = true
	c.mu.Unlock()
	close(q.gone)
	select { // what came in the same moment
	case a, ok := <-q.frames:
		if ok {
			q.tooLate(a)
		}
	default:
	}
}

func (c *Client) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

// cancel asks for no more answers; one may be under way, and is awaited where
// somebody wants it late.
func (c *Client) cancel(id uint32, q *request) {
	if q.late == nil {
		c.forget(id)
	}
	var f wire.Fields
	f.Int(1, int64(id))
	c.w.later(wire.Frame{Type: wire.TCancel, Payload: f})
}

// ask is Stream for one answer.
func (c *Client) ask(ctx context.Context, t wire.Type, payload []byte) (answer []byte, err error) {
	err = c.Stream(ctx, t, payload, func(p []byte) error {
		answer = p
		return nil
	})
	return answer, err
}
