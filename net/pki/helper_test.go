package pki

import (
	"crypto/x509"
	"io"
	"net"
	"testing"
	"time"

	"crypto/tls"

	"sigmaos/api"
	"sigmaos/internal/clock"
)

var start = time.Date(2027, 3, 1, 12, 0, 0, 0, time.UTC)

func authority(t testing.TB, cluster string, now time.Time) *Authority {
	t.Helper()
	a, err := CreateAuthority(cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func trustOf(t testing.TB, as ...*Authority) *Trust {
	t.Helper()
	var certs []*x509.Certificate
	for _, a := range as {
		certs = append(certs, a.Certificate())
	}
	trust, err := NewTrust(certs...)
	if err != nil {
		t.Fatal(err)
	}
	return trust
}

func identity(t testing.TB, clk clock.Clock) *Identity {
	t.Helper()
	i, err := LoadOrCreate(t.TempDir(), clk)
	if err != nil {
		t.Fatal(err)
	}
	return i
}

// install signs the identity's CSR and installs it with the trust.
func install(t testing.TB, i *Identity, a *Authority, name string, number uint16, trust *Trust) {
	t.Helper()
	csr, err := i.CSR()
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Sign(csr, name, number, i.clk.Now())
	if err != nil {
		t.Fatal(err)
	}
	if err := i.Install(chain, trust.Marshal()); err != nil {
		t.Fatal(err)
	}
}

func member(t testing.TB, clk clock.Clock, a *Authority, name string, number uint16) *Identity {
	t.Helper()
	i := identity(t, clk)
	install(t, i, a, name, number, trustOf(t, a))
	return i
}

func wantKind(t *testing.T, call string, err error, want api.Kind) {
	t.Helper()
	if got := api.KindOf(err); got != want {
		t.Errorf("%s: %v (kind %q), want kind %q", call, err, got, want)
	}
}

// link is an established connection and what each side made of the other.
type link struct {
	client, server    *tls.Conn
	clientErr, srvErr error
}

// connect runs a handshake on loopback, until both sides are sure.
func connect(t *testing.T, server, client *tls.Config) link {
	t.Helper()
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	var l link
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := lis.Accept()
		if err != nil {
			l.srvErr = err
			return
		}
		l.server = tls.Server(c, server)
		l.server.SetDeadline(time.Now().Add(10 * time.Second))
		if l.srvErr = l.server.Handshake(); l.srvErr == nil {
			_, l.srvErr = l.server.Write([]byte{1})
		}
		if l.srvErr != nil {
			c.Close()
		}
	}()
	c, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	l.client = tls.Client(c, client)
	l.client.SetDeadline(time.Now().Add(10 * time.Second))
	if l.clientErr = l.client.Handshake(); l.clientErr == nil {
		_, l.clientErr = io.ReadFull(l.client, make([]byte, 1))
	}
	if l.clientErr != nil {
		c.Close()
	}
	<-done
	t.Cleanup(func() {
		c.Close()
		if l.server != nil {
			l.server.NetConn().Close()
		}
	})
	return l
}

// echo shows that a connection still carries bytes both ways.
func (l link) echo(t *testing.T, when string) {
	t.Helper()
	for _, d := range []struct{ from, to *tls.Conn }{{l.client, l.server}, {l.server, l.client}} {
		d.from.SetDeadline(time.Now().Add(10 * time.Second))
		d.to.SetDeadline(time.Now().Add(10 * time.Second))
		if _, err := d.from.Write([]byte("x")); err != nil {
			t.Fatalf("write %s: %v", when, err)
		}
		if _, err := io.ReadFull(d.to, make([]byte, 1)); err != nil {
			t.Fatalf("read %s: %v", when, err)
		}
	}
}
