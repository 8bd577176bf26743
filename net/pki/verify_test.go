package pki

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

// leaf makes a certificate of the CA after edit had its way with it.
func leaf(t *testing.T, a *Authority, edit func(*x509.Certificate)) *x509.Certificate {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{CommonName: "n1"},
		NotBefore:    start.Add(-backdate),
		NotAfter:     start.Add(nodeLife),
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		DNSNames:     []string{"n1.node.sigma"},
		URIs:         []*url.URL{nodeURI(a.cluster, "n1"), numberURI(a.cluster, 7)},
	}
	edit(c)
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func uri(t *testing.T, s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func TestVerify(t *testing.T) {
	a, foreign := authority(t, "c1", start), authority(t, "c2", start)
	same := authority(t, "c1", start) // another CA that says it is of c1
	trust := trustOf(t, a)
	plain := func(*x509.Certificate) {}
	for _, c := range []struct {
		name string
		ca   *Authority
		edit func(*x509.Certificate)
		at   time.Time
		want string // "" is accepted
	}{
		{"good", a, plain, start, ""},
		{"foreign CA", foreign, plain, start, "no CA of cluster c1"},
		{"CA of the same name that is not trusted", same, plain, start, "no CA of cluster c1"},
		{"other cluster in the names", a, func(c *x509.Certificate) {
			c.URIs = []*url.URL{nodeURI("c2", "n1"), numberURI("c2", 7)}
		}, start, "of cluster"},
		{"two clusters", a, func(c *x509.Certificate) { c.URIs[1] = numberURI("c2", 7) }, start, "two clusters"},
		{"no names", a, func(c *x509.Certificate) { c.URIs = nil }, start, "none of a node"},
		{"two nodes", a, func(c *x509.Certificate) { c.URIs = append(c.URIs, nodeURI("c1", "n2")) }, start, "none of a node"},
		{"no number", a, func(c *x509.Certificate) { c.URIs = c.URIs[:1] }, start, "none of a node"},
		{"number too large", a, func(c *x509.Certificate) { c.URIs[1] = uri(t, "sigma://c1/number/65536") }, start, "number"},
		{"number written oddly", a, func(c *x509.Certificate) { c.URIs[1] = uri(t, "sigma://c1/number/07") }, start, "number"},
		{"other scheme", a, func(c *x509.Certificate) { c.URIs[0] = uri(t, "spiffe://c1/node/n1") }, start, "no or of two"},
		{"bad node name", a, func(c *x509.Certificate) { c.URIs[0] = uri(t, "sigma://c1/node/../n1") }, start, "bad name"},
		{"host name of another node", a, func(c *x509.Certificate) { c.DNSNames = []string{"n2.node.sigma"} }, start, "host name"},
		{"second host name", a, func(c *x509.Certificate) { c.DNSNames = append(c.DNSNames, "n2.node.sigma") }, start, "host name"},
		{"a CA below the CA", a, func(c *x509.Certificate) { c.IsCA, c.BasicConstraintsValid = true, true }, start, "none of a node"},
		{"for clients alone", a, func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }, start, "usage"},
		{"our clock a day behind", a, plain, start.Add(-23 * time.Hour), ""},
		{"our clock two days behind", a, plain, start.Add(-48 * time.Hour), "check the clocks"},
		{"half an hour too late", a, plain, start.Add(nodeLife + 30*time.Minute), ""},
		{"two hours too late", a, plain, start.Add(nodeLife + 2*time.Hour), "renew it"},
	} {
		t.Run(c.name, func(t *testing.T) {
			cert := leaf(t, c.ca, c.edit)
			p, err := trust.Verify([]*x509.Certificate{cert, c.ca.cert}, x509.ExtKeyUsageServerAuth, c.at)
			switch {
			case c.want == "" && (err != nil || p != Peer{Name: "n1", Cluster: "c1", Number: 7}):
				t.Errorf("Verify = %v, %v; want n1 (7) of c1", p, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("Verify = %v, %v; want an error with %q", p, err, c.want)
			case c.want != "":
				wantKind(t, "Verify", err, api.Denied)
			}
		})
	}
	if _, err := trust.Verify(nil, x509.ExtKeyUsageServerAuth, start); err == nil {
		t.Error("Verify accepted no certificate")
	}
}

// Clocks an hour apart, either way, change nothing at the beginning of a
// certificate's life nor at its end.
func TestFAULTS_F17_ClocksAnHourApart(t *testing.T) {
	a := authority(t, "c1", start)
	trust := trustOf(t, a)
	csr := csrOf(t)
	chain, err := a.Sign(csr, "n1", 1, start)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := decodeChain(chain)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []time.Duration{-time.Hour, 0, time.Hour, nodeLife - time.Hour, nodeLife, nodeLife + time.Hour} {
		if _, err := trust.Verify(certs, x509.ExtKeyUsageClientAuth, start.Add(at)); err != nil {
			t.Errorf("verified %v after it was signed: %v", at, err)
		}
	}
}

func csrOf(t testing.TB) []byte {
	t.Helper()
	key, err := newKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	return csr
}

func TestSignLooksAtTheKeyAlone(t *testing.T) {
	a := authority(t, "c1", start)
	key, _ := newKey()
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject: pkix.Name{CommonName: "root"}, DNSNames: []string{"n2.node.sigma", "example.com"}, URIs: []*url.URL{nodeURI("c1", "n2")},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	chain, err := a.Sign(csr, "n1", 3, start)
	if err != nil {
		t.Fatal(err)
	}
	certs, err := decodeChain(chain)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := trustOf(t, a).Verify(certs, x509.ExtKeyUsageServerAuth, start); err != nil || p.Name != "n1" || p.Number != 3 || certs[0].Subject.CommonName != "n1" {
		t.Errorf("a request that asks to be n2 became %v (CN %q), %v; want n1", p, certs[0].Subject.CommonName, err)
	}
}

func TestBadRequestsAreNotSigned(t *testing.T) {
	a := authority(t, "c1", start)
	with := func(key any) []byte {
		csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
		if err != nil {
			t.Fatal(err)
		}
		return csr
	}
	weak, _ := rsa.GenerateKey(rand.Reader, 2048)
	p384, _ := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	good := csrOf(t)
	forged := bytes.Clone(good)
	forged[len(forged)-1] ^= 1
	for _, c := range []struct {
		name string
		csr  []byte
		node string
		want api.Kind
	}{
		{"good", good, "n1", ""},
		{"ed25519", with(ed), "n1", ""},
		{"name with dots", good, "rack1.n-1", ""},
		{"nothing", nil, "n1", api.Invalid},
		{"no request", []byte("hello"), "n1", api.Invalid},
		{"not signed by its key", forged, "n1", api.Invalid},
		{"RSA", with(weak), "n1", api.Invalid},
		{"P-384", with(p384), "n1", api.Invalid},
		{"huge", make([]byte, maxFile+1), "n1", api.TooLarge},
		{"no name", good, "", api.Invalid},
		{"name is a path", good, "../n1", api.Invalid},
		{"name with capitals", good, "N1", api.Invalid},
		{"dots alone", good, "..", api.Invalid},
		{"name with NUL", good, "n1\x00", api.Invalid},
		{"long name", good, strings.Repeat("a", 64), api.Invalid},
	} {
		_, err := a.Sign(c.csr, c.node, 1, start)
		wantKind(t, "Sign, "+c.name, err, c.want)
	}
	for _, id := range []string{"", "C1", "a.b", "a/b", strings.Repeat("a", 64)} {
		if _, err := CreateAuthority(id, start); api.KindOf(err) != api.Invalid {
			t.Errorf("CreateAuthority(%q) = %v", id, err)
		}
	}
	first, second := NewCluster(), NewCluster()
	if err := CheckCluster(first); err != nil || first == second {
		t.Errorf("NewCluster: %v, or twice the same", err)
	}
}

func TestAuthorityAndTrustSurviveBytes(t *testing.T) {
	a, b := authority(t, "c1", start), authority(t, "c1", start)
	bytesA, err := a.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	again, err := UnmarshalAuthority(bytesA)
	if err != nil || again.Fingerprint() != a.Fingerprint() || again.Cluster() != "c1" {
		t.Fatalf("UnmarshalAuthority: %v", err)
	}
	if _, err := again.Sign(csrOf(t), "n1", 1, start); err != nil {
		t.Errorf("Sign after UnmarshalAuthority: %v", err)
	}
	trust, err := UnmarshalTrust(trustOf(t, a, b).Marshal())
	if err != nil || !trust.Has(a.Fingerprint()) || !trust.Has(b.Fingerprint()) {
		t.Fatalf("UnmarshalTrust: %v", err)
	}
	keyOfB, _ := encodeKey(b.key)
	for name, bad := range map[string][]byte{
		"empty":             nil,
		"version 2":         bytes.Replace(bytesA, []byte("sigma-ca 1"), []byte("sigma-ca 2"), 1),
		"a trust":           trust.Marshal(),
		"cut":               bytesA[:len(bytesA)-40],
		"something behind":  append(bytes.Clone(bytesA), "more"...),
		"no certificate":    encode(authorityTag, keyOfB),
		"key of another CA": encode(authorityTag, keyOfB, certBlock(a.cert)),
		"too long":          append(bytes.Clone(bytesA), make([]byte, maxFile)...),
	} {
		if _, err := UnmarshalAuthority(bad); err == nil || strings.Contains(err.Error(), "BEGIN") {
			t.Errorf("UnmarshalAuthority, %s: %v", name, err)
		}
	}
}

func TestTrustIsASetOfOneCluster(t *testing.T) {
	a, b, foreign := authority(t, "c1", start), authority(t, "c1", start), authority(t, "c2", start)
	trust := trustOf(t, a)
	if err := trust.Remove(a.Fingerprint()); api.KindOf(err) != api.Invalid || !trust.Has(a.Fingerprint()) {
		t.Errorf("Remove of the last CA: %v", err)
	}
	wantKind(t, "Add of another cluster's CA", trust.Add(foreign.Certificate()), api.Conflict)
	wantKind(t, "Replace by another cluster's", trust.Replace(trustOf(t, foreign)), api.Conflict)
	wantKind(t, "Add of a node's certificate", trust.Add(leaf(t, a, func(*x509.Certificate) {})), api.Invalid)
	for range 3 {
		if err := trust.Add(b.Certificate()); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(trust.Certificates()); n != 2 {
		t.Errorf("%d CAs after adding one three times, want 2", n)
	}
	for range maxCAs - 2 {
		if err := trust.Add(authority(t, "c1", start).Certificate()); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, "Add over the limit", trust.Add(authority(t, "c1", start).Certificate()), api.Invalid)
	if err := trust.Remove(a.Fingerprint()); err != nil || trust.Has(a.Fingerprint()) {
		t.Errorf("Remove: %v", err)
	}
}

func FuzzUnmarshal(f *testing.F) {
	a := authority(f, "c1", start)
	ca, _ := a.Marshal()
	chain, _ := a.Sign(csrOf(f), "n1", 1, start)
	f.Add(ca)
	f.Add(chain)
	f.Add(trustOf(f, a).Marshal())
	f.Add([]byte("sigma-trust 1\n"))
	f.Add(csrOf(f))
	f.Fuzz(func(t *testing.T, b []byte) {
		if t2, err := UnmarshalTrust(b); err == nil {
			if again, err := UnmarshalTrust(t2.Marshal()); err != nil || again.Cluster() != t2.Cluster() {
				t.Fatalf("a trust did not survive: %v", err)
			}
		}
		UnmarshalAuthority(b)
		ChainPeer(b)
		CheckCSR(b)
		if c, err := x509.ParseCertificate(b); err == nil {
			peerOf(c)
			checkCA(c)
		}
	})
}
