package port

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// endSocket has the kernel stop listening on the port, as `ss -K` does.
func endSocket(t *testing.T, p *Port) {
	t.Helper()
	rc, err := p.lis.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var end error
	if err := rc.Control(func(fd uintptr) { end = unix.Shutdown(int(fd), unix.SHUT_RD) }); err != nil || end != nil {
		t.Fatal(err, end)
	}
}

func TestAPortWhoseSocketEndsListensAgain(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	handle(t, p, "svc/1", echo)
	addr := p.Addr().String()
	old, err := p.Dial(t.Context(), addr, "n1", "svc/1")
	if err != nil {
		t.Fatal(err)
	}
	defer old.Close()
	endSocket(t, p)
	await(t, "it can be dialled again", func() bool {
		conn, err := p.Dial(t.Context(), addr, "n1", "svc/1")
		if err != nil {
			return false
		}
		defer conn.Close()
		roundTrip(t, conn)
		return true
	})
	roundTrip(t, old) // what was connected stays
}

func TestAPortWhoseAddressIsTakenSaysSo(t *testing.T) {
	c := newCluster(t, "c1")
	lost := make(chan error, 10)
	var other net.Listener
	p := listen(t, c.node("n1", 1), func(cfg *Config) {
		cfg.LostAfter, cfg.Lost = 100*time.Millisecond, func(err error) { lost <- err }
	})
	for other == nil { // the port may be quicker
		endSocket(t, p)
		other, _ = net.Listen("tcp", p.Addr().String())
	}
	defer other.Close()
	select {
	case err := <-lost:
		wantKind(t, "Lost", err, api.Unavailable)
	case <-time.After(patience):
		t.Fatal("nobody was told")
	}
	time.Sleep(4 * shedPause)
	if len(lost) > 0 {
		t.Errorf("it was told again: %v", <-lost)
	}
}
