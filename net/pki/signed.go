package pki

import "crypto/x509"

// SignedBy reports whether the certificate of this moment is one of the
// authority's, and good.
func (i *Identity) SignedBy(a *Authority) bool {
	certs, err := decodeChain(i.Chain())
	if err != nil {
		return false
	}
	t, err := NewTrust(a.Certificate())
	if err != nil {
		return false
	}
	_, err = t.Verify(certs, x509.ExtKeyUsageServerAuth, i.clk.Now())
	return err == nil
}
