package sigma

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/leaktest"
)

// looks counts how often a waiting reader of an end looks at it between the peer's
// taking what was written and its answer.
func looks(t *testing.T, early bool) int {
	t.Helper()
	a, b := ends(t, socketpair)
	q, ok := a.s.(*quiet)
	if !ok {
		t.Fatalf("an end of a socketpair is a %T", a.s)
	}
	if early {
		q.guess = guess{early: true, score: maxScore}
		if err := listen(unix.EPOLL_CTL_MOD, numberOf(t, q.in), q.fd, q.wakesReader()); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := a.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	var n atomic.Int32
	waiting, done := make(chan bool), make(chan error)
	go func() {
		var msg [16]byte
		done <- q.Read(func(fd uintptr) bool {
			if n.Add(1) == 1 {
				close(waiting)
			}
			_, err := unix.Read(int(fd), msg[:])
			return err != unix.EAGAIN
		})
	}()
	<-waiting
	time.Sleep(20 * time.Millisecond) // it sleeps by now, most likely
	before := n.Load()
	var msg [16]byte
	if _, err := b.Read(msg[:]); err != nil {
		t.Fatal(err)
	}
	if end := time.Now().Add(10 * time.Second); early {
		for n.Load() == before && time.Now().Before(end) {
			time.Sleep(time.Millisecond)
		}
	} else {
		time.Sleep(20 * time.Millisecond)
	}
	asleep := n.Load() - before
	if _, err := b.Write([]byte("answer")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	return int(asleep)
}

// numberOf is the descriptor that the run-time's poller has.
func numberOf(t *testing.T, p *polled) (n int) {
	t.Helper()
	if err := p.Control(func(fd uintptr) { n = int(fd) }); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestReaderSleepsWhileThePeerReads(t *testing.T) {
	if n := looks(t, false); n != 0 {
		t.Errorf("it looked %d times before there was an answer", n)
	}
	if n := looks(t, true); n == 0 {
		t.Error("it was not woken early, though that is asked for")
	}
}

// What a connection did before, a deadline for its writes (every frame of the rpc and
// 9P packages has one) or a write that had to wait, does not make the run-time listen
// for room again.
func TestNothingWakesForWhatThePeerReads(t *testing.T) {
	for _, tt := range []struct {
		name   string
		before func(t *testing.T, a, b *Conn)
	}{
		{"new", func(*testing.T, *Conn, *Conn) {}},
		{"after a deadline", func(t *testing.T, a, _ *Conn) {
			if err := a.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
				t.Fatal(err)
			}
		}},
		{"after a write that waited", waitedWrite},
		{"after a write that timed out", func(t *testing.T, a, b *Conn) {
			a.SetWriteDeadline(time.Now().Add(time.Millisecond))
			n, err := a.Write(make([]byte, 8<<20))
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Fatalf("Write = %v, want its deadline exceeded", err)
			}
			if _, err := io.CopyN(io.Discard, b, int64(n)); err != nil {
				t.Fatal(err)
			}
			a.SetWriteDeadline(time.Time{})
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, b := ends(t, socketpair)
			tt.before(t, a, b)
			wakes := pollerOf(t, a)
			if _, err := a.Write([]byte("question")); err != nil {
				t.Fatal(err)
			}
			wakes(0)
			if _, err := io.CopyN(io.Discard, b, 8); err != nil {
				t.Fatal(err)
			}
			if n := wakes(20); n != 0 {
				t.Errorf("it was woken %d times before there was an answer", n)
			}
			if _, err := b.Write([]byte("answer")); err != nil {
				t.Fatal(err)
			}
			if n := wakes(10_000); n != 1 {
				t.Errorf("it was woken %d times by the answer, want once", n)
			}
		})
	}
}

// pollerOf is one that does as the run-time's: it listens on the same descriptors for
// the same. wakes waits so many milliseconds for wake-ups and counts them.
func pollerOf(t *testing.T, c *Conn) (wakes func(ms int) int) {
	t.Helper()
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(ep) })
	q := c.s.(*quiet)
	for _, p := range []*polled{q.in, q.out} {
		fd := numberOf(t, p)
		ev := unix.EpollEvent{Fd: int32(fd), Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET}
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
			t.Fatal(err)
		}
	}
	return func(ms int) int {
		var ev [4]unix.EpollEvent
		for {
			if n, err := unix.EpollWait(ep, ev[:], ms); err != unix.EINTR {
				if err != nil {
					t.Error(err)
				}
				return n
			}
		}
	}
}

