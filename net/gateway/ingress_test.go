package gateway

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/sigma"
)

// ingress opens an address for load-balancers at 127.0.1.0/24.
func (w *world) ingress(target api.Target, change func(*IngressConfig)) *Ingress {
	w.t.Helper()
	cfg := IngressConfig{
		Addr: "127.0.0.1:0", From: []netip.Prefix{netip.MustParsePrefix("127.0.1.0/24")}, Target: target, Endpoints: w.proxy, Bring: w.proxy.Bring,
		Caller: func() (api.Caller, error) { return api.Caller{Realm: "r1", Node: "n1"}, nil }, Logger: slog.New(slog.DiscardHandler),
	}
	if change != nil {
		change(&cfg)
	}
	i, err := ListenIngress(cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { i.Close() })
	return i
}

// deliver connects as a load-balancer at an address and sends b.
func deliver(t *testing.T, i *Ingress, from string, b []byte) *net.TCPConn {
	t.Helper()
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", i.Addr())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(20 * time.Second))
	c.Write(b)
	return c.(*net.TCPConn)
}

const v4 = "21 11 000c cb007109 05060708 0050 01bb" // from 203.0.113.9:80

// The proc sees the client's address; what follows the header in the same
// packet is its first bytes; and the socket is its own: sigmad may stop.
func TestIngressHandsTheConnectionOver(t *testing.T) {
	w := newWorld(t, nil)
	peers := make(chan api.Peer, 10)
	ep := w.proc("r1", func(c *sigma.Conn, p api.Peer) { peers <- p; echo(c, p) })
	i := w.ingress(api.Target{Endpoint: ep}, nil)
	payload := bytes.Repeat([]byte("payload "), 1000)
	for name, head := range map[string][]byte{
		"203.0.113.9:80":     header(t, v4),
		"[2001:db8::1]:8080": header(t, "21 21 0024 20010db8000000000000000000000001 20010db8000000000000000000000002 1f90 01bb"),
		"203.0.113.10:81":    header(t, "21 11 0013 cb00710a 05060708 0051 01bb 04000400000000"), // with an extension
	} {
		c := deliver(t, i, "127.0.1.5", append(head, payload...))
		c.CloseWrite()
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, payload) {
			t.Errorf("%s: %d of %d bytes came back, %v", name, len(got), len(payload), err)
		}
		if p := <-peers; p.Address != name || p.Realm != "r1" || p.Proc != "" {
			t.Errorf("the proc sees %+v, want a client at %s", p, name)
		}
	}

	c := deliver(t, i, "127.0.1.5", header(t, v4))
	<-peers
	if err := i.Close(); err != nil {
		t.Fatal(err)
	}
	w.Gateway.Close()
	w.proxy.Close()
	io.WriteString(c, "still there")
	c.CloseWrite()
	if b, err := io.ReadAll(c); err != nil || string(b) != "still there" {
		t.Errorf("after sigmad has stopped: %q, %v", b, err)
	}
}

// A header in pieces, with the payload behind the last: not a byte is lost.
func TestIngressLosesNoByteWhereverTheHeaderIsCut(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", echo)
	i := w.ingress(api.Target{Endpoint: ep}, nil)
	all := append(header(t, v4), "payload"...)
	for cut := 1; cut < len(all); cut += 3 {
		c := deliver(t, i, "127.0.1.5", all[:cut])
		time.Sleep(time.Millisecond)
		c.Write(all[cut:])
		c.CloseWrite()
		if b, err := io.ReadAll(c); err != nil || string(b) != "payload" {
			t.Errorf("cut after %d bytes: %q, %v", cut, b, err)
		}
	}
}

func TestIngressServesNobodyElse(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", func(_ *sigma.Conn, p api.Peer) { t.Errorf("a connection reached the proc: %+v", p) })
	other := w.proc("r2", func(_ *sigma.Conn, p api.Peer) { t.Errorf("a connection reached another realm's proc: %+v", p) })
	closed, _ := api.NewEndpoint(1, 1)
	leaktest.Settle()
	before := open(t)
	for name, tt := range map[string]struct {
		from   string
		target api.Endpoint
		b      []byte
	}{
		"a stranger's address":    {"127.0.2.5", ep, header(t, v4)},
		"the machine's own":       {"127.0.0.1", ep, header(t, v4)},
		"no header":               {"127.0.1.5", ep, []byte("GET / HTTP/1.1\r\nHost: a.b\r\n\r\n")},
		"version 1":               {"127.0.1.5", ep, []byte("PROXY TCP4 1.2.3.4 5.6.7.8 80 443\r\n")},
		"a health check":          {"127.0.1.5", ep, header(t, "20 00 0000")},
		"UDP":                     {"127.0.1.5", ep, header(t, "21 12 000c 01020304 05060708 0050 01bb")},
		"a body that is too long": {"127.0.1.5", ep, header(t, "21 11 ffff")},
		"half a header":           {"127.0.1.5", ep, header(t, v4)[:20]},
		"silence":                 {"127.0.1.5", ep, nil},
		"a closed endpoint":       {"127.0.1.5", closed, header(t, v4)},
		"another realm's":         {"127.0.1.5", other, header(t, v4)},
	} {
		t.Run(name, func(t *testing.T) {
			i := w.ingress(api.Target{Endpoint: tt.target}, func(c *IngressConfig) { c.HeaderTime = 200 * time.Millisecond })
			defer i.Close()
			c := deliver(t, i, tt.from, tt.b)
			if b, err := io.ReadAll(c); len(b) > 0 {
				t.Errorf("it is answered %q, %v", b, err)
			}
			c.Close()
		})
	}
	await(t, before)
}

