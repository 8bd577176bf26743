package sigma

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// Peer is who is at the other end of a connection: what σOS knows, not what the
// peer says.
type Peer = api.Peer

// Addr is the sigma address of one end of a connection.
type Addr struct{ Peer Peer }

// Network is "sigma".
func (Addr) Network() string { return "sigma" }

// String names the proc, or the address of a client outside.
func (a Addr) String() string {
	switch {
	case a.Peer.Address != "":
		return a.Peer.Address
	case a.Peer.Proc != "":
		return string(a.Peer.Proc)
	case a.Peer.Endpoint != "":
		return string(a.Peer.Endpoint)
	}
	return "sigma:" + a.Peer.Node
}

// Conn is a connection with another proc, with a part of σOS or with the
// outside world: one type, whatever carries it. The descriptor is the
// connection itself; sigmad is not in the way of what is read and written.
type Conn struct {
	s     socket
	local Addr
	peer  Peer

	in, out transfer
}

var _ net.Conn = (*Conn)(nil)

// newConn takes a connected, non-blocking descriptor over.
func newConn(fd int, local, peer Peer) (*Conn, error) {
	s, err := open(fd)
	if err != nil {
		return nil, err
	}
	c := &Conn{s: s, local: Addr{local}, peer: peer}
	c.in.try, c.out.try = c.in.read, c.out.write
	return c, nil
}

// FileConn makes a Conn of a connected stream socket that a program has by other
// means, as net.FileConn does; nothing is known of the peer. f stays the
// caller's.
func FileConn(f syscall.Conn) (*Conn, error) {
	rc, err := f.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	cerr := rc.Control(func(s uintptr) {
		if fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			err = unix.SetNonblock(fd, true)
		}
	})
	if err = errors.Join(err, cerr); err != nil {
		closeFD(fd)
		return nil, os.NewSyscallError("fcntl", err)
	}
	return newConn(fd, Peer{}, Peer{})
}

// Peer says who is at the other end.
func (c *Conn) Peer() Peer { return c.peer }

// LocalAddr and RemoteAddr are sigma addresses.
func (c *Conn) LocalAddr() net.Addr { return c.local }

// RemoteAddr is the peer's.
func (c *Conn) RemoteAddr() net.Addr { return Addr{c.peer} }

func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.read(p)
	return n, c.err("read", err)
}

func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.write(p)
	return n, c.err("write", err)
}

// Close ends the connection.
func (c *Conn) Close() error { return c.err("close", c.s.Close()) }

// CloseWrite tells the peer that nothing more will come; it can still be read.
func (c *Conn) CloseWrite() error { return c.shutdown(syscall.SHUT_WR) }

// CloseRead ends reading.
func (c *Conn) CloseRead() error { return c.shutdown(syscall.SHUT_RD) }

func (c *Conn) shutdown(how int) error {
	var err error
	cerr := c.s.Control(func(fd uintptr) { err = syscall.Shutdown(int(fd), how) })
	if err == nil {
		err = cerr
	}
	return c.err("shutdown", err)
}

// SetDeadline, SetReadDeadline and SetWriteDeadline are those of net.Conn.
func (c *Conn) SetDeadline(t time.Time) error {
	return c.err("set", errors.Join(c.s.SetReadDeadline(t), c.s.SetWriteDeadline(t)))
}

// SetReadDeadline bounds Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.err("set", c.s.SetReadDeadline(t)) }

// SetWriteDeadline bounds Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.err("set", c.s.SetWriteDeadline(t)) }

// SyscallConn gives the descriptor to who wants its options; a proc may set the
// few that docs/SYSCALLS.md lists.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.s, nil }

// err makes a file's error one of the network, as users of a net.Conn expect.
func (c *Conn) err(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if errno, ok := err.(syscall.Errno); ok {
		err = os.NewSyscallError(op, errno)
	} else if errors.Is(err, os.ErrClosed) {
		err = net.ErrClosed
	} else if p := (*os.PathError)(nil); errors.As(err, &p) {
		err = p.Err
		if errno, ok := err.(syscall.Errno); ok {
			err = os.NewSyscallError(op, errno)
		}
	}
	return &net.OpError{Op: op, Net: "sigma", Source: c.local, Addr: Addr{c.peer}, Err: err}
}

// PeerOf says who is at the other end of a connection that a [Listener] or Dial
// gave; ok is false for another kind of connection.
func PeerOf(c net.Conn) (p Peer, ok bool) {
	if s, ok := c.(interface{ Peer() Peer }); ok {
		return s.Peer(), true
	}
	return p, false
}
