// Package fdpass is a Unix socket that carries bytes, records and, where they
// are wanted, descriptors.
//
// The sockets are non-blocking, so their system calls do not wait; they are
// made raw, without telling the Go scheduler. At a few thousand small messages a
// second that matters: the announcements, and the monitor thread that they wake,
// were a tenth of what a start of a proc cost sigmad.
//
// # Descriptors on a stream
//
// The kernel ties descriptors to a place in the stream and hands them out no
// later than the bytes of that place. [Conn.WriteFD] sends one with the first
// byte of its buffer; the receiving Conn, when it was made with [Take], queues
// what comes, and [Conn.Taken] gives them in the order of their sending. Whoever
// frames messages says in each which has one. One that the kernel could not
// deliver, because the receiver's table is full, keeps its place: Taken gives -1
// for it, so that no later one is taken for it.
//
// A Conn without Take refuses descriptors: from Linux 6.16 a peer cannot send
// them, before that the kernel closes them.
package fdpass

import (
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Option changes what a Conn does.
type Option int

// Take lets a Conn receive descriptors; without it the kernel drops them.
const Take Option = 1

// maxTaken bounds the descriptors that came and were not taken yet; more are
// the sender's defect and closed.
const maxTaken = 64

// Conn is one end of a socket. One goroutine may read and several write.
type Conn struct {
	f  *os.File
	rc syscall.RawConn

	rmu    sync.Mutex
	r      op
	rights [64]byte // room for what comes with one read

	wmu   sync.Mutex
	w     op
	bound time.Duration // of one Write that has to wait; 0 is none

	tmu    sync.Mutex
	take   bool
	taken  []int // -1 is one that was lost
	closed bool  // nobody takes any more
}

// op is one system call, made by a callback that is there from the start: a
// closure for each call would be one allocation more.
type op struct {
	buf   []byte
	fd    int // to send; -1 is none
	n     int
	errno syscall.Errno
	try   func(fd uintptr) bool
}

// New takes fd, a connected Unix socket, over.
func New(fd int, opts ...Option) (*Conn, error) {
	if _, _, e := syscall.RawSyscall(unix.SYS_FCNTL, uintptr(fd), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK); e != 0 {
		unix.Close(fd)
		return nil, os.NewSyscallError("fcntl", e)
	}
	f := os.NewFile(uintptr(fd), "socket")
	rc, err := f.SyscallConn()
	if err == nil {
		err = f.SetDeadline(time.Time{}) // fails where the run-time cannot wait for it
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	c := &Conn{f: f, rc: rc}
	for _, o := range opts {
		c.take = c.take || o == Take
	}
	if !c.take {
		var off int32 // an older kernel does not know the option
		syscall.RawSyscall6(unix.SYS_SETSOCKOPT, uintptr(fd), unix.SOL_SOCKET, unix.SO_PASSRIGHTS, uintptr(unsafe.Pointer(&off)), 4, 0)
	}
	c.r.try, c.w.try = c.recv, c.send
	return c, nil
}

// Pair makes a connected pair: a Conn, and the raw blocking end for somebody
// else. kind is unix.SOCK_STREAM or unix.SOCK_SEQPACKET.
func Pair(kind int, opts ...Option) (*Conn, int, error) {
	p, err := unix.Socketpair(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, -1, os.NewSyscallError("socketpair", err)
	}
	c, err := New(p[0], opts...)
	if err != nil {
		unix.Close(p[1])
		return nil, -1, err
	}
	return c, p[1], nil
}

// FromUnix makes a Conn of a connection, which is closed.
func FromUnix(u *net.UnixConn, opts ...Option) (*Conn, error) {
	defer u.Close()
	rc, err := u.SyscallConn()
	if err != nil {
		return nil, err
	}
	var fd int
	cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, cerr); err != nil {
		return nil, err
	}
	return New(fd, opts...)
}

// Read reads bytes, or one record; io.EOF is the end.
func (c *Conn) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.rmu.Lock()
	defer c.rmu.Unlock()
	c.r.buf = p
	err := c.rc.Read(c.r.try)
	c.r.buf = nil
	switch {
	case err != nil:
		return 0, closedError(err)
	case c.r.errno == unix.ECONNRESET: // the peer left unread bytes behind
		return 0, io.EOF
	case c.r.errno != 0:
		return 0, os.NewSyscallError("recvmsg", c.r.errno)
	case c.r.n == 0:
		return 0, io.EOF
	}
	return c.r.n, nil
}

