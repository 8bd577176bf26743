package port

import (
	"errors"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

const (
	shedMost  = 256 // connections closed in one go
	shedPause = 50 * time.Millisecond
)

// openSpare takes a descriptor that is given up when there is no other.
func openSpare() *os.File {
	f, err := os.Open(os.DevNull)
	if err != nil {
		return nil
	}
	return f
}

// accept runs until the listener is closed. Whatever fails, it neither spins
// nor ends.
func (p *Port) accept() {
	told := false
	defer p.wg.Done()
	defer func() { p.spare.Close() }() // on nil it does nothing
	for {
		c, err := p.lis.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			p.log.Warn("port: cannot accept; connections are refused until it goes again", "err", err)
			if d := p.lis.Silent(); d > p.cfg.LostAfter && !told {
				told = true
				p.cfg.Lost(api.E(api.Unavailable, "listen", p.Addr().String(), "the socket was ended by somebody else, and for %v there was none to be had in its place: %v; see who has the address (ss -ltnp), then start sigmad again", d.Round(time.Second), err))
			}
			p.shed()
			continue
		}
		p.admit(c)
	}
}

func (p *Port) admit(c *net.TCPConn) {
	c.SetDeadline(time.Now().Add(p.cfg.Patience))
	t := p.gate.enter(c)
	if t == nil {
		c.Close()
		return
	}
	p.wg.Add(1)
	go func() {
		defer p.wg.Done()
		p.serve(t)
	}()
}

// shed tells those who wait now that there is no place, using the spare
// descriptor to accept and close them. Who comes in the time after that waits
// for the next look, which may find descriptors again.
func (p *Port) shed() {
	if p.spare != nil {
		p.spare.Close()
		if rc, err := p.lis.SyscallConn(); err == nil {
			rc.Control(p.shedWaiting)
		}
	}
	p.spare = openSpare()
	pause := time.NewTimer(shedPause)
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-p.ctx.Done():
	}
}

// shedWaiting accepts and closes until nobody waits, or somebody was quicker to
// take the descriptor.
func (p *Port) shedWaiting(lis uintptr) {
	for range shedMost {
		fd, _, err := unix.Accept4(int(lis), unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
		if err != nil {
			return
		}
		p.gate.countShed()
		unix.Close(fd)
	}
}
