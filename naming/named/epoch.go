package named

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// Epoch gives out a number that is higher than all it gave out before for that
// purpose: etcd's revision of a write.
func Epoch(ctx context.Context, c *clientv3.Client, purpose, node string) (uint64, error) {
	r, err := c.Put(ctx, "/sigma/v1/epoch/"+purpose, node)
	if err != nil {
		return 0, api.E(api.Unavailable, "epoch", purpose, "etcd: %v", err)
	}
	return uint64(r.Header.Revision), nil
}
