package port

import (
	"context"
	"crypto/ecdsa"
	"crypto/x509"
	"io"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/leaktest"
	"sigmaos/net/pki"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 10 * time.Second // of a test: far beyond anything that should happen

// cluster makes nodes that trust one CA.
type cluster struct {
	t  testing.TB
	ca *pki.Authority
}

func newCluster(t testing.TB, id string) *cluster { return clusterAt(t, id, time.Now()) }

func clusterAt(t testing.TB, id string, at time.Time) *cluster {
	t.Helper()
	ca, err := pki.CreateAuthority(id, at)
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{t, ca}
}

func (c *cluster) trust() *pki.Trust {
	trust, err := pki.NewTrust(c.ca.Certificate())
	if err != nil {
		c.t.Fatal(err)
	}
	return trust
}

// node makes an identity that is good from now on.
func (c *cluster) node(name string, number uint16) *pki.Identity {
	return c.nodeAt(name, number, time.Now())
}

func (c *cluster) nodeAt(name string, number uint16, at time.Time) *pki.Identity {
	c.t.Helper()
	clk := clock.NewFake(at)
	id := stranger(c.t, clk)
	csr, err := id.CSR()
	if err != nil {
		c.t.Fatal(err)
	}
	chain, err := c.ca.Sign(csr, name, number, at)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := id.Install(chain, c.trust().Marshal()); err != nil {
		c.t.Fatal(err)
	}
	clk.Advance(time.Since(at))
	return id
}

func stranger(t testing.TB, clk clock.Clock) *pki.Identity {
	t.Helper()
	id, err := pki.LoadOrCreate(t.TempDir(), clk)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func quietLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// listen opens a port that is closed at the end of the test.
func listen(t testing.TB, id *pki.Identity, edit func(*Config)) *Port {
	t.Helper()
	cfg := Config{Addr: "127.0.0.1:0", Identity: id, Logger: quietLog()}
	if edit != nil {
		edit(&cfg)
	}
	p, err := Listen(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

func handle(t testing.TB, p *Port, alpn string, h Handler) {
	t.Helper()
	if _, err := p.Handle(alpn, h); err != nil {
		t.Fatal(err)
	}
}

// echo is a handler that sends back what it reads.
func echo(_ context.Context, c *Conn) {
	defer c.Close()
	io.Copy(c, c)
}

// roundTrip shows that a connection to echo works.
func roundTrip(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetDeadline(time.Now().Add(patience))
	if _, err := c.Write([]byte("ping")); err != nil {
		t.Fatalf("write: %v", err)
	}
	b := make([]byte, 4)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "ping" {
		t.Fatalf("read: %q %v, want ping", b, err)
	}
}

// raw connects without TLS, from the given loopback address or any.
func raw(t testing.TB, p *Port, from string) net.Conn {
	t.Helper()
	d := net.Dialer{Timeout: patience}
	if from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(from)}
	}
	c, err := d.Dial("tcp", p.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// awaitClosed returns when the other side has ended the connection.
func awaitClosed(t testing.TB, what string, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(patience))
	n, err := io.Copy(io.Discard, c)
	if e, ok := err.(net.Error); ok && e.Timeout() {
		t.Errorf("%s: still open after %v (%d bytes were read)", what, patience, n)
	}
}

// await polls a condition of another goroutine's.
func await(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func wantKind(t testing.TB, call string, err error, want api.Kind) {
	t.Helper()
	if got := api.KindOf(err); got != want {
		t.Errorf("%s: %v (kind %q), want kind %q", call, err, got, want)
	}
}

// testAdmitter is the roles' side of admission, kept in a map.
type testAdmitter struct {
	ca     *pki.Authority
	trust  []byte
	mu     sync.Mutex
	keys   map[string]*ecdsa.PublicKey // by name
	called int
	extra  []byte
	hang   bool
}

func (a *testAdmitter) Admit(ctx context.Context, r JoinRequest) (JoinAnswer, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.called++
	if a.hang {
		<-ctx.Done()
		return JoinAnswer{}, api.E(api.Deadline, "admit", r.Name, "no quorum")
	}
	csr, err := x509.ParseCertificateRequest(r.CSR)
	if err != nil {
		return JoinAnswer{}, err
	}
	key := csr.PublicKey.(*ecdsa.PublicKey)
	if old := a.keys[r.Name]; old != nil && !key.Equal(old) {
		return JoinAnswer{}, api.E(api.Exists, "admit", r.Name, "another node has the name; choose one with --node")
	}
	a.keys[r.Name] = key
	number := uint16(100 + len(a.keys))
	chain, err := a.ca.Sign(r.CSR, r.Name, number, time.Now())
	return JoinAnswer{
		Cluster: a.ca.Cluster(), Number: number, Chain: chain, Trust: a.trust, Extra: a.extra,
		Members: []Member{{Name: "n1", Number: 1, Addr: "127.0.0.1:7471"}, {Name: "n2", Number: 2, Addr: "[::1]:7472"}},
	}, err
}
