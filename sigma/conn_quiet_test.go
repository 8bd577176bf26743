package sigma

import (
	"errors"
	"net"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
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
		if err := q.listen(epollOf(t, q), unix.EPOLL_CTL_MOD); err != nil {
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

func epollOf(t *testing.T, q *quiet) (ep int) {
	t.Helper()
	if err := q.in.Control(func(fd uintptr) { ep = int(fd) }); err != nil {
		t.Fatal(err)
	}
	return ep
}

func TestReaderSleepsWhileThePeerReads(t *testing.T) {
	if n := looks(t, false); n != 0 {
		t.Errorf("it looked %d times before there was an answer", n)
	}
	if n := looks(t, true); n == 0 {
		t.Error("it was not woken early, though that is asked for")
	}
}

// Only a proc's first descriptors are doubled, so that who has many connections
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