func (c *Conn) recv(fd uintptr) bool {
	iov := unix.Iovec{Base: &c.r.buf[0]}
	iov.SetLen(len(c.r.buf))
	m := unix.Msghdr{Iov: &iov}
	m.SetIovlen(1)
	if c.take {
		m.Control = &c.rights[0]
		m.SetControllen(len(c.rights))
	}
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_RECVMSG, fd, uintptr(unsafe.Pointer(&m)), unix.MSG_CMSG_CLOEXEC)
		switch e {
		case unix.EINTR:
			continue
		case unix.EAGAIN:
			return false
		}
		c.r.n, c.r.errno = int(n), e
		if e == 0 && c.take && (m.Controllen > 0 || m.Flags&unix.MSG_CTRUNC != 0) {
			c.keep(rights(c.rights[:m.Controllen]))
		}
		return true
	}
}

// rights are the descriptors of the control messages in b.
func rights(b []byte) (fds []int) {
	msgs, err := unix.ParseSocketControlMessage(b)
	if err != nil {
		return nil
	}
	for i := range msgs {
		if list, err := unix.ParseUnixRights(&msgs[i]); err == nil {
			fds = append(fds, list...)
		}
	}
	return fds
}

// keep queues what came with one read; nothing is a descriptor that was lost.
func (c *Conn) keep(fds []int) {
	if len(fds) == 0 {
		fds = []int{-1}
	}
	c.tmu.Lock()
	defer c.tmu.Unlock()
	for _, fd := range fds {
		if c.closed || len(c.taken) >= maxTaken {
			unix.Close(fd)
			continue
		}
		c.taken = append(c.taken, fd)
	}
}

// Taken returns the oldest descriptor that came and was not taken yet; it is
// the caller's from now on. It is -1 for one that the kernel could not deliver;
// ok is false when there is none.
func (c *Conn) Taken() (fd int, ok bool) {
	c.tmu.Lock()
	defer c.tmu.Unlock()
	if len(c.taken) == 0 {
		return -1, false
	}
	fd = c.taken[0]
	c.taken = append(c.taken[:0], c.taken[1:]...)
	return fd, true
}

// Write writes all of p; for records, p is one.
func (c *Conn) Write(p []byte) (int, error) { return c.WriteFD(p, -1) }

// WriteFD writes all of p, where it is not empty, and sends fd with its first
// byte; fd stays the caller's. A peer that does not take descriptors gets none.
func (c *Conn) WriteFD(p []byte, fd int) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c.wmu.Lock()
	defer c.wmu.Unlock()
	done := 0
	if c.bound > 0 { // the first try costs no timer
		n, err := c.trySend(p, fd)
		if err == nil && n == len(p) {
			return n, nil
		}
		if err != nil && !errors.Is(err, unix.EAGAIN) {
			return 0, err
		}
		if done = n; n > 0 {
			fd = -1
		}
		c.f.SetWriteDeadline(time.Now().Add(c.bound))
		defer c.f.SetWriteDeadline(time.Time{})
	}
	for done < len(p) {
		c.w.buf, c.w.fd = p[done:], fd
		err := c.rc.Write(c.w.try)
		c.w.buf = nil
		if err != nil {
			return done, closedError(err)
		}
		if c.w.errno != 0 {
			return done, os.NewSyscallError("sendmsg", c.w.errno)
		}
		done += c.w.n
		fd = -1
	}
	return done, nil
}

