package named

import (
	"context"
	"slices"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const historyTimeout = 3 * time.Second

// historyLoop reads what happened before this term, so that watches can resume
// across a change of leaders. The term serves meanwhile.
func (t *term) historyLoop(ctx context.Context) {
	defer close(t.history)
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	ev := t.readPast(ctx)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring.prepend(ev)
}

// readPast returns the events up to the begin of this term: the past values of
// the log key, read backwards one after the other. It ends where etcd has
// compacted them, where enough is read, or where time is up; what it has is
// whole up to the begin in any case. (A watch from a past revision would be
// simpler, but has etcd read the values of all keys since then at once.)
func (t *term) readPast(ctx context.Context) []event {
	var parts [][]event
	next, n := t.pastVersion, 0 // version with which the part before ends
	for rev := t.pastRev; rev > 0 && n < t.limits.Events; {
		resp, err := t.cfg.Etcd.Do(ctx, clientv3.OpGet(t.keys.log(), clientv3.WithRev(rev), clientv3.WithSerializable()))
		if err != nil || len(resp.Get().Kvs) == 0 {
			break
		}
		kv := resp.Get().Kvs[0]
		rec, err := decodeLog(kv.Value)
		if err != nil || rec.version != next {
			break // of a tree that was removed
		}
		parts = append(parts, rec.events)
		n += len(rec.events)
		next -= uint64(len(rec.events))
		rev = kv.ModRevision - 1
	}
	slices.Reverse(parts)
	return slices.Concat(parts...)
}

// awaitHistory waits for the past if a watch needs it.
func (t *term) awaitHistory(ctx context.Context, r *req, version uint64) error {
	if version == 0 {
		return nil
	}
	t.mu.RLock()
	recent := version >= t.ring.base
	t.mu.RUnlock()
	if recent {
		return nil
	}
	select {
	case <-t.history:
		return nil
	case <-t.ended:
		return t.endErr
	case <-ctx.Done():
		return r.ended(ctx)
	}
}
