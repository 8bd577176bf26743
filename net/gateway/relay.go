package gateway

import (
	"context"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// patience is how long a relay waits for a client whose proc has said all.
type patience struct {
	quiet time.Duration // between the client's bytes
	// linger is how long it may still send after the proc is gone: a connection
	// closed at once with bytes unread would take from the client the last that
	// it was sent.
	linger time.Duration
}

// client is a connection from outside.
type client interface {
	net.Conn
	CloseWrite() error
}

// relay carries bytes between a client and a proc until both have said all, or
// one is gone; each may end its own direction first. head came from the client
// already. relay does not close proc.
func relay(ctx context.Context, c client, head []byte, proc *os.File, p patience) {
	stop := context.AfterFunc(ctx, func() { c.SetDeadline(time.Unix(1, 0)); proc.Close() })
	defer stop()
	r := &relaying{c: c, proc: proc, patience: p}
	done := make(chan struct{})
	go func() {
		defer close(done)
		r.up(head)
	}()
	_, err := io.Copy(c, proc)
	c.SetWriteDeadline(time.Now().Add(p.linger)) // for TLS, which says goodbye
	c.CloseWrite()
	r.note(true, err != nil || gone(proc))
	<-done
}

// relaying is one relay.
type relaying struct {
	c    client
	proc *os.File
	patience

	mu   sync.Mutex
	said bool // the proc has said all: the client's time is bounded
	gone bool // it reads no more either: that time began when this was seen
}

// up carries what the client sends. What a proc does not take any more is thrown
// away.
func (r *relaying) up(head []byte) {
	_, lost := r.proc.Write(head)
	buf := make([]byte, 32<<10)
	for {
		n, err := r.c.Read(buf)
		if n > 0 && lost == nil {
			if _, lost = r.proc.Write(buf[:n]); lost != nil {
				r.note(false, true)
			}
		}
		switch {
		case err == io.EOF:
			shutdown(r.proc)
			return
		case err != nil: // the client is gone: so is its connection with the proc
			r.proc.Close()
			return
		}
		r.extend()
	}
}

// note has what is known of the proc and bounds what the client may still do.
func (r *relaying) note(said, gone bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := r.said && r.gone
	r.said, r.gone = r.said || said, r.gone || gone
	switch {
	case before || !r.said:
	case r.gone:
		r.c.SetReadDeadline(time.Now().Add(r.linger))
	default:
		r.c.SetReadDeadline(time.Now().Add(r.quiet))
	}
}

// extend gives a client that goes on its time again.
func (r *relaying) extend() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.said && !r.gone {
		r.c.SetReadDeadline(time.Now().Add(r.quiet))
	}
}

// gone reports that the peer of a socket has closed it, not only its direction.
func gone(f *os.File) (is bool) {
	if rc, err := f.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) {
			p := []unix.PollFd{{Fd: int32(fd)}}
			unix.Poll(p, 0)
			is = p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
		})
	}
	return is
}

// shutdown tells a proc that its client has said all.
func shutdown(f *os.File) {
	if rc, err := f.SyscallConn(); err == nil {
		rc.Control(func(fd uintptr) { unix.Shutdown(int(fd), unix.SHUT_WR) })
	}
}