// TryWrite writes what the socket takes now, which may be nothing.
func (c *Conn) TryWrite(p []byte) (int, error) {
	if len(p) == 0 || !c.wmu.TryLock() {
		return 0, nil
	}
	defer c.wmu.Unlock()
	n, err := c.trySend(p, -1)
	if errors.Is(err, unix.EAGAIN) {
		err = nil
	}
	return n, err
}

func (c *Conn) send(fd uintptr) bool {
	n, e := rawSend(fd, c.w.buf, c.w.fd)
	if e == unix.EAGAIN {
		return false
	}
	c.w.n, c.w.errno = n, e
	return true
}

// TrySend sends one record without waiting; a full socket is EAGAIN.
func (c *Conn) TrySend(p []byte, fd int) error {
	_, err := c.trySend(p, fd)
	return err
}

func (c *Conn) trySend(p []byte, fd int) (n int, err error) {
	errno := unix.EBADF
	err = c.rc.Control(func(s uintptr) { n, errno = rawSend(s, p, fd) })
	if err != nil {
		return 0, closedError(err)
	}
	if errno != 0 {
		return 0, os.NewSyscallError("sendmsg", errno)
	}
	return n, nil
}

// BoundWrites ends a Write with os.ErrDeadlineExceeded when the peer does not
// read for d. Call it before the first Write.
func (c *Conn) BoundWrites(d time.Duration) { c.bound = d }

func rawSend(s uintptr, p []byte, fd int) (int, syscall.Errno) {
	const flags = unix.MSG_DONTWAIT | unix.MSG_NOSIGNAL
	if fd < 0 {
		for {
			n, _, e := syscall.RawSyscall6(unix.SYS_SENDTO, s, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)), flags, 0, 0)
			if e != unix.EINTR {
				return int(n), e
			}
		}
	}
	iov := unix.Iovec{Base: &p[0]}
	iov.SetLen(len(p))
	m := unix.Msghdr{Iov: &iov}
	m.SetIovlen(1)
	var space [24]byte // CmsgSpace(4)
	h := (*unix.Cmsghdr)(unsafe.Pointer(&space[0]))
	h.Level, h.Type = unix.SOL_SOCKET, unix.SCM_RIGHTS
	h.SetLen(unix.CmsgLen(4))
	*(*int32)(unsafe.Pointer(&space[unix.CmsgLen(0)])) = int32(fd)
	m.Control = &space[0]
	m.SetControllen(len(space))
	for {
		n, _, e := syscall.RawSyscall(unix.SYS_SENDMSG, s, uintptr(unsafe.Pointer(&m)), flags)
		if e != unix.EINTR {
			return int(n), e
		}
	}
}

// Close ends the connection and closes descriptors that nobody took.
func (c *Conn) Close() error {
	err := c.f.Close()
	c.tmu.Lock()
	defer c.tmu.Unlock()
	c.closed = true // a read that is under way keeps nothing
	for _, fd := range c.taken {
		unix.Close(fd)
	}
	c.taken = nil
	return err
}

// Shutdown ends both directions: readers on both sides see the end. The
// descriptor stays until Close.
func (c *Conn) Shutdown() error {
	return c.rc.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_RDWR) })
}

// SyscallConn is for options of the socket.
func (c *Conn) SyscallConn() (syscall.RawConn, error) { return c.rc, nil }

// SetDeadline, SetReadDeadline and SetWriteDeadline are those of net.Conn.
func (c *Conn) SetDeadline(t time.Time) error { return c.f.SetDeadline(t) }

// SetReadDeadline bounds Read.
func (c *Conn) SetReadDeadline(t time.Time) error { return c.f.SetReadDeadline(t) }

// SetWriteDeadline bounds Write.
func (c *Conn) SetWriteDeadline(t time.Time) error { return c.f.SetWriteDeadline(t) }

// closedError: what is no deadline is the end of the descriptor.
func closedError(err error) error {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return net.ErrClosed
}

// LocalAddr and RemoteAddr make a Conn a net.Conn; a pair has no names.
func (c *Conn) LocalAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// RemoteAddr is as nameless.
func (c *Conn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }
