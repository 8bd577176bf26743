// Package lasting listens for as long as its owner wants it to.
//
// A TCP socket can stop listening though nobody closed it: an administrator's
// `ss -K` and a firewall's clean-up abort sockets, and a process that was given the
// descriptor may shut it down. The descriptor stays, accept answers EINVAL for ever,
// and whoever dials is refused. A [Listener] looks, whenever accept fails, whether
// the kernel still has it as listening, and takes another socket at the same address
// where it has not.
package lasting

import (
	"context"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a TCP listener. Close it.
type Listener struct {
	config net.ListenConfig
	addr   *net.TCPAddr // that it has, with the port that the kernel chose

	mu     sync.Mutex
	lis    *net.TCPListener
	closed bool
	dead   time.Time // since when no socket listens; zero while one does
}

// Listen listens at an address, now and whenever its socket ends.
func Listen(config net.ListenConfig, addr string) (*Listener, error) {
	lis, err := config.Listen(context.Background(), "tcp", addr)
	if err != nil {
		return nil, err
	}
	return &Listener{config: config, addr: lis.Addr().(*net.TCPAddr), lis: lis.(*net.TCPListener)}, nil
}

// Addr is where it listens.
func (l *Listener) Addr() net.Addr { return l.addr }

// Accept is AcceptTCP.
func (l *Listener) Accept() (net.Conn, error) {
	c, err := l.AcceptTCP()
	if err != nil {
		return nil, err
	}
	return c, nil
}

// AcceptTCP waits for the next connection. Errors but net.ErrClosed pass: the
// caller rests for a moment and calls again.
func (l *Listener) AcceptTCP() (*net.TCPConn, error) {
	lis, err := l.socket()
	if err != nil {
		return nil, err
	}
	c, err := lis.AcceptTCP()
	if err == nil || listens(lis) {
		return c, err
	}
	if _, again := l.again(lis); again != nil {
		return nil, again
	}
	return nil, fmt.Errorf("the socket was ended by somebody else, and another listens now: %w", err)
}

// socket is the one that listens; it is made anew if the last one ended.
func (l *Listener) socket() (*net.TCPListener, error) {
	l.mu.Lock()
	lis, dead := l.lis, !l.dead.IsZero()
	l.mu.Unlock()
	if dead {
		return l.again(lis)
	}
	return lis, nil
}

// again takes another socket in the place of one that ended.
func (l *Listener) again(ended *net.TCPListener) (*net.TCPListener, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.closed:
		return nil, net.ErrClosed
	case l.lis != ended: // another caller was quicker
		return l.lis, nil
	case l.dead.IsZero():
		l.dead = time.Now()
		ended.Close()
	}
	lis, err := l.config.Listen(context.Background(), "tcp", l.addr.String())
	if err != nil {
		return nil, err
	}
	l.lis, l.dead = lis.(*net.TCPListener), time.Time{}
	return l.lis, nil
}

// Silent is for how long nobody could connect because no socket was to be had in
// the place of one that ended; 0 while one listens.
func (l *Listener) Silent() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.dead.IsZero() {
		return 0
	}
	return time.Since(l.dead)
}

// SyscallConn is that of the socket that listens now.
func (l *Listener) SyscallConn() (syscall.RawConn, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.lis.SyscallConn()
}

// Close ends it; AcceptTCP returns net.ErrClosed from then on.
func (l *Listener) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	err := l.lis.Close()
	if !l.dead.IsZero() { // it was closed when it ended
		return nil
	}
	return err
}

// listens asks the kernel. Where it does not say, the socket passes for one that
// does.
func listens(lis *net.TCPListener) bool {
	rc, err := lis.SyscallConn()
	if err != nil {
		return true
	}
	on := 1
	err = rc.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_ACCEPTCONN); err == nil {
			on = n
		}
	})
	return err != nil || on != 0
}
