package pki

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"

	"sigmaos/api"
)

// CheckCSR says whether a request is well formed, has a kind of key we use, and
// was made by the key's owner.
func CheckCSR(csr []byte) (crypto.PublicKey, error) {
	if len(csr) > maxFile {
		return nil, api.E(api.TooLarge, "certificate request", "", "%d bytes; the limit is %d", len(csr), maxFile)
	}
	r, err := x509.ParseCertificateRequest(csr)
	if err == nil {
		err = goodKey(r.PublicKey)
	}
	if err == nil {
		err = r.CheckSignature()
	}
	if err != nil {
		return nil, api.E(api.Invalid, "certificate request", "", "%v", err)
	}
	return r.PublicKey, nil
}

func newKey() (crypto.Signer, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, api.E(api.Internal, "make a key", "", "%v", err)
	}
	return key, nil
}

// goodKey allows the kinds of keys that are strong without parameters to check.
func goodKey(public crypto.PublicKey) error {
	switch k := public.(type) {
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return api.E(api.Invalid, "key", "", "want ECDSA P-256 or Ed25519")
}

func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}
