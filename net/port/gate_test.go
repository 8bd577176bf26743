package port

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"
)

// hello records the bytes that a node sends first.
func hello(t *testing.T, c *cluster) []byte {
	t.Helper()
	a, b := net.Pipe()
	defer b.Close()
	go func() {
		tls.Client(a, c.node("n9", 9).Client("n1", "svc/1")).Handshake()
	}()
	buf := make([]byte, 4096)
	b.SetReadDeadline(time.Now().Add(patience))
	n, err := b.Read(buf)
	if err != nil || buf[0] != FirstTLS {
		t.Fatalf("a hello of %d bytes, %v", n, err)
	}
	return buf[:n]
}

// Garbage, half a frame and silence each cost one connection for a bounded time,
// and meanwhile nodes get in.
func TestPROBES_N13_GarbageHalfFramesAndSilence(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), func(cfg *Config) { cfg.Patience = 2 * time.Second }) // the node that gets in has it, too
	handle(t, p, "svc/1", echo)
	// Handlers of setup connections see the deadline too.
	if _, err := p.HandleSetup(func(_ context.Context, c *net.TCPConn) {
		defer c.Close()
		io.ReadFull(c, make([]byte, 100))
	}); err != nil {
		t.Fatal(err)
	}
	h := hello(t, c)
	type sender struct {
		name string
		send []byte
	}
	senders := []sender{
		{"silence", nil}, {"HTTP", []byte("GET / HTTP/1.1\r\n\r\n")}, {"zeros", make([]byte, 1000)}, {"byte 0xFF", []byte{0xFF}},
		{"half a hello", h[:len(h)/2]}, {"one byte of TLS", h[:1]}, {"TLS that is none", append([]byte{FirstTLS}, make([]byte, 500)...)},
		{"record of 64 KiB", []byte{FirstTLS, 3, 1, 0xff, 0xff, 1, 2, 3}}, {"hello and then nothing", h}, {"half a setup", []byte{FirstSetup, 1, 2}},
	}
	conns := make(map[string]net.Conn)
	for _, s := range senders {
		conns[s.name] = raw(t, p, "")
		conns[s.name].Write(s.send)
	}
	conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	if err != nil {
		t.Fatalf("a node cannot get in beside them: %v", err)
	}
	roundTrip(t, conn)
	conn.Close()
	for name, c := range conns {
		awaitClosed(t, name, c)
	}
	await(t, "all places are free again", func() bool { return p.Stats().Pending == 0 })
}

// One who sends a byte at a time makes progress, but no more time.
func TestPROBES_N13_SlowLoris(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), func(cfg *Config) { cfg.Patience = 200 * time.Millisecond })
	handle(t, p, "svc/1", echo)
	conn := raw(t, p, "")
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		awaitClosed(t, "slow loris", conn)
	}()
	for _, b := range hello(t, c) {
		if _, err := conn.Write([]byte{b}); err != nil {
			break
		}
		select {
		case <-closed:
			return
		case <-time.After(20 * time.Millisecond): // 1,500 bytes would take 30 s
		}
	}
	<-closed
}

func TestFloodsAreBoundedAndNodesGetIn(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), func(cfg *Config) { cfg.Pending, cfg.PendingPerSource, cfg.Patience = 12, 4, time.Minute })
	handle(t, p, "svc/1", echo)
	var one []net.Conn
	for range 10 {
		one = append(one, raw(t, p, "127.0.0.2"))
	}
	await(t, "10 are counted", func() bool { return p.Stats().Accepted == 10 })
	for i, c := range one[:6] {
		awaitClosed(t, fmt.Sprintf("connection %d of one source with 4 places", i), c)
	}
	if s := p.Stats(); s.Pending != 4 || s.Evicted != 6 {
		t.Errorf("after 10 from one source with 4 places: %v", s)
	}
	for i := range 40 {
		raw(t, p, fmt.Sprintf("127.0.1.%d", 1+i))
	}
	await(t, "50 are counted", func() bool { return p.Stats().Accepted == 50 })
	if s := p.Stats(); s.Pending != 12 || s.Evicted != 38 {
		t.Errorf("after 50 from many sources with 12 places: %v", s)
	}
	for range 3 { // all places are taken by the silent
		conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
		if err != nil {
			t.Fatalf("a node cannot get in beside a flood: %v", err)
		}
		roundTrip(t, conn)
		defer conn.Close()
	}
	if s := p.Stats(); s.Pending > 12 || s.Open != 3 {
		t.Errorf("with 3 nodes connected: %v", s)
	}
}

func TestOpenConnectionsAreBounded(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), func(cfg *Config) { cfg.Open = 2 })
	handle(t, p, "svc/1", echo)
	var conns []net.Conn
	for range 2 {
		conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	_, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	wantKind(t, "Dial to a port that is full", err, "unavailable")
	roundTrip(t, conns[0])
	conns[1].Close()
	await(t, "a place is free", func() bool { return p.Stats().Open == 1 })
	conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	if err != nil {
		t.Fatalf("Dial after one has gone: %v", err)
	}
	conn.Close()
}

func TestSourcesOfIPv6AreWholeNetworks(t *testing.T) {
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"10.0.0.1", "10.0.0.1", true}, {"10.0.0.1", "10.0.0.2", false}, {"::ffff:10.0.0.1", "10.0.0.1", true},
		{"2001:db8::1", "2001:db8::ffff:2", true}, {"2001:db8::1", "2001:db8:0:1::1", false},
	} {
		a, b := sourceOf(&net.TCPAddr{IP: net.ParseIP(c.a), Port: 1}), sourceOf(&net.TCPAddr{IP: net.ParseIP(c.b), Port: 2})
		if (a == b) != c.same {
			t.Errorf("%s is %v and %s is %v; want the same: %v", c.a, a, c.b, b, c.same)
		}
	}
}

// Out of descriptors, the port closes who comes, does not spin, and serves again
// when there are some.
func TestFAULTS_F26_OutOfDescriptors(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	handle(t, p, "svc/1", echo)
	live, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	low := limit
	low.Cur = 100
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &low); err != nil {
		t.Fatal(err)
	}
	defer syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	var hogs []*os.File
	free := func() {
		for _, f := range hogs {
			f.Close()
		}
		hogs = nil
	}
	defer free()
	for {
		f, err := os.Open(os.DevNull)
		if errors.Is(err, syscall.EMFILE) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		hogs = append(hogs, f)
	}
	hogs[0].Close() // the one that the client takes
	hogs = hogs[1:]
	for range 3 {
		client, err := net.DialTimeout("tcp", p.Addr().String(), patience)
		if err != nil {
			t.Fatal(err)
		}
		awaitClosed(t, "a client that there was no descriptor for", client)
		client.Close()
	}
	if s := p.Stats(); s.Shed != 3 || s.Accepted != 1 {
		t.Errorf("after three that could not be taken: %v", s)
	}
	roundTrip(t, live)
	free()
	// The last shedding may still be under way.
	await(t, "a node gets in when there are descriptors again", func() bool {
		conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
		if err != nil {
			return false
		}
		roundTrip(t, conn)
		conn.Close()
		return true
	})
}
