package roles

import (
	"context"
	"encoding/json"
	"time"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/net/pki"
	"sigmaos/net/realmtoken"
	"sigmaos/net/rpc"
)

// Keys are replaced in two steps, so that at no moment two nodes or a node and a
// token refuse each other: rotate makes new ones, which are used from then on while
// the old ones are still accepted; drop ends the old ones, once every node has its
// new certificate.

// maxKeys of each kind are kept at a time.
const maxKeys = 3

// retryKeys is when a node that could not take the record's keys, because nobody
// signed its certificate, tries again: before somebody drops the old ones.
const retryKeys = 2 * time.Second

// methodSign is the call by which a node without the record's keys has its
// certificate renewed.
const methodSign = "cluster.sign"

// rotate replaces the cluster's keys, or drops the old ones.
func (s *System) rotate(ctx context.Context, drop bool) (api.KeyInfo, error) {
	for range 10 {
		rec, err := named.OpenCluster(ctx, s.etcd, newCluster)
		if err != nil {
			return api.KeyInfo{}, err
		}
		if drop {
			rec.Authorities, rec.JoinTokens, rec.GossipKeys, rec.TokenKeys = rec.Authorities[:1], rec.JoinTokens[:1], rec.GossipKeys[:1], rec.TokenKeys[:1]
		} else {
			if len(rec.Authorities) >= maxKeys {
				return api.KeyInfo{}, api.E(api.Busy, "cluster rotate", "", "%d generations of keys are accepted already; end the old ones first (sigmactl cluster rotate --drop-old)", maxKeys)
			}
			fresh, err := newKeys(rec.ID)
			if err != nil {
				return api.KeyInfo{}, err
			}
			rec.Authorities = append(fresh.Authorities, rec.Authorities...)
			rec.JoinTokens = append(fresh.JoinTokens, rec.JoinTokens...)
			rec.GossipKeys = append(fresh.GossipKeys, rec.GossipKeys...)
			rec.TokenKeys = append(fresh.TokenKeys, rec.TokenKeys...)
		}
		ok, err := named.PutCluster(ctx, s.etcd, rec)
		if err != nil {
			return api.KeyInfo{}, err
		}
		if ok {
			return api.KeyInfo{Generations: len(rec.Authorities)}, nil
		}
	}
	return api.KeyInfo{}, api.E(api.Busy, "cluster rotate", "", "somebody else changes the keys at the same time; try again")
}

// followKeys takes every change of the record over, and renews this node's
// certificate in time.
func (s *System) followKeys(ctx context.Context) {
	changes := make(chan named.Cluster, 1)
	done := make(chan struct{})
	go func() {
		defer close(done)
		named.WatchCluster(ctx, s.etcd, func(c named.Cluster) {
			select {
			case <-changes: // only the latest counts
			default:
			}
			changes <- c
		})
	}()
	defer func() { <-done }()
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case c := <-changes:
			s.record = c
		case <-tick.C:
		case <-again:
		}
		again = nil
		if err := s.takeKeys(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error("keys of the cluster", "err", err, "again in", retryKeys)
			again = time.After(retryKeys)
		}
	}
}

// takeKeys makes the record's keys this node's.
func (s *System) takeKeys(ctx context.Context) error {
	if err := s.tokens.Replace(s.record.TokenKeys...); err != nil {
		return err
	}
	_, trust, err := authorities(s.record)
	if err != nil {
		return err
	}
	if s.Gossip != nil {
		if err := s.Gossip.SetSecrets(s.record.GossipKeys); err != nil {
			return err
		}
		if err := s.updateShared(func(k *shared) { k.GossipKeys = s.record.GossipKeys }); err != nil {
			return err
		}
	}
	if !s.offersNamed() {
		return s.renewRemotely(ctx, trust)
	}
	return s.certify(ctx)
}

// renewRemotely has a node that hosts the record sign our certificate, where
// that is due.
func (s *System) renewRemotely(ctx context.Context, trust []byte) error {
	if err := s.Identity.SetTrust(trust); err != nil {
		return err
	}
	list, _, err := authorities(s.record)
	if err != nil {
		return err
	}
	if s.Identity.SignedBy(list[0]) && time.Now().Before(s.Identity.RenewAt()) {
		return nil
	}
	csr, err := s.Identity.CSR()
	if err != nil {
		return err
	}
	err = api.E(api.Unavailable, "renew", s.Config.Node, "no node with the role named answers")
	for _, m := range s.Gossip.Members() {
		if !offers(m.Roles, "named") {
			continue
		}
		var b []byte
		if b, err = (others{s}).Call(ctx, m.Number, methodSign, csr); err != nil {
			continue
		}
		var a signAnswer
		if err = json.Unmarshal(b, &a); err == nil {
			return s.Identity.Install(a.Chain, a.Trust)
		}
	}
	return err
}

type signAnswer struct{ Chain, Trust []byte }

// sign renews the certificate of the node that asks.
func (s *System) sign(ctx context.Context, r *rpc.Request) ([]byte, error) {
	p := r.Peer.(pki.Peer)
	if !s.offersNamed() {
		return nil, api.E(api.Unsupported, "renew", p.Name, "this node does not host the cluster's record")
	}
	rec, err := named.OpenCluster(ctx, s.etcd, newCluster)
	if err != nil {
		return nil, err
	}
	list, trust, err := authorities(rec)
	if err != nil {
		return nil, err
	}
	key, err := pki.CheckCSR(r.Body)
	if err != nil {
		return nil, api.E(api.Invalid, "renew", p.Name, "%v", err)
	}
	if err := named.ClaimName(ctx, s.etcd, p.Name, key); err != nil {
		return nil, err
	}
	chain, err := list[0].Sign(r.Body, p.Name, p.Number, time.Now())
	if err != nil {
		return nil, err
	}
	return json.Marshal(signAnswer{chain, trust})
}

// newKeys are one generation of a cluster's keys.
func newKeys(cluster string) (named.Cluster, error) {
	ca, err := pki.CreateAuthority(cluster, time.Now())
	if err != nil {
		return named.Cluster{}, err
	}
	b, err := ca.Marshal()
	if err != nil {
		return named.Cluster{}, err
	}
	return named.Cluster{
		ID: cluster, Authorities: [][]byte{b}, JoinTokens: []string{pki.NewToken(ca.Fingerprint()).Text()},
		GossipKeys: [][]byte{newSecret()}, TokenKeys: [][]byte{realmtoken.NewKey()},
	}, nil
}
