package named

import (
	"context"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

const historyTimeout = 10 * time.Second

// historyLoop reads what happened before this term, so that watches can resume
// across a change of leaders: the past values of the log key, as far back as
// etcd has not compacted them. The term serves meanwhile.
func (t *term) historyLoop(ctx context.Context) {
	defer close(t.history)
	if t.pastRev == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, historyTimeout)
	defer cancel()
	ev, whole := t.readPast(ctx, 1)
	if !whole {
		if !t.isEnded() {
			t.cfg.Logger.Info("the realm's past cannot be read: watches from before this leader must list again", "realm", t.realm)
		}
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ring.prepend(ev)
}

// readPast collects the events of the log's values from revision from on. whole
// reports that it came to the last one before this term.
func (t *term) readPast(ctx context.Context, from int64) (ev []event, whole bool) {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	limit := t.limits.Events
	for resp := range t.cfg.Etcd.Watch(wctx, t.keys.log(), clientv3.WithRev(from)) {
		if c := resp.CompactRevision; c > from {
			return t.readPast(ctx, c)
		}
		for _, e := range resp.Events {
			if e.Type == clientv3.EventTypeDelete || e.Kv.ModRevision > t.pastRev {
				return nil, false
			}
			rec, err := decodeLog(e.Kv.Value)
			if err != nil {
				return nil, false
			}
			if n := len(ev); n > 0 && len(rec.events) > 0 && rec.events[0].version != ev[n-1].version+1 {
				ev = ev[:0] // a gap: of a realm that was removed and made again
			}
			ev = append(ev, rec.events...)
			if len(ev) > 2*limit {
				ev = append(ev[:0], ev[len(ev)-limit:]...)
			}
			if e.Kv.ModRevision == t.pastRev {
				return ev, len(ev) == 0 || ev[len(ev)-1].version == rec.version
			}
		}
		if resp.Err() != nil {
			return nil, false
		}
	}
	return nil, false
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