// waitedWrite makes a write of a wait for b.
func waitedWrite(t *testing.T, a, b *Conn) {
	t.Helper()
	const large = 8 << 20 // more than the kernel takes
	done := make(chan error, 1)
	go func() {
		_, err := a.Write(make([]byte, large))
		if err != nil {
			a.Close() // b waits no longer
		}
		done <- err
	}()
	if _, err := io.CopyN(io.Discard, b, large); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

// A connection that was had needs no descriptor later, not for a deadline and not for
// a write that waits; where there are not enough to be quiet it is polled as others.
func TestAConnectionNeedsNoMoreDescriptors(t *testing.T) {
	warm, _ := ends(t, socketpair) // the run-time's poller has descriptors of its own
	warm.Close()
	for free := range 4 {
		t.Run(fmt.Sprint(free, " are left"), func(t *testing.T) {
			fds := [2]int{}
			var err error
			if fds[0], fds[1], err = socketpair(); err != nil {
				t.Fatal(err)
			}
			b, err := newConn(fds[1], Peer{}, Peer{})
			if err != nil {
				t.Fatal(err)
			}
			defer b.Close()
			leaktest.Settle()
			before := descriptors(t)
			leave(t, free)
			a, err := newConn(fds[0], Peer{}, Peer{})
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			_, quiet := a.s.(*quiet)
			if free >= 2 && !quiet {
				t.Errorf("it is a %T", a.s)
			}
			leave(t, 0)
			if err := a.SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
				t.Errorf("SetWriteDeadline = %v", err)
			}
			waitedWrite(t, a, b)
			enough(t)
			if after := descriptors(t); !quiet && after > before {
				t.Errorf("%d descriptors before, %d after it could not be quiet", before, after)
			}
		})
	}
}

// leave lowers the limit of descriptors until the test ends, so that as many as are
// asked for can be had.
func leave(t *testing.T, free int) {
	t.Helper()
	enough(t)
	var had []int
	for range free + 1 {
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		had = append(had, fd)
	}
	for _, fd := range had {
		unix.Close(fd)
	}
	low := noFile
	low.Cur = uint64(had[free])
	t.Cleanup(func() { enough(t) })
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
}

// noFile is the limit of descriptors that the test came with.
var noFile = func() (l unix.Rlimit) {
	unix.Getrlimit(unix.RLIMIT_NOFILE, &l)
	return l
}()

func enough(t *testing.T) {
	t.Helper()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &noFile); err != nil {
		t.Fatal(err)
	}
}

// Only a proc's first connections take three descriptors, so that who has many connections
// can have nearly as many as descriptors.
func TestLateSocketsTakeOneDescriptor(t *testing.T) {
	a, b, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(b)
	high, err := unix.FcntlInt(uintptr(a), unix.F_DUPFD_CLOEXEC, quietBelow)
	unix.Close(a)
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConn(high, Peer{}, Peer{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, ok := c.s.(*polled); !ok {
		t.Errorf("descriptor %d is a %T, want what the run-time polls itself", high, c.s)
	}
}

// A Conn gives back all descriptors, whatever it came to need.
func TestCloseGivesBackEveryDescriptor(t *testing.T) {
	warm, _ := ends(t, socketpair) // the run-time's poller has descriptors of its own
	warm.Close()
	leaktest.Settle()
	before := descriptors(t)
	for range 20 {
		a, b := ends(t, socketpair)
		a.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := a.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("Write after its deadline = %v, want it exceeded", err)
		}
		a.Close()
		b.Close()
		if err := a.Close(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("a second Close = %v, want net.ErrClosed", err)
		}
		if err := a.SetDeadline(time.Time{}); err == nil {
			t.Error("SetDeadline after Close = nil")
		}
	}
	if after := descriptors(t); after > before {
		t.Errorf("%d descriptors before, %d after", before, after)
	}
}
