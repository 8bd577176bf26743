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
	for !t.guard(ctx) {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
	}
	t.end("the leader's key was taken away")
}

// guard watches the key, and reads it once the watch has begun: a watch from a
// past revision would have etcd read all that was written since. It reports
// that the key has gone; false means that the watch broke off.
func (t *term) guard(ctx context.Context) bool {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range t.cfg.Etcd.Watch(wctx, t.keys.leader(), clientv3.WithCreatedNotify()) {
		if len(resp.Events) > 0 {
			return true
		}
		if !resp.Created {
			continue
		}
		gctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
		got, err := t.cfg.Etcd.Do(gctx, clientv3.OpGet(t.keys.leader()))
		cancel()
		if err != nil {
			return false
		}
		if kvs := got.Get().Kvs; len(kvs) == 0 || kvs[0].CreateRevision != t.epoch {
			return true
		}
	}
	return false
}
