package sigma

import (
	"os"
	"runtime"
	"sync"
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
// So the run-time is given descriptors that tell of less: epoll instances with the
// socket in them. One listens for what can be read; the other, for room to write,
// listens only while a write waits.
//
// Where the peer has a CPU of its own the needless wake-up may be a gain: it is on
// its way while the peer still works. [guess] finds out.
type quiet struct {
	fd   int     // the socket
	in   *polled // an epoll instance with fd in it, for the reader
	out  *polled // another, for the writer
	drop runtime.Cleanup

	// One reader at a time. The callbacks are made once, not for each call.
	rmu    sync.Mutex
	read   func(uintptr) bool
	look   func(uintptr) bool
	waited bool // in this Read
	guess  guess

	wmu    sync.Mutex // one writer at a time
	write  func(uintptr) bool
	put    func(uintptr) bool
	armed  bool // out listens for room
	disarm func(uintptr)

	mu     sync.Mutex // one Close at a time
	closed bool
}

// quietBelow is the number from which on sockets are not quiet: each
// takes two descriptors more, and who has many connections needs them.
const quietBelow = 128

// openQuiet takes fd over, unless it fails. It makes all descriptors that there will
// be: a write that found none left could not say how much of it was written.
func openQuiet(fd int) (*quiet, error) {
	q := &quiet{fd: fd, guess: newGuess()}
	var err error
	if q.in, err = openEpoll(fd, q.wakesReader()); err != nil {
		return nil, err
	}
	if q.out, err = openEpoll(fd, 0); err != nil {
		q.in.Close()
		return nil, err
	}
	q.look, q.put = q.tryRead, q.tryWrite
	q.disarm = func(ep uintptr) { listen(unix.EPOLL_CTL_MOD, int(ep), fd, 0) }
	q.drop = runtime.AddCleanup(q, closeFD, fd) // as an os.File has one
	return q, nil
}

// openEpoll makes an epoll instance that listens for events of fd.
func openEpoll(fd int, events uint32) (*polled, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	if _, err = unix.FcntlInt(uintptr(ep), unix.F_SETFL, unix.O_RDWR|unix.O_NONBLOCK); err != nil {
		err = os.NewSyscallError("fcntl", err)
	} else {
		err = listen(unix.EPOLL_CTL_ADD, ep, fd, events)
	}
	if err != nil {
		unix.Close(ep)
		return nil, err
	}
	return openPolled(ep)
}

// listen tells an epoll instance what of fd to wake for; the end of the connection
// always does.
func listen(how, ep, fd int, events uint32) error {
	ev := unix.EpollEvent{Events: events}
	return os.NewSyscallError("epoll_ctl", unix.EpollCtl(ep, how, fd, &ev))
}

func (q *quiet) wakesReader() uint32 {
	if q.guess.early {
		return unix.EPOLLIN | unix.EPOLLRDHUP | unix.EPOLLOUT
	}
	return unix.EPOLLIN | unix.EPOLLRDHUP
}

func (q *quiet) Read(f func(uintptr) bool) error {
	q.rmu.Lock()
	defer q.rmu.Unlock()
	q.read, q.waited = f, false
	err := q.in.Read(q.look)
	q.read = nil
	return err
}

// tryRead is called before waiting and after each wake-up.
func (q *quiet) tryRead(ep uintptr) bool {
	done := q.read(uintptr(q.fd))
	if q.guess.next(done, q.waited) {
		listen(unix.EPOLL_CTL_MOD, int(ep), q.fd, q.wakesReader()) // cannot fail; would leave it as it is
	}
	q.waited = true
	return done
}

func (q *quiet) Write(f func(uintptr) bool) error {
	q.wmu.Lock()
	defer q.wmu.Unlock()
	q.write = f
	err := q.out.Read(q.put)
	q.write = nil
	if q.armed {
		q.armed = false
		q.out.Control(q.disarm) // fails once it is closed
	}
	return err
}

// tryWrite is called before waiting and after each wake-up. Room that came before
// out listened may not wake, so it looks once more.
func (q *quiet) tryWrite(ep uintptr) bool {
	if q.write(uintptr(q.fd)) {
		return true
	}
	if q.armed {
		return false
	}
	q.armed = true
	listen(unix.EPOLL_CTL_MOD, int(ep), q.fd, unix.EPOLLOUT) // cannot fail: fd is in it
	return q.write(uintptr(q.fd))
}

func (q *quiet) Control(f func(uintptr)) error {
	err := q.in.Control(func(uintptr) { f(uintptr(q.fd)) })
	runtime.KeepAlive(q) // its cleanup closes fd
	return err
}

func (q *quiet) SetReadDeadline(t time.Time) error { return q.in.SetReadDeadline(t) }

// SetWriteDeadline sets out's for reading: that it can be read is that there is room.
func (q *quiet) SetWriteDeadline(t time.Time) error { return q.out.SetReadDeadline(t) }

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
	if e := q.out.Close(); err == nil {
		err = e
	}
	if e := unix.Close(q.fd); err == nil && e != nil {
		err = os.NewSyscallError("close", e)
	}
	return err
}

var _ syscall.RawConn = (*quiet)(nil)
