package pki

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
)

const (
	trustTag = "sigma-trust"
	maxCAs   = 8
	skew     = time.Hour // how far two clocks may be apart
)

// Trust is the CAs of one cluster whose signature counts: one, or more during a
// rotation. It may be changed while configurations made from it are in use; the
// next handshake sees the change.
type Trust struct {
	mu  sync.Mutex // orders writers
	set atomic.Pointer[trustSet]
}

type trustSet struct {
	cluster string
	certs   []*x509.Certificate
	pool    *x509.CertPool
}

// NewTrust makes a trust of at least one CA, all of one cluster.
func NewTrust(certs ...*x509.Certificate) (*Trust, error) {
	s, err := newTrustSet(certs)
	if err != nil {
		return nil, err
	}
	t := new(Trust)
	t.set.Store(s)
	return t, nil
}

func newTrustSet(certs []*x509.Certificate) (*trustSet, error) {
	if len(certs) == 0 || len(certs) > maxCAs {
		return nil, api.E(api.Invalid, "trust", "", "%d CAs; want 1 to %d", len(certs), maxCAs)
	}
	s := &trustSet{pool: x509.NewCertPool()}
	for _, c := range certs {
		cluster, err := checkCA(c)
		if err != nil {
			return nil, err
		}
		if s.cluster != "" && s.cluster != cluster {
			return nil, api.E(api.Conflict, "trust", cluster, "the CA is not of cluster %s as the others are", s.cluster)
		}
		s.cluster = cluster
		if !slices.ContainsFunc(s.certs, c.Equal) {
			s.certs = append(s.certs, c)
			s.pool.AddCert(c)
		}
	}
	return s, nil
}

// checkCA returns the cluster that a CA's certificate is of.
func checkCA(c *x509.Certificate) (string, error) {
	if !c.IsCA || !c.BasicConstraintsValid || len(c.URIs) != 1 || goodKey(c.PublicKey) != nil {
		return "", api.E(api.Invalid, "trust", quote(c.Subject.CommonName), "the certificate is none of a cluster's CA")
	}
	cluster := c.URIs[0].Host
	if err := CheckCluster(cluster); err != nil {
		return "", err
	}
	if *c.URIs[0] != *clusterURI(cluster) {
		return "", api.E(api.Invalid, "trust", quote(c.Subject.CommonName), "the certificate is none of a cluster's CA")
	}
	return cluster, nil
}

// Cluster is the id that all CAs of the set have.
func (t *Trust) Cluster() string { return t.set.Load().cluster }

// Certificates lists the CAs, oldest member first.
func (t *Trust) Certificates() []*x509.Certificate { return slices.Clone(t.set.Load().certs) }

// Has says whether a CA is in the set.
func (t *Trust) Has(f Fingerprint) bool {
	return slices.ContainsFunc(t.set.Load().certs, func(c *x509.Certificate) bool { return FingerprintOf(c) == f })
}

// Add puts a CA into the set.
func (t *Trust) Add(cert *x509.Certificate) error {
	return t.change(func(certs []*x509.Certificate) ([]*x509.Certificate, error) { return append(certs, cert), nil })
}

// Remove takes a CA out. The last one stays: without it nobody could come in.
func (t *Trust) Remove(f Fingerprint) error {
	return t.change(func(certs []*x509.Certificate) ([]*x509.Certificate, error) {
		left := slices.DeleteFunc(certs, func(c *x509.Certificate) bool { return FingerprintOf(c) == f })
		if len(left) == 0 {
			return nil, api.E(api.Invalid, "trust", f.String(), "it is the only CA; add the new one first")
		}
		return left, nil
	})
}

// Replace makes the set equal to another trust's, of the same cluster.
func (t *Trust) Replace(by *Trust) error {
	return t.change(func([]*x509.Certificate) ([]*x509.Certificate, error) {
		if a, b := t.Cluster(), by.Cluster(); a != b {
			return nil, api.E(api.Conflict, "trust", b, "this node is of cluster %s", a)
		}
		return by.Certificates(), nil
	})
}

func (t *Trust) change(fn func([]*x509.Certificate) ([]*x509.Certificate, error)) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	certs, err := fn(t.Certificates())
	if err != nil {
		return err
	}
	s, err := newTrustSet(certs)
	if err != nil {
		return err
	}
	t.set.Store(s)
	return nil
}

// Marshal writes the set.
func (t *Trust) Marshal() []byte {
	var blocks []*pem.Block
	for _, c := range t.set.Load().certs {
		blocks = append(blocks, certBlock(c))
	}
	return encode(trustTag, blocks...)
}

// UnmarshalTrust reads Marshal.
func UnmarshalTrust(b []byte) (*Trust, error) {
	blocks, err := decode(trustTag, b)
	if err != nil {
		return nil, err
	}
	certs, err := decodeCerts(trustTag, blocks)
	if err != nil {
		return nil, err
	}
	return NewTrust(certs...)
}

// Verify checks a node's certificate, chain[0]; what else the other side sent
// is not looked at. now is the wall clock.
func (t *Trust) Verify(chain []*x509.Certificate, use x509.ExtKeyUsage, now time.Time) (Peer, error) {
	if len(chain) == 0 {
		return Peer{}, api.E(api.Denied, "peer", "", "it has shown no certificate")
	}
	leaf, set := chain[0], t.set.Load()
	if late := now.Sub(leaf.NotAfter); late > 0 && late <= skew {
		now = leaf.NotAfter
	}
	paths, err := leaf.Verify(x509.VerifyOptions{Roots: set.pool, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{use}})
	if err != nil {
		return Peer{}, refused(leaf, set.cluster, err)
	}
	p, err := peerOf(leaf)
	if err != nil {
		return Peer{}, err
	}
	root := paths[0][len(paths[0])-1]
	if p.Cluster != set.cluster || root.URIs[0].Host != p.Cluster {
		return Peer{}, api.E(api.Denied, "peer", quote(p.Name), "its certificate is of cluster %s; this is %s", quote(p.Cluster), set.cluster)
	}
	return p, nil
}

// refused words a failed verification for people.
func refused(leaf *x509.Certificate, cluster string, err error) error {
	name := quote(leaf.Subject.CommonName)
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return api.E(api.Denied, "peer", name, "its certificate is good from %s to %s, by its signer's clock; if that is over, renew it, else check the clocks of both machines",
			leaf.NotBefore.UTC().Format(time.RFC3339), leaf.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, &unknown):
		return api.E(api.Denied, "peer", name, "its certificate is signed by no CA of cluster %s; join the node again with a token of this cluster", cluster)
	}
	return api.E(api.Denied, "peer", name, "%v", err)
}
