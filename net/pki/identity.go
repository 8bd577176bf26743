package pki

import (
	"crypto"
	"crypto/tls"
	"encoding/pem"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
)

const nodeTag = "sigma-node"

// Identity is a node's key, certificate and trust, in a directory. Key and
// certificate are one file, so that they always belong together.
//
// A fresh Identity has a key alone: it can ask for a certificate (CSR) and
// nothing else. Install makes it whole.
type Identity struct {
	dir string
	clk clock.Clock

	mu      sync.Mutex    // orders writers; files are written with it held
	pending crypto.Signer // of Rekey, until Install

	now atomic.Pointer[identityState]
}

// identityState is replaced as a whole and never changed.
type identityState struct {
	key   crypto.Signer
	peer  Peer             // of the certificate; zero without one
	cert  *tls.Certificate // nil without one
	chain []byte
	trust *Trust // nil until the first Install; the same pointer ever after
}

// LoadOrCreate opens the identity in dir, or makes the directory and a key.
func LoadOrCreate(dir string, clk clock.Clock) (*Identity, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, api.E(api.Unavailable, "identity", dir, "%v", err)
	}
	i := &Identity{dir: dir, clk: clk}
	sweep(i.nodePath())
	sweep(i.trustPath())
	err := i.Reload()
	if api.KindOf(err) != api.NotFound {
		return i, err
	}
	key, err := newKey()
	if err != nil {
		return nil, err
	}
	s := &identityState{key: key}
	if err := i.write(s); err != nil {
		return nil, err
	}
	i.now.Store(s)
	return i, nil
}

func (i *Identity) nodePath() string  { return filepath.Join(i.dir, "node.pem") }
func (i *Identity) trustPath() string { return filepath.Join(i.dir, "trust.pem") }

func (i *Identity) write(s *identityState) error {
	key, err := encodeKey(s.key)
	if err != nil {
		return err
	}
	blocks := []*pem.Block{key}
	if s.cert != nil {
		for _, der := range s.cert.Certificate {
			blocks = append(blocks, &pem.Block{Type: typeCert, Bytes: der})
		}
	}
	return writePrivate(i.nodePath(), encode(nodeTag, blocks...))
}

// Reload reads the files again, as after a restart.
func (i *Identity) Reload() error {
	i.mu.Lock()
	defer i.mu.Unlock()
	b, err := readPrivate(i.nodePath())
	if err != nil {
		return err
	}
	blocks, err := decode(nodeTag, b)
	if err != nil {
		return err
	}
	if len(blocks) == 0 {
		return api.E(api.Invalid, "identity", i.nodePath(), "there is no key in it")
	}
	s := &identityState{}
	if s.key, err = decodeKey(nodeTag, blocks[0]); err != nil {
		return err
	}
	if len(blocks) > 1 {
		if err := i.complete(s, encode(chainTag, blocks[1:]...)); err != nil {
			return err
		}
	}
	i.now.Store(s)
	return nil
}

// complete adds the certificate and, from its file, the trust. A certificate
// that has expired is loaded too: it is how the node says who it was.
func (i *Identity) complete(s *identityState, chain []byte) error {
	b, err := readPrivate(i.trustPath())
	if api.KindOf(err) == api.NotFound { // Install writes it first: somebody removed it
		return api.E(api.Invalid, "identity", i.trustPath(), "it is missing beside a certificate; put it back, or empty the directory and join the node again")
	}
	if err != nil {
		return err
	}
	trust, err := UnmarshalTrust(b)
	if err != nil {
		return err
	}
	if old := i.now.Load(); old != nil && old.trust != nil {
		if err := old.trust.Replace(trust); err != nil {
			return err
		}
		trust = old.trust
	}
	s.trust = trust
	return s.adopt(chain)
}

// adopt takes a chain for the state's key.
func (s *identityState) adopt(chain []byte) error {
	certs, err := decodeChain(chain)
	if err != nil {
		return err
	}
	if !samePublic(s.key.Public(), certs[0].PublicKey) {
		return api.E(api.Conflict, "identity", quote(certs[0].Subject.CommonName), "the certificate is of another key")
	}
	if s.peer, err = peerOf(certs[0]); err != nil {
		return err
	}
	s.chain = chain
	s.cert = &tls.Certificate{PrivateKey: s.key, Leaf: certs[0]}
	for _, c := range certs {
		s.cert.Certificate = append(s.cert.Certificate, c.Raw)
	}
	return nil
}

// Peer is who this node is; ok is false before the first Install.
func (i *Identity) Peer() (p Peer, ok bool) {
	s := i.now.Load()
	return s.peer, s.cert != nil
}

// Trust is whom this node trusts; nil before the first Install. It is the same
// Trust for the life of the Identity.
func (i *Identity) Trust() *Trust { return i.now.Load().trust }

// Chain is the node's certificate as Sign wrote it.
func (i *Identity) Chain() []byte { return i.now.Load().chain }

// RenewAt is when the certificate should be replaced: a third of its life
// before it ends. It is the zero time before the first Install.
func (i *Identity) RenewAt() time.Time {
	s := i.now.Load()
	if s.cert == nil {
		return time.Time{}
	}
	return s.cert.Leaf.NotAfter.Add(-nodeLife / 3)
}

// Expires is the end of the certificate.
func (i *Identity) Expires() time.Time {
	if s := i.now.Load(); s.cert != nil {
		return s.cert.Leaf.NotAfter
	}
	return time.Time{}
}
