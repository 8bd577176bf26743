package named

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// guardLoop ends the term when its key is taken away while the lease goes on:
// the realm is being removed. Nothing rests on how soon that is seen; writes
// are fenced, and nobody else leads the realm before its key is gone.
func (t *term) guardLoop(ctx context.Context) {
	for from := t.epoch + 1; !t.isEnded(); {
		for resp := range t.cfg.Etcd.Watch(ctx, t.keys.leader(), clientv3.WithRev(from)) {
			if len(resp.Events) > 0 {
				t.end("the leader's key was taken away")
				return
			}
			from = max(from, resp.CompactRevision)
		}
		// The watch broke off; a read tells what it may have missed.
		gctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
		resp, err := t.cfg.Etcd.Do(gctx, clientv3.OpGet(t.keys.leader()))
		cancel()
		switch {
		case err == nil && (len(resp.Get().Kvs) == 0 || resp.Get().Kvs[0].CreateRevision != t.epoch):
			t.end("the leader's key was taken away")
			return
		case err == nil:
			from = resp.Get().Header.Revision + 1
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
}
