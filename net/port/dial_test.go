package port

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/pki"
)

func TestDialKnowsBothSides(t *testing.T) {
	c := newCluster(t, "c1")
	p1, p2 := listen(t, c.node("n1", 1), nil), listen(t, c.node("n2", 2), nil)
	peers := make(chan pki.Peer, 2)
	handle(t, p1, "svc/1", func(ctx context.Context, c *Conn) {
		peers <- c.Peer()
		echo(ctx, c)
	})
	for _, node := range []string{"n1", ""} {
		conn, err := p2.Dial(t.Context(), p1.Addr().String(), node, "svc/1")
		if err != nil {
			t.Fatalf("Dial to %q: %v", node, err)
		}
		roundTrip(t, conn)
		if got, want := conn.(*Conn).Peer(), (pki.Peer{Name: "n1", Cluster: "c1", Number: 1}); got != want {
			t.Errorf("Dial to %q found %v, want %v", node, got, want)
		}
		if got, want := <-peers, (pki.Peer{Name: "n2", Cluster: "c1", Number: 2}); got != want {
			t.Errorf("the handler saw %v, want %v", got, want)
		}
		conn.Close()
	}
	await(t, "the port forgets connections that ended", func() bool { s := p1.Stats(); return s.Open == 0 && s.Pending == 0 })
}

func TestSocketOptions(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	got := make(chan [2]int, 1)
	options := func(c syscall.Conn) (v [2]int) {
		rc, err := c.SyscallConn()
		if err != nil {
			t.Error(err)
			return v
		}
		rc.Control(func(fd uintptr) {
			v[0], _ = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_NODELAY)
			v[1], _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_KEEPALIVE)
		})
		return v
	}
	handle(t, p, "svc/1", func(_ context.Context, c *Conn) {
		defer c.Close()
		got <- options(c.NetConn().(*rewound))
	})
	conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if in, out := <-got, options(conn.(*Conn).NetConn().(*net.TCPConn)); in != [2]int{1, 1} || out != [2]int{1, 1} {
		t.Errorf("TCP_NODELAY and SO_KEEPALIVE: accepted %v, dialled %v; want all on", in, out)
	}
}

// deaf accepts connections and does nothing, or says one thing.
func deaf(t *testing.T, say string) string {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			io.WriteString(c, say)
			t.Cleanup(func() { c.Close() })
		}
	}()
	t.Cleanup(func() { lis.Close(); <-done })
	return lis.Addr().String()
}

