package sigma

import (
	"net"
	"testing"

	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"
)

// pair makes a connection of each kind that a proc can be handed.
func socketpair() (a, b int, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	return fds[0], fds[1], err
}

func tcp() (a, b int, err error) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return -1, -1, err
	}
	defer lis.Close()
	c, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		return -1, -1, err
	}
	s, err := lis.Accept()
	if err != nil {
		return -1, -1, err
	}
	return descriptor(c), descriptor(s), nil
}

func descriptor(c net.Conn) (fd int) {
	defer c.Close()
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		return -1
	}
	rc.Control(func(s uintptr) { fd, _ = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	return fd
}

func TestConnIsANetConn(t *testing.T) {
	for name, fds := range map[string]func() (int, int, error){"same node": socketpair, "other node": tcp} {
		t.Run(name, func(t *testing.T) {
			nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
				a, b, err := fds()
				if err != nil {
					return nil, nil, nil, err
				}
				ca, err := newConn(a, Peer{}, Peer{Proc: "b"})
				if err != nil {
					return nil, nil, nil, err
				}
				cb, err := newConn(b, Peer{}, Peer{Proc: "a"})
				return ca, cb, func() { ca.Close(); cb.Close() }, err
			})
		})
	}
}

func TestConnKnowsItsPeer(t *testing.T) {
	a, b, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	c, err := newConn(a, Peer{Endpoint: "ep1-x"}, Peer{Realm: "r", Proc: "p", Address: "1.2.3.4:5"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if p, ok := PeerOf(c); !ok || p.Proc != "p" || c.RemoteAddr().String() != "1.2.3.4:5" || c.LocalAddr().String() != "ep1-x" || c.RemoteAddr().Network() != "sigma" {
		t.Errorf("peer %+v, remote %v, local %v", p, c.RemoteAddr(), c.LocalAddr())
	}
	if _, ok := any(c).(*net.TCPConn); ok {
		t.Error("it is a TCPConn")
	}
	unix.Close(b)
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("a write to a closed peer succeeds")
	}
	if _, err := PeerOf(&net.TCPConn{}); err {
		t.Error("a foreign connection has a sigma peer")
	}
}