func TestIngressOfARealmThatIsGone(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", func(*sigma.Conn, api.Peer) { t.Error("a connection reached the proc") })
	i := w.ingress(api.Target{Endpoint: ep}, func(c *IngressConfig) {
		c.Caller = func() (api.Caller, error) { return api.Caller{}, api.E(api.NotFound, "realm", "r1", "no such realm") }
	})
	if b, _ := io.ReadAll(deliver(t, i, "127.0.1.5", header(t, v4))); len(b) != 0 {
		t.Errorf("it is answered %q", b)
	}
}

// Connections without a header are bounded; one that has been handed over counts
// no more.
func TestIngressIsBounded(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", echo)
	i := w.ingress(api.Target{Endpoint: ep}, func(c *IngressConfig) { c.Open = 3; c.HeaderTime = 2 * time.Second })
	say := func(c *net.TCPConn) error {
		io.WriteString(c, "x")
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	for n := range 10 {
		if err := say(deliver(t, i, "127.0.1.5", header(t, v4))); err != nil {
			t.Fatalf("connection %d: %v", n, err)
		}
	}
	var silent []*net.TCPConn
	for range 3 {
		silent = append(silent, deliver(t, i, "127.0.1.5", nil))
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		n := i.open.Count()
		if n == 3 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d connections are counted, want 3", n)
		}
	}
	if err := say(deliver(t, i, "127.0.1.5", header(t, v4))); err == nil {
		t.Error("a fourth is served")
	}
	for _, c := range silent {
		io.Copy(io.Discard, c)
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if err := say(deliver(t, i, "127.0.1.5", header(t, v4))); err == nil {
			break
		} else if time.Now().After(end) {
			t.Fatalf("after the silent ones are gone: %v", err)
		}
	}
}

// Where the listener is on another node, the connection is relayed.
func TestIngressRelaysToAnotherNode(t *testing.T) {
	w := newWorld(t, nil)
	ep := w.proc("r1", func(c *sigma.Conn, p api.Peer) {
		fmt.Fprintf(c, "from %s: ", p.Address)
		echo(c, p)
	})
	i := w.ingress(api.Target{Endpoint: ep}, func(c *IngressConfig) {
		c.Bring = func(_ context.Context, _ api.Caller, _ api.Target, fd int) error {
			closeFD(fd)
			return api.E(api.Unsupported, "bring", "", "the listener is on another node")
		}
	})
	c := deliver(t, i, "127.0.1.5", append(header(t, v4), "early "...))
	go func() {
		io.Copy(c, stream(1, big))
		c.CloseWrite()
	}()
	head := make([]byte, len("from 203.0.113.9:80: early "))
	if _, err := io.ReadFull(c, head); err != nil || string(head) != "from 203.0.113.9:80: early " {
		t.Errorf("%q, %v", head, err)
	}
	if s, n, err := sum(c); err != nil || n != big || s != mustSum(stream(1, big)) {
		t.Errorf("%d of %d bytes came back, %v, or other ones", n, big, err)
	}
}

func TestParseIngress(t *testing.T) {
	for in, want := range map[string]string{
		"127.0.0.1:80=shop:/svc/front": "127.0.0.1:80 shop {Endpoint: External: Path:/svc/front Service: Node:}",
		"[::]:80=shop:ep1-x":           "[::]:80 shop {Endpoint:ep1-x External: Path: Service: Node:}",
		"":                             "error", "127.0.0.1:80": "error", "=shop:/x": "error", "127.0.0.1:80=shop": "error", "127.0.0.1:80=:/x": "error", "127.0.0.1:80=shop:": "error",
	} {
		addr, realm, target, err := ParseIngress(in)
		got := fmt.Sprintf("%s %s %+v", addr, realm, target)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("ParseIngress(%q) = %s, want %s", in, got, want)
		}
	}
}
