package lasting

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// end has the kernel stop listening on the socket, as others can.
func end(t *testing.T, l *Listener) {
	t.Helper()
	rc, err := l.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := rc.Control(func(fd uintptr) { err = unix.Shutdown(int(fd), unix.SHUT_RD) }); err != nil {
		t.Fatal(err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// accepting closes what comes in until the listener is closed, and counts errors.
func accepting(l *Listener) (errs chan error, done chan struct{}) {
	errs, done = make(chan error, 1000), make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.AcceptTCP()
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil:
				errs <- err
				time.Sleep(time.Millisecond)
			default:
				c.Close()
			}
		}
	}()
	return errs, done
}

// reached dials until somebody answers.
func reached(t *testing.T, addr string) {
	t.Helper()
	var err error
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		var c net.Conn
		if c, err = net.Dial("tcp", addr); err == nil {
			c.Close()
			return
		}
	}
	t.Fatalf("nobody listens at %s any more: %v", addr, err)
}

func TestASocketThatEndedIsReplaced(t *testing.T) {
	l, err := Listen(net.ListenConfig{}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_, done := accepting(l)
	addr := l.Addr().String()
	for range 3 {
		reached(t, addr)
		end(t, l)
	}
	reached(t, addr)
	if l.Addr().String() != addr || l.Silent() != 0 {
		t.Errorf("it listens at %v instead of %s, silent for %v", l.Addr(), addr, l.Silent())
	}
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	<-done
}

// While somebody else has the address, callers are told why, and it is had again
// when it is free.
func TestAnAddressThatIsTaken(t *testing.T) {
	l, err := Listen(net.ListenConfig{}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end(t, l)
	other, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := l.AcceptTCP(); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("while another has the address: %v", err)
	}
	errs, done := accepting(l)
	if err := <-errs; !errors.Is(err, unix.EADDRINUSE) || l.Silent() == 0 {
		t.Errorf("while another has the address: %v, silent for %v", err, l.Silent())
	}
	other.Close()
	reached(t, l.Addr().String())
	for l.Silent() != 0 { // a dial may have met the other's last moment
		time.Sleep(time.Millisecond)
	}
	l.Close()
	<-done
}

func TestCloseEndsOneThatCannotListen(t *testing.T) {
	l, err := Listen(net.ListenConfig{}, "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	end(t, l)
	other, err := net.Listen("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	l.AcceptTCP()
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := l.AcceptTCP(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("AcceptTCP after Close = %v", err)
	}
}
