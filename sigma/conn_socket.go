package sigma

import (
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// socket is a connected descriptor and the way in which the run-time waits for
// it. Read and Write call their function until it says true, and wait in between
// until the descriptor may be ready, as those of every RawConn do.
type socket interface {
	syscall.RawConn
	SetReadDeadline(time.Time) error
	SetWriteDeadline(time.Time) error
	Close() error
}

// open takes a non-blocking descriptor over.
func open(fd int) (socket, error) {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err == nil && domain == unix.AF_UNIX && fd < quietBelow {
		if q, err := openQuiet(fd); err == nil {
			return q, nil
		}
	}
	return openPolled(fd)
}

// polled is a descriptor in the hands of the run-time's poller, which listens for
// everything.
type polled struct {
	syscall.RawConn
	f *os.File
}

// openPolled takes fd over, also where it fails.
func openPolled(fd int) (*polled, error) {
	f := os.NewFile(uintptr(fd), "sigma")
	rc, err := f.SyscallConn()
	if err == nil {
		err = f.SetDeadline(time.Time{}) // fails where the run-time cannot wait for it
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return &polled{rc, f}, nil
}

func (p *polled) SetReadDeadline(t time.Time) error  { return p.f.SetReadDeadline(t) }
func (p *polled) SetWriteDeadline(t time.Time) error { return p.f.SetWriteDeadline(t) }
func (p *polled) Close() error                       { return p.f.Close() }
