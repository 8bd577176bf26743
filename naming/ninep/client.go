package ninep

import (
	"context"
	"os"
	"sync"
	"time"

	"sigmaos/api"
)

// Client is the asking side of a connection. It may be used by any number of
// goroutines; each call ends with its context. When the connection is lost, all
// calls fail with kind Unavailable, and so does everything made with the Client.
type Client struct {
	conn  Conn
	in    *frames
	out   *sender
	pool  pool
	sigma bool
	msize int

	slots chan struct{} // calls that wait for their answers
	done  chan struct{} // closed when the connection is lost
	work  chan struct{} // there are chores
	wg    sync.WaitGroup

	mu     sync.Mutex
	err    error
	calls  map[uint16]*call
	tag    uint16   // the next that was never used
	tags   []uint16 // that are free again
	fid    uint32
	fids   []uint32
	live   int // fids that the server has
	chores []chore
	gcAt   int // live fids at which dropped files are looked for
}

const (
	maxCalls     = 1024
	clientWrite  = 30 * time.Second // for a server that does not read
	closeTimeout = 30 * time.Second // for what ends without a context
	firstGC      = 16 << 10
)

// NewClient agrees on the dialect with the server at the other end of conn and
// takes conn over.
func NewClient(ctx context.Context, conn Conn) (*Client, error) {
	return newClient(ctx, conn, versionSigma)
}

func newClient(ctx context.Context, conn Conn, wanted string) (*Client, error) {
	c := &Client{
		conn: conn, out: newSender(conn, clientWrite), slots: make(chan struct{}, maxCalls),
		done: make(chan struct{}), work: make(chan struct{}, 1), calls: make(map[uint16]*call), gcAt: firstGC,
	}
	c.in = newFrames(conn, &c.pool, clientWrite)
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	err := c.agree(wanted)
	if !stop() || err != nil {
		conn.Close()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return nil, asError("connect", err)
	}
	c.wg.Go(c.read)
	c.wg.Go(c.doChores)
	return c, nil
}

// agree exchanges versions, alone on the connection.
func (c *Client) agree(wanted string) error {
	if err := c.out.send(appendFrame(nil, tVersion, noTag, &version{Msize: maxSigma, Version: wanted})); err != nil {
		return api.E(api.Unavailable, "connect", "", "%v", err)
	}
	b, err := c.in.next()
	if err != nil {
		return api.E(api.Unavailable, "connect", "", "the server ended the connection: %v", err)
	}
	defer c.pool.put(b)
	var v version
	switch typ := frameType(b.b); typ {
	case tVersion + 1:
		if err := decode(b.b[headerSize:], &v); err != nil {
			return err
		}
	default:
		m := newAnswer(typ)
		if m == nil || decode(b.b[headerSize:], m) != nil {
			m = &empty{}
		}
		return received("connect", m)
	}
	if v.Msize < minMsize || v.Msize > maxSigma || v.Version != versionSigma && v.Version != versionPlain {
		return api.E(api.Unsupported, "connect", "", "the server speaks %q with messages of %d bytes; %s is needed", v.Version, v.Msize, versionPlain)
	}
	c.sigma, c.msize = v.Version == versionSigma, int(v.Msize)
	c.in.limit = v.Msize
	return nil
}

// Sigma reports whether the server has σ's additions.
func (c *Client) Sigma() bool { return c.sigma }

// Done is closed when the connection is lost.
func (c *Client) Done() <-chan struct{} { return c.done }

// Idle reports whether no call is under way and the server holds nothing for the
// client but what it attached to.
func (c *Client) Idle() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.calls) == 0 && c.live <= 1
}

// Close ends the connection, and with it all that the server holds for it.
func (c *Client) Close() error {
	c.fail(api.E(api.Unavailable, "file", "", "the connection was closed"))
	c.wg.Wait()
	return nil
}

func (c *Client) fail(err error) {
	c.mu.Lock()
	first := c.err == nil
	if first {
		c.err = err
		close(c.done)
	}
	c.mu.Unlock()
	if first {
		c.conn.Close()
	}
}

func (c *Client) lost() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// read takes answers in until the connection is lost.
func (c *Client) read() {
	for {
		b, err := c.in.next()
		if err != nil {
			c.fail(api.E(api.Unavailable, "file", "", "the connection to the server is lost: %v", err))
			return
		}
		if err := c.deliver(b); err != nil {
			c.fail(err)
			return
		}
	}
}

// deliver gives an answer to the call that waits for it.
func (c *Client) deliver(b *buffer) error {
	file, err := c.takeFile(b)
	if err != nil {
		return err
	}
	tag, typ := frameTag(b.b), frameType(b.b)
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.calls[tag]
	if k == nil || typ != k.typ+1 && typ != tLerror+1 && typ != tSerror+1 {
		closeFile(file)
		return api.E(api.Unavailable, "file", "", "the server sent an answer of type %d that nobody asked for", typ)
	}
	if k.stream != nil && typ == k.typ+1 {
		k.stream.push(b)
		return nil
	}
	if !k.abandoned {
		c.freeLocked(k)
	}
	k.deliverLocked(b, file)
	return nil
}

// takeFile takes the descriptor that came with an answer.
func (c *Client) takeFile(b *buffer) (*os.File, error) {
	if typ := frameType(b.b); typ != tSopen+1 && typ != tScreate+1 || len(b.b) <= headerSize || b.b[headerSize] == 0 {
		return nil, nil
	}
	if r, ok := c.conn.(descriptorReader); ok {
		if fd, ok := r.Taken(); ok {
			return os.NewFile(uintptr(fd), "remote file"), nil
		}
	}
	return nil, api.E(api.Unavailable, "file", "", "the server speaks of a descriptor that did not come")
}

func closeFile(f *os.File) {
	if f != nil {
		f.Close()
	}
}

// takesFiles reports whether descriptors can come.
func (c *Client) takesFiles() bool {
	_, ok := c.conn.(descriptorReader)
	return ok
}
