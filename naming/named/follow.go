package named

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// follow calls apply with the changes below prefix after revision rev, in order,
// until ctx ends. Where it cannot go on, as after a compaction, load reads
// everything again and says at which revision.
func follow(ctx context.Context, c *clientv3.Client, prefix string, rev int64, apply func([]*clientv3.Event), load func(context.Context) (int64, error)) {
	for ctx.Err() == nil {
		for resp := range c.Watch(ctx, prefix, clientv3.WithPrefix(), clientv3.WithRev(rev+1)) {
			if n := len(resp.Events); n > 0 {
				apply(resp.Events)
				rev = resp.Events[n-1].Kv.ModRevision
			}
		}
		if ctx.Err() != nil {
			return
		}
		if n, err := load(ctx); err == nil {
			rev = n
			continue
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}
