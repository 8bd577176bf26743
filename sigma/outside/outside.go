// Package outside is sigma for programs that are no procs: it reaches a realm
// through a cluster's gateway, with a realm's token.
//
// A token file (sigmactl realm token) says where the gateway is, whom to expect
// there, and has the token. [Connect] gives a sigma.Client as a proc has one;
// what it dials is relayed by the gateway.
package outside

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/sigma"
)

// alpn is the protocol of a gateway's TLS.
const alpn = "sigma/1"

const connectTime = 15 * time.Second

// File is a token file.
type File struct {
	Version int    `json:"version"`
	Cluster string `json:"cluster"`
	Gateway string `json:"gateway"` // host:port
	CA      string `json:"ca"`      // PEM: whom the gateway's certificate must be from
	Realm   string `json:"realm"`   // its name, for people
	User    string `json:"user,omitempty"`
	Token   string `json:"token"`
}

// ReadFile reads a token file, which nobody but its owner may be able to read.
func ReadFile(path string) (f File, err error) {
	st, err := os.Stat(path)
	if err != nil {
		return f, api.E(api.Invalid, "token", path, "%v", errors.Unwrap(err))
	}
	if st.Mode().Perm()&0o077 != 0 {
		return f, api.E(api.Denied, "token", path, "others can read this file (mode %o): chmod 600 it, and ask for a new token if somebody may have", st.Mode().Perm())
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return f, api.E(api.Invalid, "token", path, "%v", err)
	}
	if err := json.Unmarshal(b, &f); err != nil || f.Version != 1 || f.Token == "" || f.Gateway == "" {
		return f, api.E(api.Invalid, "token", path, "not a token file of version 1 (sigmactl realm token writes one)")
	}
	return f, nil
}

// Connect reaches the realm of a token file.
func Connect(ctx context.Context, path string) (*sigma.Client, File, error) {
	f, err := ReadFile(path)
	if err != nil {
		return nil, f, err
	}
	conn, err := f.open(ctx)
	if err != nil {
		return nil, f, err
	}
	return sigma.NewClient(conn, f.dial), f, nil
}

// open connects with the gateway and shows the token.
func (f File) open(ctx context.Context) (*tls.Conn, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(f.CA)) {
		return nil, api.E(api.Invalid, "token", "", "the file's CA is no certificate")
	}
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	cfg := &tls.Config{
		MinVersion: tls.VersionTLS13, NextProtos: []string{alpn}, InsecureSkipVerify: true, // the CA says who it is, not the host's name
		VerifyConnection: func(s tls.ConnectionState) error { return verify(s, pool) },
	}
	d := tls.Dialer{Config: cfg}
	c, err := d.DialContext(ctx, "tcp", f.Gateway)
	if err != nil {
		return nil, api.E(api.Unavailable, "connect", f.Gateway, "%v", err)
	}
	conn := c.(*tls.Conn)
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	if _, err := ask(conn, wire.Frame{Type: wire.TAuth, ID: 1, Payload: wire.Target{ID: f.Token}.Encode()}); err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	return conn, nil
}

// verify checks the gateway's certificate against the CA. Clocks may be an hour
// apart.
func verify(s tls.ConnectionState, pool *x509.CertPool) error {
	if len(s.PeerCertificates) == 0 {
		return errors.New("the gateway shows no certificate")
	}
	inter := x509.NewCertPool()
	for _, c := range s.PeerCertificates[1:] {
		inter.AddCert(c)
	}
	var err error
	for _, skew := range []time.Duration{0, -time.Hour, time.Hour} {
		_, err = s.PeerCertificates[0].Verify(x509.VerifyOptions{
			Roots: pool, Intermediates: inter, CurrentTime: time.Now().Add(skew), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		})
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("the gateway is not of the cluster that the token is for: %w", err)
}

// ask sends one frame and reads its answer, and not one byte more.
func ask(conn net.Conn, f wire.Frame) ([]byte, error) {
	if _, err := conn.Write(wire.Append(nil, f)); err != nil {
		return nil, api.E(api.Unavailable, "connect", "", "%v", err)
	}
	a, err := wire.ReadOne(conn)
	if err != nil {
		return nil, api.E(api.Unavailable, "connect", "", "the gateway ended the connection: %v", err)
	}
	if a.Flags&wire.FlagError != 0 {
		return nil, wire.DecodeError(a.Payload)
	}
	return a.Payload, nil
}

// dial makes a connection through the gateway.
func (f File) dial(ctx context.Context, t api.Target) (net.Conn, error) {
	conn, err := f.open(ctx)
	if err != nil {
		return nil, err
	}
	if d, ok := ctx.Deadline(); ok {
		conn.SetDeadline(d)
	}
	p, err := ask(conn, wire.Frame{Type: wire.TDial, ID: 1, Payload: wire.EncodeDial(t)})
	if err != nil {
		conn.Close()
		return nil, err
	}
	conn.SetDeadline(time.Time{})
	peer, err := wire.DecodePeer(p)
	if err != nil {
		conn.Close()
		return nil, err
	}
	return &Conn{Conn: conn, peer: peer}, nil
}

// Conn is a connection with a proc that the gateway relays.
type Conn struct {
	*tls.Conn
	peer api.Peer
}

// Peer says who is at the other end.
func (c *Conn) Peer() sigma.Peer { return c.peer }

// RemoteAddr is the peer's sigma address.
func (c *Conn) RemoteAddr() net.Addr { return sigma.Addr{Peer: c.peer} }
