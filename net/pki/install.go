package pki

import (
	"crypto/rand"
	"crypto/x509"

	"sigmaos/api"
)

// CSR asks for a certificate for the key of now, or the one Rekey made.
func (i *Identity) CSR() ([]byte, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	key := i.now.Load().key
	if i.pending != nil {
		key = i.pending
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, api.E(api.Internal, "certificate request", "", "%v", err)
	}
	return csr, nil
}

// Rekey makes a new key, of which CSR speaks from now on. It is used, and kept,
// once Install brings its certificate; until then the old one serves.
func (i *Identity) Rekey() error {
	key, err := newKey()
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pending = key
	return nil
}

// Install takes a certificate (from [Authority.Sign]) for the key that CSR spoke
// of, and the trust it must verify against. Both are on disk when it returns.
func (i *Identity) Install(chain, trust []byte) error {
	t, err := UnmarshalTrust(trust)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	old := i.now.Load()
	s := &identityState{key: old.key, trust: old.trust}
	if i.pending != nil {
		s.key = i.pending
	}
	if err := s.adopt(chain); err != nil {
		return err
	}
	if _, err := t.Verify([]*x509.Certificate{s.cert.Leaf}, x509.ExtKeyUsageServerAuth, i.clk.Now()); err != nil {
		return err
	}
	if s.trust != nil && s.trust.Cluster() != t.Cluster() {
		return api.E(api.Conflict, "identity", t.Cluster(), "this node belongs to cluster %s; to move it, give it an empty data directory", s.trust.Cluster())
	}
	// The trust goes first: with the new trust the old certificate is as good as
	// the rotation allows, while the new one means nothing without it.
	if err := writePrivate(i.trustPath(), trust); err != nil {
		return err
	}
	if err := i.write(s); err != nil {
		return err
	}
	if s.trust == nil {
		s.trust = t
	} else if err := s.trust.Replace(t); err != nil {
		return err
	}
	i.now.Store(s)
	i.pending = nil
	return nil
}

// SetTrust replaces the trust, on disk and for every later handshake.
func (i *Identity) SetTrust(trust []byte) error {
	t, err := UnmarshalTrust(trust)
	if err != nil {
		return err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s := i.now.Load()
	if s.trust == nil {
		return api.E(api.Invalid, "trust", "", "the node has no certificate yet; it has to join first")
	}
	if s.trust.Cluster() != t.Cluster() {
		return s.trust.Replace(t) // which says what is wrong
	}
	if err := writePrivate(i.trustPath(), trust); err != nil {
		return err
	}
	return s.trust.Replace(t)
}
