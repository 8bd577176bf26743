package rpc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"testing"
	"time"

	"sigmaos/api"
)

// tlsConfigs are a server's and a client's with certificates of one authority:
// what two nodes have.
func tlsConfigs(t testing.TB) (server, client *tls.Config) {
	t.Helper()
	pool := x509.NewCertPool()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "cluster"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	var cert [2]tls.Certificate
	for i, name := range []string{"node-b", "node-a"} {
		c := &x509.Certificate{SerialNumber: big.NewInt(int64(i + 2)), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name}, NotAfter: ca.NotAfter,
			ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
		der, err := x509.CreateCertificate(rand.Reader, c, ca, &key.PublicKey, key)
		if err != nil {
			t.Fatal(err)
		}
		cert[i] = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	}
	der, err := x509.CreateCertificate(rand.Reader, ca, ca, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(parsed)
	return &tls.Config{Certificates: cert[:1], ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool},
		&tls.Config{Certificates: cert[1:], RootCAs: pool, ServerName: "node-b"}
}

// tlsPeer is the name in the certificate of who has connected.
func tlsPeer(conn net.Conn) (any, error) {
	c, ok := conn.(*tls.Conn)
	if !ok {
		return nil, errors.New("no TLS")
	}
	if err := c.Handshake(); err != nil {
		return nil, err
	}
	return c.ConnectionState().PeerCertificates[0].Subject.CommonName, nil
}

// A link between two nodes: the server knows its peer by certificate, and who
// has none, or says nothing at all, gets nowhere and holds up nobody.
func TestNodeLinkOverTLS(t *testing.T) {
	server, client := tlsConfigs(t)
	lis, err := tls.Listen("tcp", "127.0.0.1:0", server)
	if err != nil {
		t.Fatal(err)
	}
	s := testServer(Options{Peer: tlsPeer, Heartbeat: 500 * time.Millisecond})
	s.Handle("who", func(_ context.Context, r *Request) ([]byte, error) { return []byte(r.Peer.(string)), nil })
	ctx, cancel := context.WithCancel(bg)
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, lis) }()

	mute, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	dial := func(config *tls.Config) *Client {
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		return NewClient(tls.Client(conn, config), Options{Heartbeat: 500 * time.Millisecond})
	}
	stranger := client.Clone()
	stranger.Certificates = nil
	c := dial(stranger)
	_, err = c.Call(bg, "who", nil)
	wantKind(t, "a caller without a certificate", err, api.Unavailable)
	c.Close()

	c = dial(client)
	if got, err := c.Call(bg, "who", nil); string(got) != "node-a" {
		t.Errorf("who: %q, %v", got, err)
	}
	if got, err := c.Call(bg, "echo", make([]byte, 1<<20-4)); len(got) != 1<<20-4 {
		t.Errorf("a long call: %d bytes, %v", len(got), err)
	}
	c.Close()
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
