package dialproxy

import (
	"context"

	"golang.org/x/sys/unix"
)

const (
	readyPairs = 4
	// pairBuffer is what an end holds of what it sent and the other has not read:
	// twice this, as the kernel counts. With the kernel's own 208 KiB two procs on
	// one CPU change places so often that a stream of large writes is a quarter
	// slower. What is held counts as memory of the proc that sent it.
	pairBuffer = 512 << 10
)

// pairs keeps a few connections within the node ready. Making one takes the
// kernel 10 to 25 µs, which a Dial need not wait for.
type pairs struct {
	ready chan [2]int
	used  chan struct{} // one was taken
}

func newPairs() *pairs {
	return &pairs{ready: make(chan [2]int, readyPairs), used: make(chan struct{}, 1)}
}

// take returns both ends of a connection; they are non-blocking.
func (s *pairs) take() (a, b int, err error) {
	var p [2]int
	select {
	case p = <-s.ready:
	default:
		p, err = pair()
	}
	select { // after it was taken, else fill might look before
	case s.used <- struct{}{}:
	default:
	}
	return p[0], p[1], err
}

// fill replaces what is taken until ctx ends, and closes what is left. Nothing
// is made before the first use, nor after a failure until the next.
func (s *pairs) fill(ctx context.Context) {
	for {
		select {
		case <-s.used:
		case <-ctx.Done():
			s.drain()
			return
		}
		for len(s.ready) < cap(s.ready) {
			p, err := pair()
			if err != nil {
				break
			}
			s.ready <- p
		}
	}
}

func (s *pairs) drain() {
	for {
		select {
		case p := <-s.ready:
			unix.Close(p[0])
			unix.Close(p[1])
		default:
			return
		}
	}
}

// pair makes a connection within the node; both ends are non-blocking.
func pair() (p [2]int, err error) {
	p, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return [2]int{-1, -1}, outOf(err)
	}
	for _, fd := range p {
		if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, pairBuffer) != nil {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUF, pairBuffer) // not root: as much as it may
		}
	}
	return p, nil
}