func TestDialRefusals(t *testing.T) {
	c, foreign := newCluster(t, "c1"), newCluster(t, "c2")
	year := 400 * 24 * time.Hour
	p := listen(t, c.node("n1", 1), nil)
	handle(t, p, "svc/1", echo)
	pForeign := listen(t, foreign.node("n1", 1), nil)
	handle(t, pForeign, "svc/1", echo)
	ca := clusterAt(t, "c1", time.Now().Add(-year))
	expired, fresh := ca.nodeAt("n3", 3, time.Now().Add(-year)), ca.node("n4", 4)
	pFresh, pExpired := listen(t, fresh, nil), listen(t, expired, nil)
	handle(t, pFresh, "svc/1", echo)
	handle(t, pExpired, "svc/1", echo)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	n2 := c.node("n2", 2)
	for _, tc := range []struct {
		name       string
		id         *pki.Identity
		addr, node string
		alpn       string
		kind       api.Kind
		text       string
	}{
		{"wrong node", n2, p.Addr().String(), "n9", "svc/1", api.Denied, "at this address is node n1"},
		{"no such service", n2, p.Addr().String(), "n1", "svc/2", api.Unavailable, "does not serve svc/2"},
		{"no service named", n2, p.Addr().String(), "", "", api.Invalid, "no service"},
		{"server of another cluster", n2, pForeign.Addr().String(), "n1", "svc/1", api.Denied, "signed by no CA of cluster c1"},
		{"server that expired", fresh, pExpired.Addr().String(), "n3", "svc/1", api.Denied, "renew it"},
		{"we expired", expired, pFresh.Addr().String(), "n4", "svc/1", api.Denied, "refuses our certificate"},
		{"we have not joined", stranger(t, clock.Real()), p.Addr().String(), "n1", "svc/1", api.Unavailable, "has to join first"},
		{"nobody listens", n2, closed.Addr().String(), "n1", "svc/1", api.Unavailable, "refused"},
		{"not TLS", n2, deaf(t, "SSH-2.0-OpenSSH\r\n"), "n1", "svc/1", api.Unavailable, "port of a sigmad"},
		{"bad address", n2, "127.0.0.1", "n1", "svc/1", api.Unavailable, "missing port"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := Dial(t.Context(), tc.id, tc.addr, tc.node, tc.alpn)
			if err == nil {
				conn.Close()
			}
			wantKind(t, "Dial", err, tc.kind)
			if err == nil || !strings.Contains(err.Error(), tc.text) || !strings.Contains(err.Error(), tc.addr) || !strings.Contains(err.Error(), tc.node) {
				t.Errorf("Dial: %v; want node, address and %q in the text", err, tc.text)
			}
		})
	}
	// The other cluster's node cannot get in either, even if it does not care whom
	// it talks to.
	cfg := foreign.node("n2", 2).Client("", "svc/1")
	cfg.VerifyConnection = nil
	conn, err := tls.Dial("tcp", p.Addr().String(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil || !strings.Contains(err.Error(), "bad certificate") {
		t.Errorf("a foreign certificate read %d bytes, %v; want a bad-certificate alert", n, err)
	}
}

func TestDialEndsWithItsContext(t *testing.T) {
	id, addr := newCluster(t, "c1").node("n1", 1), deaf(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	_, err := Dial(ctx, id, addr, "n2", "svc/1")
	wantKind(t, "Dial with a deadline to one that is silent", err, api.Deadline)
	ctx, cancel = context.WithCancel(t.Context())
	time.AfterFunc(30*time.Millisecond, cancel)
	_, err = Dial(ctx, id, addr, "n2", "svc/1")
	wantKind(t, "Dial that is cancelled", err, api.Canceled)
}

// A peer that reads nothing does not hold up who closes the connection.
func TestCloseDoesNotWaitForAPeerThatHangs(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	handle(t, p, "deaf/1", func(ctx context.Context, c *Conn) {
		defer c.Close()
		<-ctx.Done()
	})
	conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "deaf/1")
	if err != nil {
		t.Fatal(err)
	}
	raw := conn.(*Conn).NetConn().(*net.TCPConn)
	for _, size := range []int{1 << 20, 1} { // until there is no room for a byte
		for err := error(nil); err == nil; {
			raw.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			_, err = raw.Write(make([]byte, size))
		}
	}
	raw.SetWriteDeadline(time.Time{})
	closed := make(chan struct{})
	go func() {
		conn.Close()
		close(closed)
	}()
	select {
	case <-closed:
	case <-time.After(4 * time.Second): // TLS alone takes 5
		t.Error("Close waits for the peer")
		<-closed
	}
}

func TestHandleAndItsEnd(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	stop, err := p.Handle("svc/1", echo)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"svc/1", JoinALPN, ""} {
		_, err := p.Handle(name, echo)
		wantKind(t, "Handle "+name, err, api.Exists)
	}
	live, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Close()
	stop()
	_, err = p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	wantKind(t, "Dial after the service stopped", err, api.Unavailable)
	roundTrip(t, live) // its handler still has it
	if _, err := p.Handle("svc/1", echo); err != nil {
		t.Errorf("Handle after stop: %v", err)
	}
}

func TestListener(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	lis, err := p.Listener("svc/1")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		for {
			c, err := lis.Accept()
			if err != nil {
				done <- err
				return
			}
			go echo(t.Context(), c.(*Conn))
		}
	}()
	conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", "svc/1")
	if err != nil {
		t.Fatal(err)
	}
	roundTrip(t, conn)
	lis.Close()
	lis.Close()
	if err := <-done; err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("Accept after Close: %v", err)
	}
	roundTrip(t, conn)
	conn.Close()
	lis, err = p.Listener("svc/1")
	if err != nil {
		t.Fatal(err)
	}
	p.Close()
	if _, err := lis.Accept(); err == nil {
		t.Error("Accept goes on after the port is closed")
	}
}

