package ninep

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a stream: a net.Conn, or an end of a socketpair.
type Conn interface {
	io.ReadWriteCloser
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
}

// descriptorWriter is a Conn that can send a descriptor with the first byte of a
// write; the descriptor stays the sender's. net/fdpass has one.
type descriptorWriter interface {
	WriteFD(p []byte, fd int) (int, error)
}

// descriptorReader is a Conn that keeps descriptors which came with what was
// read, in order.
type descriptorReader interface {
	Taken() (fd int, ok bool)
}

// appendFrame encodes one message behind b.
func appendFrame(b []byte, typ uint8, tag uint16, m message) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0, typ)
	b = binary.LittleEndian.AppendUint16(b, tag)
	c := coder{b: b, write: true}
	m.code(&c)
	binary.LittleEndian.PutUint32(c.b[start:], uint32(len(c.b)-start))
	return c.b
}

// decode reads a message from what is behind the header of a frame.
func decode(body []byte, m message) error {
	c := coder{b: body}
	m.code(&c)
	switch {
	case c.bad:
		return bad("message", "it ends before its fields do, or has a value that cannot be")
	case len(c.b) > 0:
		return bad("message", "%d bytes behind the last field", len(c.b))
	}
	return nil
}

func frameType(b []byte) uint8 { return b[4] }
func frameTag(b []byte) uint16 { return binary.LittleEndian.Uint16(b[5:]) }

// buffer is one frame on its way.
type buffer struct{ b []byte }

// pool keeps buffers of two sizes: most frames are small.
type pool struct{ small, large sync.Pool }

const smallBuffer = 1 << 10

func (p *pool) get(n int) *buffer {
	from := &p.small
	if n > smallBuffer {
		from = &p.large
	}
	f, _ := from.Get().(*buffer)
	if f == nil {
		f = &buffer{}
	}
	if cap(f.b) < n {
		f.b = make([]byte, max(n, smallBuffer))
	}
	f.b = f.b[:n]
	return f
}

func (p *pool) put(f *buffer) {
	if f == nil {
		return
	}
	if cap(f.b) > smallBuffer {
		p.large.Put(f)
	} else {
		p.small.Put(f)
	}
}

// frames cuts a stream into frames.
type frames struct {
	conn  Conn
	r     *bufio.Reader
	pool  *pool
	limit uint32        // size of a frame
	rest  time.Duration // in which a frame that began must end; 0 is for ever
}

func newFrames(conn Conn, p *pool, rest time.Duration) *frames {
	return &frames{conn: conn, r: bufio.NewReaderSize(conn, 4<<10), pool: p, limit: minMsize, rest: rest}
}

// firstPiece is how much of a frame there is memory for before any of it came.
const firstPiece = 64 << 10

// next returns the next frame, which is the caller's to give back to the pool.
// io.EOF is an end between frames; after any error the stream is dead.
func (f *frames) next() (*buffer, error) {
	h, err := f.r.Peek(headerSize)
	if err != nil {
		if err == io.EOF && len(h) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	size := binary.LittleEndian.Uint32(h)
	if size < headerSize || size > f.limit {
		return nil, fmt.Errorf("9p: a message of %d bytes; it has at least %d and here at most %d", size, headerSize, f.limit)
	}
	if f.rest > 0 && f.r.Buffered() < int(size) {
		f.conn.SetReadDeadline(time.Now().Add(f.rest))
		defer f.conn.SetReadDeadline(time.Time{})
	}
	b := f.pool.get(min(int(size), firstPiece))
	if err := f.fill(b, int(size)); err != nil {
		f.pool.put(b)
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	return b, nil
}

// fill reads size bytes into b, whose memory grows once the first piece came.
func (f *frames) fill(b *buffer, size int) error {
	if _, err := io.ReadFull(f.r, b.b); err != nil || len(b.b) == size {
		return err
	}
	n := len(b.b)
	if cap(b.b) < size {
		b.b = append(make([]byte, 0, size), b.b...)
	}
	b.b = b.b[:size]
	_, err := io.ReadFull(f.r, b.b[n:])
	return err
}

// sender writes whole frames, one at a time, each within a bound.
type sender struct {
	conn  Conn
	bound time.Duration
	timed bool // conn wants a deadline for each write

	mu sync.Mutex
}

func newSender(conn Conn, bound time.Duration) *sender {
	s := &sender{conn: conn, bound: bound}
	if b, ok := conn.(interface{ BoundWrites(time.Duration) }); ok {
		b.BoundWrites(bound)
	} else {
		s.timed = true
	}
	return s
}

// sendLocked writes a frame; s.mu is held. A failed write ends the connection,
// since what follows would be read as the rest of this frame.
func (s *sender) sendLocked(b []byte, file *os.File) error {
	if s.timed {
		s.conn.SetWriteDeadline(time.Now().Add(s.bound))
	}
	if file != nil {
		n, err := s.conn.(descriptorWriter).WriteFD(b, int(file.Fd()))
		if err == nil {
			return nil
		}
		if n > 0 || !errors.Is(err, syscall.EPERM) {
			s.conn.Close()
			return err
		}
		b[headerSize] = 0 // this peer may not be sent descriptors; it reads
	}
	_, err := s.conn.Write(b)
	if err != nil {
		s.conn.Close()
	}
	return err
}

func (s *sender) send(b []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendLocked(b, nil)
}
