package pki

import (
	"crypto/tls"
	"crypto/x509"

	"sigmaos/api"
)

// base is what all configurations share. There are no session tickets: every
// connection is verified against the trust of its own moment.
func base(protos []string) *tls.Config {
	return &tls.Config{
		MinVersion:             tls.VersionTLS13,
		NextProtos:             protos,
		SessionTicketsDisabled: true,
	}
}

// Server is the configuration for incoming connections of nodes: the other side
// must show a certificate that the trust of this moment accepts.
func (i *Identity) Server(protos ...string) *tls.Config {
	c := i.Open(protos...)
	c.ClientAuth = tls.RequireAnyClientCert // VerifyConnection does the verifying
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		_, err := i.verify(cs, x509.ExtKeyUsageClientAuth)
		return err
	}
	return c
}

// Open is the configuration for incoming connections of strangers: they see who
// we are, and need show nothing.
func (i *Identity) Open(protos ...string) *tls.Config {
	c := base(protos)
	c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return i.certificate() }
	return c
}

// Client is the configuration for a connection to the node of that name, or
// with "" to any node of the cluster.
func (i *Identity) Client(node, proto string) *tls.Config {
	c := base([]string{proto})
	c.ServerName = node + Suffix
	if node == "" {
		c.ServerName = "any" + Suffix // only to be there; no node looks at it
	}
	c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return i.certificate() }
	c.InsecureSkipVerify = true // VerifyConnection does it, against the trust of the moment
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		p, err := i.verify(cs, x509.ExtKeyUsageServerAuth)
		if err != nil {
			return err
		}
		if node != "" && p.Name != node {
			return api.E(api.Denied, "connect", node, "at this address is node %s", p.Name)
		}
		return spoken(cs, proto)
	}
	return c
}

// Join is the configuration for a node that has a token and nothing else: the
// other side must show a node's certificate, and the CA of the token's
// fingerprint that signed it.
func (i *Identity) Join(t Token, proto string) *tls.Config {
	c := base([]string{proto})
	c.ServerName = "any" + Suffix
	c.InsecureSkipVerify = true // VerifyConnection does it
	c.VerifyConnection = func(cs tls.ConnectionState) error {
		for _, cert := range cs.PeerCertificates {
			if FingerprintOf(cert) != t.CA() {
				continue
			}
			trust, err := NewTrust(cert)
			if err != nil {
				return err
			}
			if _, err := trust.Verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth, i.clk.Now()); err != nil {
				return err
			}
			return spoken(cs, proto)
		}
		return api.E(api.Denied, "join", "", "the node at this address belongs to another cluster than the token, or the cluster has replaced its CA since: get a new token")
	}
	return c
}

// spoken makes sure that the two sides mean the same protocol.
func spoken(cs tls.ConnectionState, proto string) error {
	if cs.NegotiatedProtocol != proto {
		return api.E(api.Unavailable, "connect", proto, "the other side does not speak it")
	}
	return nil
}

func (i *Identity) certificate() (*tls.Certificate, error) {
	if s := i.now.Load(); s.cert != nil {
		return s.cert, nil
	}
	return nil, api.E(api.Unavailable, "identity", i.dir, "the node has no certificate yet; it has to join first")
}

func (i *Identity) verify(cs tls.ConnectionState, use x509.ExtKeyUsage) (Peer, error) {
	trust := i.Trust()
	if trust == nil {
		_, err := i.certificate()
		return Peer{}, err
	}
	return trust.Verify(cs.PeerCertificates, use, i.clk.Now())
}
