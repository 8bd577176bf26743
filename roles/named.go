package roles

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/named"
)

// DefaultRealm is made at the first start, so that a fresh node can run
// something.
const DefaultRealm = "default"

// startRealms follows the table of tenants.
func startRealms(ctx context.Context, s *System) (func(context.Context) error, error) {
	realms, err := named.OpenRealms(ctx, s.etcd, s.Log.With("role", "realms"))
	if err != nil {
		return nil, err
	}
	_, err = realms.Create(ctx, api.Realm{Name: DefaultRealm})
	if err != nil && api.KindOf(err) != api.Exists {
		realms.Close()
		return nil, err
	}
	s.Realms = realms
	return func(context.Context) error { realms.Close(); return nil }, nil
}
