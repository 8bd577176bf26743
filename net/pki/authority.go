package pki

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net/url"
	"strconv"
	"time"

	"sigmaos/api"
)

const (
	backdate     = 24 * time.Hour // clocks may be an hour apart; a day costs nothing
	nodeLife     = 365 * 24 * time.Hour
	caLife       = 20 * nodeLife
	authorityTag = "sigma-ca"
	chainTag     = "sigma-cert"
)

// Authority is a cluster's CA with its private key. It does not change after it
// was made, and may be used concurrently.
type Authority struct {
	cluster string
	cert    *x509.Certificate
	key     crypto.Signer
}

// Fingerprint is the SHA-256 of a CA's certificate.
type Fingerprint [sha256.Size]byte

// FingerprintOf returns a certificate's.
func FingerprintOf(cert *x509.Certificate) Fingerprint { return sha256.Sum256(cert.Raw) }

// String is short: it tells CAs apart for people.
func (f Fingerprint) String() string { return low32.EncodeToString(f[:])[:12] }

// CreateAuthority makes a CA for a cluster; now is the wall clock.
func CreateAuthority(cluster string, now time.Time) (*Authority, error) {
	if err := CheckCluster(cluster); err != nil {
		return nil, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial(),
		Subject:               pkix.Name{CommonName: "sigma CA of " + cluster},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		URIs:                  []*url.URL{clusterURI(cluster)},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return nil, api.E(api.Internal, "create CA", cluster, "%v", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, api.E(api.Internal, "create CA", cluster, "%v", err)
	}
	return &Authority{cluster: cluster, cert: cert, key: key}, nil
}

// Cluster is the id of the cluster.
func (a *Authority) Cluster() string { return a.cluster }

// Certificate is the CA's own; it must not be changed.
func (a *Authority) Certificate() *x509.Certificate { return a.cert }

// Fingerprint of the CA's certificate.
func (a *Authority) Fingerprint() Fingerprint { return FingerprintOf(a.cert) }

// Marshal writes the CA with its private key.
func (a *Authority) Marshal() ([]byte, error) {
	key, err := encodeKey(a.key)
	if err != nil {
		return nil, err
	}
	return encode(authorityTag, key, certBlock(a.cert)), nil
}

// UnmarshalAuthority reads Marshal.
func UnmarshalAuthority(b []byte) (*Authority, error) {
	blocks, err := decode(authorityTag, b)
	if err != nil {
		return nil, err
	}
	if len(blocks) != 2 {
		return nil, api.E(api.Invalid, "read", authorityTag, "%d blocks; want a key and a certificate", len(blocks))
	}
	key, err := decodeKey(authorityTag, blocks[0])
	if err != nil {
		return nil, err
	}
	certs, err := decodeCerts(authorityTag, blocks[1:])
	if err != nil {
		return nil, err
	}
	cluster, err := checkCA(certs[0])
	if err != nil {
		return nil, err
	}
	if !samePublic(key.Public(), certs[0].PublicKey) {
		return nil, api.E(api.Invalid, "read", authorityTag, "the key is not that of the certificate")
	}
	return &Authority{cluster: cluster, cert: certs[0], key: key}, nil
}

// Sign makes the certificate of a node, good for a year: a chain for
// [Identity.Install]. Of the request only the key counts; who the node is, the
// caller says. now is the wall clock.
func (a *Authority) Sign(csr []byte, name string, number uint16, now time.Time) ([]byte, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	public, err := CheckCSR(csr)
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(nodeLife),
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames:     []string{name + Suffix},
		URIs:         []*url.URL{nodeURI(a.cluster, name), numberURI(a.cluster, number)},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.cert, public, a.key)
	if err != nil {
		return nil, api.E(api.Internal, "sign", name, "%v", err)
	}
	return encode(chainTag, &pem.Block{Type: typeCert, Bytes: der}, certBlock(a.cert)), nil
}

func serial() *big.Int {
	var b [16]byte
	rand.Read(b[:])
	b[0] = b[0]&0x7f | 0x40 // positive, and always of 16 bytes
	return new(big.Int).SetBytes(b[:])
}

func certBlock(cert *x509.Certificate) *pem.Block {
	return &pem.Block{Type: typeCert, Bytes: cert.Raw}
}

func clusterURI(cluster string) *url.URL { return &url.URL{Scheme: "sigma", Host: cluster} }

func nodeURI(cluster, name string) *url.URL {
	return &url.URL{Scheme: "sigma", Host: cluster, Path: "/node/" + name}
}

func numberURI(cluster string, n uint16) *url.URL {
	return &url.URL{Scheme: "sigma", Host: cluster, Path: "/number/" + strconv.Itoa(int(n))}
}
