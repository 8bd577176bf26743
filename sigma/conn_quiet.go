package sigma

import (
	"os"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// quiet is an end of a socketpair whose reader is not woken for what the peer
// takes out. The run-time's poller listens for room to write on every descriptor
// that it is given, and a Unix socket tells of room whenever its peer reads: a
// proc that waits for an answer is woken, for nothing, the moment its question is
// read, and on the same CPU takes that from the peer in the middle of its work.
// That made four to five switches of a round trip that needs two.
//
// So the run-time is given a descriptor that listens for what can be read alone,
// an epoll instance with the socket in it. A second one, for room to write, comes
// with the first write that has to wait or has a deadline.
//
// Where the peer has a CPU of its own the needless wake-up may be a gain: it is on
// its way while the peer still works. [guess] finds out.
type quiet struct {
	fd   int     // the socket
	in   *polled // an epoll instance with fd in it
	drop runtime.Cleanup

	// One reader at a time. The callbacks are made once, not for each call.
	rmu    sync.Mutex
	read   func(uintptr) bool
	look   func(uintptr) bool
	waited bool // in this Read
	guess  guess

	wmu   sync.Mutex // one writer at a time
	write func(uintptr) bool
	wrote bool
	once  func(uintptr)

	mu     sync.Mutex // orders making out and closing
	closed bool
	out    atomic.Pointer[polled] // a duplicate of fd, nil until it is needed
}

// quietBelow is the number from which on sockets are not quiet: it takes a
// descriptor more, and who has many connections needs each.
const quietBelow = 128

// openQuiet takes fd over, unless it fails.
func openQuiet(fd int) (*quiet, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	q := &quiet{fd: fd, guess: newGuess()}
	if err := unix.SetNonblock(ep, true); err != nil {
		unix.Close(ep)
		return nil, os.NewSyscallError("fcntl", err)
	}
	if err := q.listen(ep, unix.EPOLL_CTL_ADD); err != nil {
		unix.Close(ep)
		return nil, err
	}
	if q.in, err = openPolled(ep); err != nil {
		return nil, err
	}
	q.look, q.once = q.try, func(uintptr) { q.wrote = q.write(uintptr(q.fd)) }
	q.drop = runtime.AddCleanup(q, closeFD, fd) // as an os.File has one
	return q, nil
}

// listen tells the epoll instance what to wake the reader for.
func (q *quiet) listen(ep, how int) error {
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLRDHUP}
	if q.guess.early {
		ev.Events |= unix.EPOLLOUT
	}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(ep, how, q.fd, &ev))
}

func (q *quiet) Read(f func(uintptr) bool) error {
	q.rmu.Lock()
	defer q.rmu.Unlock()
	q.read, q.waited = f, false
	err := q.in.Read(q.look)
	q.read = nil
	return err
}

// try is called before waiting and after each wake-up.
func (q *quiet) try(ep uintptr) bool {
	done := q.read(uintptr(q.fd))
	if q.guess.next(done, q.waited) {
		q.listen(int(ep), unix.EPOLL_CTL_MOD) // cannot fail; would leave it as it is
	}
	q.waited = true
	return done
}

func (q *quiet) Write(f func(uintptr) bool) error {
	q.wmu.Lock()
	defer q.wmu.Unlock()
	out := q.out.Load()
	if out == nil {
		q.write, q.wrote = f, false
		err := q.in.Control(q.once)
		q.write = nil
		if err != nil || q.wrote {
			return err
		}
		if out, err = q.writer(); err != nil {
			return err
		}
	}
	return out.Write(f)
}

// writer is what a writer can wait for.
func (q *quiet) writer() (*polled, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return nil, os.ErrClosed
	}
	if out := q.out.Load(); out != nil {
		return out, nil
	}
	fd, err := unix.FcntlInt(uintptr(q.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	out, err := openPolled(fd)
	if err != nil {
		return nil, err
	}
	q.out.Store(out)
	return out, nil
}

func (q *quiet) Control(f func(uintptr)) error {
	return q.in.Control(func(uintptr) { f(uintptr(q.fd)) })
}

func (q *quiet) SetReadDeadline(t time.Time) error { return q.in.SetReadDeadline(t) }

func (q *quiet) SetWriteDeadline(t time.Time) error {
	out := q.out.Load()
	if out == nil {
		if t.IsZero() { // there was none
			return q.in.Control(func(uintptr) {}) // fails once it is closed
		}
		var err error
		if out, err = q.writer(); err != nil {
			return err
		}
	}
	return out.SetWriteDeadline(t)
}

// Close returns when nobody uses the descriptors any more.
func (q *quiet) Close() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return os.ErrClosed
	}
	q.closed = true
	q.drop.Stop()
	err := q.in.Close()
	if out := q.out.Load(); out != nil {
		out.Close()
	}
	if e := unix.Close(q.fd); err == nil && e != nil {
		err = os.NewSyscallError("close", e)
	}
	return err
}

var _ syscall.RawConn = (*quiet)(nil)
