package roles

import (
	"context"
	"path/filepath"

	"sigmaos/api"
	"sigmaos/naming/named"
)

// DefaultRealm is made at the first start, so that a fresh node can run
// something.
const DefaultRealm = "default"

func startNamed(ctx context.Context, s *System) (func(context.Context) error, error) {
	peer, err := named.StartPeer(ctx, named.PeerConfig{
		Name: s.Config.Node, DataDir: filepath.Join(s.Config.DataDir, "etcd"), RunDir: s.Config.RunDir,
		Logger: s.Log.With("role", "named"),
	})
	if err != nil {
		return nil, err
	}
	realms, err := named.OpenRealms(ctx, peer.Client(), s.Log.With("role", "named"))
	if err != nil {
		peer.Close()
		return nil, err
	}
	close := func(context.Context) error {
		realms.Close()
		return peer.Close()
	}
	s.nodeNum, s.boot, err = named.Boot(ctx, peer.Client(), s.Config.Node)
	if err == nil {
		_, err = realms.Create(ctx, api.Realm{Name: DefaultRealm})
		if api.KindOf(err) == api.Exists {
			err = nil
		}
	}
	if err != nil {
		close(ctx)
		return nil, err
	}
	s.Peer, s.Realms = peer, realms
	return close, nil
}
