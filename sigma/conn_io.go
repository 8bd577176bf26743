package sigma

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// Small reads and writes of a Conn are made raw, without telling the Go
// scheduler: the descriptor is non-blocking, so that they take no longer than the
// copy. Two procs that talk wake each other in the middle of a write, and the
// kernel may run the woken one at once (it does between cgroups); a scheduler
// that was told takes the writer for blocked, gives its work to another thread,
// and wakes a third to watch. Measured with 64 bytes there and back between two
// procs: 41 → 22 µs on one CPU, 31 → 20 µs on two.
//
// Above rawLimit the copy itself is long enough to be told.
const rawLimit = 64 << 10

// transfer is one direction of a connection. The callback that makes the system
// calls is there from the start: a closure for each would be an allocation more.
type transfer struct {
	mu    sync.Mutex // one at a time; held while waiting, as the file's own lock is
	buf   []byte     // what is left to move
	n     int        // what was moved
	errno syscall.Errno
	try   func(fd uintptr) bool // false: wait until the descriptor is ready
}

func (t *transfer) read(fd uintptr) bool {
	if len(t.buf) == 0 {
		return true
	}
	n, errno := move(syscall.SYS_READ, fd, t.buf)
	if errno == syscall.EAGAIN {
		return false
	}
	t.n, t.errno = n, errno
	return true
}

// write goes on until everything is written, in one call of the file's lock: two
// Writes at once are not mixed.
func (t *transfer) write(fd uintptr) bool {
	for len(t.buf) > 0 {
		n, errno := move(syscall.SYS_WRITE, fd, t.buf)
		if errno == syscall.EAGAIN {
			return false
		}
		if errno != 0 {
			t.errno = errno
			return true
		}
		t.n += n
		t.buf = t.buf[n:]
	}
	return true
}

// move is one read or write of the kernel's.
func move(call, fd uintptr, p []byte) (int, syscall.Errno) {
	if !rawAllowed || len(p) > rawLimit {
		return told(call, fd, p)
	}
	for {
		n, _, errno := syscall.RawSyscall(call, fd, uintptr(unsafe.Pointer(&p[0])), uintptr(len(p)))
		switch errno {
		case 0:
			return int(n), 0
		case syscall.EINTR:
		default:
			return 0, errno
		}
	}
}

// told is move where the Go scheduler, and the race detector, are to know of it.
func told(call, fd uintptr, p []byte) (int, syscall.Errno) {
	how := syscall.Read
	if call == syscall.SYS_WRITE {
		how = syscall.Write
	}
	for {
		n, err := how(int(fd), p)
		switch err := err.(type) {
		case nil:
			return n, 0
		case syscall.Errno:
			if err != syscall.EINTR {
				return 0, err
			}
		}
	}
}

// run moves p by way of wait, the socket's Read or Write.
func (t *transfer) run(wait func(func(uintptr) bool) error, p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.buf, t.n, t.errno = p, 0, 0
	err := wait(t.try)
	t.buf = nil
	switch se := (*os.SyscallError)(nil); {
	case err == nil && t.errno != 0:
		return t.n, t.errno
	case err == nil, errors.Is(err, os.ErrDeadlineExceeded), errors.As(err, &se):
		return t.n, err
	}
	return t.n, os.ErrClosed // RawConn's own word for it is not exported
}

func (c *Conn) read(p []byte) (int, error) {
	n, err := c.in.run(c.s.Read, p)
	if n == 0 && err == nil && len(p) > 0 {
		err = io.EOF
	}
	return n, err
}

func (c *Conn) write(p []byte) (int, error) { return c.out.run(c.s.Write, p) }