// The setup handler gets the socket itself, with one byte read and no other,
// although more were there.
func TestSetupHandlerFindsEveryByteButTheFirst(t *testing.T) {
	p := listen(t, newCluster(t, "c1").node("n1", 1), nil)
	payload := strings.Repeat("setup and then payload ", 1000)
	got := make(chan string, 1)
	if _, err := p.HandleSetup(func(_ context.Context, c *net.TCPConn) {
		defer c.Close()
		c.SetDeadline(time.Time{})
		f, err := c.File() // a descriptor as a proc would get it
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			t.Error(err)
		}
		got <- string(b)
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := p.HandleSetup(func(context.Context, *net.TCPConn) {}); api.KindOf(err) != api.Exists {
		t.Errorf("a second setup handler: %v", err)
	}
	c := raw(t, p, "")
	if _, err := io.WriteString(c, "\xCF"+payload); err != nil {
		t.Fatal(err)
	}
	c.(*net.TCPConn).CloseWrite()
	if b := <-got; b != payload {
		t.Errorf("the handler read %d bytes, want the %d after the first: %.20q …", len(b), len(payload), b)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	c := newCluster(t, "c1")
	p := listen(t, c.node("n1", 1), nil)
	started := make(chan string, 3)
	ended := make(chan string, 3)
	handle(t, p, "reads/1", func(_ context.Context, c *Conn) {
		defer c.Close()
		started <- "reader"
		io.Copy(io.Discard, c) // looks at no ctx
		ended <- "reader"
	})
	handle(t, p, "waits/1", func(ctx context.Context, c *Conn) {
		defer c.Close()
		started <- "waiter"
		<-ctx.Done()
		ended <- "waiter"
	})
	if _, err := p.HandleSetup(func(_ context.Context, c *net.TCPConn) {
		defer c.Close()
		started <- "setup"
		io.Copy(io.Discard, c)
		ended <- "setup"
	}); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for _, alpn := range []string{"reads/1", "waits/1"} {
		conn, err := p.Dial(t.Context(), p.Addr().String(), "n1", alpn)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conns = append(conns, conn)
	}
	silent, setup := raw(t, p, ""), raw(t, p, "")
	setup.Write([]byte{FirstSetup})
	for range 3 {
		<-started
	}
	await(t, "the silent one is counted", func() bool { return p.Stats().Pending == 2 })
	if err := p.Close(); err != nil {
		t.Errorf("Close: %v", err)
	}
	if n := len(ended); n != 3 {
		t.Errorf("%d of 3 handlers had returned when Close did", n)
	}
	for _, c := range append(conns, silent, setup) {
		awaitClosed(t, "after Close", c)
	}
	if err := p.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	if _, err := net.DialTimeout("tcp", p.Addr().String(), patience); err == nil {
		t.Error("somebody still listens after Close")
	}
}

func TestListenRefusals(t *testing.T) {
	id := newCluster(t, "c1").node("n1", 1)
	p := listen(t, id, nil)
	for _, c := range []struct {
		name string
		edit func(*Config)
		want api.Kind
	}{
		{"port in use", func(c *Config) { c.Addr = p.Addr().String() }, api.Unavailable},
		{"no address", func(c *Config) { c.Addr = "nonsense" }, api.Unavailable},
		{"negative bound", func(c *Config) { c.Pending = -1 }, api.Invalid},
		{"negative patience", func(c *Config) { c.Patience = -1 }, api.Invalid},
		{"no identity", func(c *Config) { c.Identity = nil }, api.Internal},
	} {
		cfg := Config{Addr: "127.0.0.1:0", Identity: id, Logger: quietLog()}
		c.edit(&cfg)
		p, err := Listen(cfg)
		if err == nil {
			p.Close()
		}
		wantKind(t, "Listen, "+c.name, err, c.want)
	}
}
