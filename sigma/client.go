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

	wmu  sync.Mutex
	wbuf []byte

	mu      sync.Mutex
	next    uint32
	pending map[uint32]*request
	err     error // set once the connection is gone
}

type request struct {
	frames chan answer   // with room for one; closed when the connection is gone
	gone   chan struct{} // closed when nobody reads frames any more
	dead   bool          // the same, under Client.mu
}

// NewClient speaks on conn and owns it from now on. dial, where it is given,
// makes the connections that conn cannot hand over: of a program outside.
func NewClient(conn io.ReadWriteCloser, dial ...func(ctx context.Context, t api.Target) (net.Conn, error)) *Client {
	c := &Client{conn: conn, pending: make(map[uint32]*request)}
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
	if q.dead || len(q.frames) == cap(q.frames) {
		closeFD(a.fd)
		return
	}
	q.frames <- a
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

// write sends one frame.
func (c *Client) write(f wire.Frame) error {
	if len(f.Payload) > wire.MaxPayload {
		return api.E(api.TooLarge, "request", "", "%d bytes; the limit is %d", len(f.Payload), wire.MaxPayload)
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	c.wbuf = wire.Append(c.wbuf[:0], f)
	_, err := c.conn.Write(c.wbuf)
	if cap(c.wbuf) > 16<<10 {
		c.wbuf = nil
	}
	if err != nil {
		return api.E(api.Unavailable, "connection", "", "sigmad is gone (%v)", err)
	}
	return nil
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
	q := &request{frames: make(chan answer, 1), gone: make(chan struct{})}
	c.mu.Lock()
	if c.err != nil {
		c.mu.Unlock()
		return c.err
	}
	c.next++
	if c.next == 0 {
		c.next = 1
	}
	id := c.next
	c.pending[id] = q
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		q.dead = true
		c.mu.Unlock()
		close(q.gone)
		select { // what came in the same moment
		case a, ok := <-q.frames:
			if ok {
				closeFD(a.fd)
			}
		default:
		}
	}()
	if err := c.write(wire.Frame{Type: t, ID: id, Payload: payload}); err != nil {
		c.forget(id)
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
				return wire.DecodeError(f.Payload)
			}
			if err := fn(f); err != nil {
				c.cancel(id)
				return err
			}
			if f.Flags&wire.FlagMore == 0 {
				return nil
			}
		case <-ctx.Done():
			c.cancel(id)
			kind := api.Canceled
			if ctx.Err() == context.DeadlineExceeded {
				kind = api.Deadline
			}
			return api.E(kind, "wait", "", "%v", ctx.Err())
		}
	}
}

func (c *Client) forget(id uint32) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.pending, id)
}

func (c *Client) cancel(id uint32) {
	c.forget(id)
	var f wire.Fields
	f.Int(1, int64(id))
	c.write(wire.Frame{Type: wire.TCancel, Payload: f})
}

// ask is Stream for one answer.
func (c *Client) ask(ctx context.Context, t wire.Type, payload []byte) (answer []byte, err error) {
	err = c.Stream(ctx, t, payload, func(p []byte) error {
		answer = p
		return nil
	})
	return answer, err
}
