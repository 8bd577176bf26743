package roles

import (
	"context"
	"crypto/rand"
	"fmt"
	"path/filepath"
	"time"

	"sigmaos/internal/clock"
	"sigmaos/naming/named"
	"sigmaos/net/pki"
	"sigmaos/net/realmtoken"
)

// startCluster makes this node a member: it learns the cluster's record, its
// own number and boot, and has a certificate afterwards.
func startCluster(ctx context.Context, s *System) (func(context.Context) error, error) {
	id, err := pki.LoadOrCreate(filepath.Join(s.Config.DataDir, "identity"), clock.Real())
	if err != nil {
		return nil, err
	}
	s.Identity = id
	if s.Peer == nil {
		return nil, fmt.Errorf("this node has no named role and joins nobody; give it --join HOST:PORT, or the role")
	}
	s.etcd = s.Peer.Client()
	if s.record, err = named.OpenCluster(ctx, s.etcd, newCluster); err != nil {
		return nil, err
	}
	if s.nodeNum, s.boot, err = named.Boot(ctx, s.etcd, s.Config.Node); err != nil {
		return nil, err
	}
	if err := s.certify(); err != nil {
		return nil, err
	}
	if s.tokens, err = realmtoken.NewKeys(s.record.TokenKeys...); err != nil {
		return nil, err
	}
	return func(context.Context) error { return nil }, nil
}

// newCluster makes the keys of a cluster that is not there yet.
func newCluster() (named.Cluster, error) {
	id := pki.NewCluster()
	ca, err := pki.CreateAuthority(id, time.Now())
	if err != nil {
		return named.Cluster{}, err
	}
	b, err := ca.Marshal()
	if err != nil {
		return named.Cluster{}, err
	}
	gossip := make([]byte, 32)
	rand.Read(gossip)
	return named.Cluster{
		ID: id, Authorities: [][]byte{b}, JoinTokens: []string{pki.NewToken(ca.Fingerprint()).Text()},
		GossipKeys: [][]byte{gossip}, TokenKeys: [][]byte{realmtoken.NewKey()},
	}, nil
}

// authorities are those of the record, the one that signs first.
func authorities(c named.Cluster) (list []*pki.Authority, trust []byte, err error) {
	var t *pki.Trust
	for _, b := range c.Authorities {
		a, err := pki.UnmarshalAuthority(b)
		if err != nil {
			return nil, nil, err
		}
		list = append(list, a)
		if t == nil {
			t, err = pki.NewTrust(a.Certificate())
		} else {
			err = t.Add(a.Certificate())
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return list, t.Marshal(), nil
}

// certify gives a node that hosts the record its certificate, where it has none
// of the authority that signs now, of its name and number, for long enough.
func (s *System) certify() error {
	list, trust, err := authorities(s.record)
	if err != nil {
		return err
	}
	p, ok := s.Identity.Peer()
	if ok && p.Name == s.Config.Node && p.Number == s.nodeNum && p.Cluster == s.record.ID && time.Now().Before(s.Identity.RenewAt()) &&
		s.Identity.Trust().Has(list[0].Fingerprint()) {
		return s.Identity.SetTrust(trust)
	}
	csr, err := s.Identity.CSR()
	if err != nil {
		return err
	}
	chain, err := list[0].Sign(csr, s.Config.Node, s.nodeNum, time.Now())
	if err != nil {
		return err
	}
	return s.Identity.Install(chain, trust)
}
