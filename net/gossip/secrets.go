package gossip

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"

	"github.com/hashicorp/memberlist"

	"sigmaos/api"
)

const maxSecrets = 3 // before, now, next

// keys derives the packets' keys from the cluster's secrets, which serve for
// nothing else and are not in any key file of memberlist's.
func keys(secrets [][]byte, cluster string) ([][]byte, error) {
	if len(secrets) == 0 || len(secrets) > maxSecrets {
		return nil, api.E(api.Invalid, "gossip", "", "%d secrets; want 1 to %d", len(secrets), maxSecrets)
	}
	var out [][]byte
	for _, s := range secrets {
		if len(s) < 16 {
			return nil, api.E(api.Invalid, "gossip", "", "a secret of %d bytes; want at least 16", len(s))
		}
		key, err := hkdf.Key(sha256.New, s, nil, "sigma gossip 1 "+cluster, 32)
		if err != nil {
			return nil, api.E(api.Internal, "gossip", "", "%v", err)
		}
		out = append(out, key)
	}
	return out, nil
}

// SetSecrets replaces the cluster's secrets. To rotate without a gap: first every
// node gets the new one behind the old one, then every node gets it in front,
// then every node gets it alone.
func (g *Gossip) SetSecrets(secrets [][]byte) error {
	ks, err := keys(secrets, g.me.Cluster)
	if err != nil {
		return err
	}
	g.ringMu.Lock()
	defer g.ringMu.Unlock()
	for _, k := range ks {
		if err := g.ring.AddKey(k); err != nil {
			return api.E(api.Internal, "gossip", "", "%v", err)
		}
	}
	if err := g.ring.UseKey(ks[0]); err != nil {
		return api.E(api.Internal, "gossip", "", "%v", err)
	}
	return trimRing(g.ring, ks)
}

// trimRing drops keys that are not wanted. memberlist reads the ring's slice
// without a lock, and RemoveKey moves what is behind the removed key; so keys are
// taken from the end alone, where nothing has to move, and put back if wanted.
func trimRing(ring *memberlist.Keyring, want [][]byte) error {
	wanted := func(k []byte) bool {
		for _, w := range want {
			if bytes.Equal(w, k) {
				return true
			}
		}
		return false
	}
	keep := 0
	held := ring.GetKeys()
	for keep < len(held) && wanted(held[keep]) {
		keep++
	}
	for i := len(held) - 1; i >= keep; i-- {
		if err := ring.RemoveKey(held[i]); err != nil {
			return api.E(api.Internal, "gossip", "", "%v", err)
		}
	}
	for _, k := range held[keep:] {
		if wanted(k) {
			if err := ring.AddKey(k); err != nil {
				return api.E(api.Internal, "gossip", "", "%v", err)
			}
		}
	}
	return nil
}
