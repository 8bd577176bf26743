package named

import (
	"container/heap"
	"context"
	"sync"
	"time"

	"sigmaos/api"
)

// reaper ends leases that were not renewed. due is a heap of when to look; a
// lease that was renewed since is put back with its new time.
type reaper struct {
	due  dueHeap // guarded by the term's lock
	wake chan struct{}
}

type dueLease struct {
	at time.Duration
	l  *lease
}

type dueHeap []dueLease

func (h dueHeap) Len() int           { return len(h) }
func (h dueHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h dueHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *dueHeap) Push(x any)        { *h = append(*h, x.(dueLease)) }
func (h *dueHeap) Pop() any {
	old := *h
	x := old[len(old)-1]
	*h = old[:len(old)-1]
	return x
}

// watch has a lease looked at when it may have run out. The caller holds the
// term's lock.
func (r *reaper) watch(l *lease) {
	heap.Push(&r.due, dueLease{l.deadline, l})
	if r.due[0].l == l {
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
}

// stalled is a delay of a timer from which on this process is taken not to have
// run for a while, so that it heard no renewals.
const stalled = minLease / 4

// reapLoop waits for the next lease that may have run out.
func (t *term) reapLoop(ctx context.Context) {
	for t.settled(ctx) == nil { // else renewals wait, and no lease must end for it
		wait, expired := t.expired()
		t.revokeAll(ctx, expired)
		if len(expired) > 0 {
			continue
		}
		at := t.now() + wait
		late := make(chan time.Duration, 1)
		timer := t.cfg.Clock.AfterFunc(wait, func() { late <- t.now() - at })
		var delay time.Duration
		select {
		case delay = <-late:
		case <-t.reap.wake:
			timer.Stop()
			select {
			case delay = <-late:
			default:
				delay = t.now() - at
			}
		case <-t.ended:
			timer.Stop()
			return
		}
		if delay > stalled {
			t.refreshLeases()
		}
	}
}

// expired marks the leases that have run out and says when to look again.
func (t *term) expired() (wait time.Duration, out []string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for len(t.reap.due) > 0 {
		d := t.reap.due[0]
		if d.at > now {
			return d.at - now, out
		}
		heap.Pop(&t.reap.due)
		switch {
		case t.st.leases[d.l.id] != d.l: // it is gone
		case d.l.deadline > now:
			heap.Push(&t.reap.due, dueLease{d.l.deadline, d.l})
		default:
			d.l.ending = true
			out = append(out, d.l.id)
		}
	}
	return time.Hour, out
}

// refreshLeases gives every lease its full time, after one in which nobody could
// renew.
func (t *term) refreshLeases() {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for _, l := range t.st.leases {
		l.deadline = max(l.deadline, now+l.ttl)
	}
}

// revokeAll ends leases together, so that they share transactions.
func (t *term) revokeAll(ctx context.Context, ids []string) {
	var wg sync.WaitGroup
	free := make(chan struct{}, 64)
	for _, id := range ids {
		free <- struct{}{}
		wg.Go(func() {
			defer func() { <-free }()
			if err := t.revoke(ctx, id); err != nil && !t.isEnded() {
				t.cfg.Logger.Warn("a lease that ran out could not be ended; trying again", "realm", t.realm, "err", err)
				t.retryRevoke(id)
			}
		})
	}
	wg.Wait()
}

// retryRevoke has the reaper look at a lease again in a second.
func (t *term) retryRevoke(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if l := t.st.leases[id]; l != nil {
		l.deadline = t.now() + time.Second
		t.reap.watch(l)
	}
}

// revoke removes a lease and its files, in as many transactions as it needs.
func (t *term) revoke(ctx context.Context, id string) error {
	r := &req{c: &api.Caller{Operator: true}, op: "lease", path: id}
	for more := true; more; {
		err := t.do(ctx, &change{
			req:   r,
			fn:    func(s *stage) error { more = s.revoke(id); return nil },
			weigh: func(s *stage) (int, int) { return s.revokeKeys(id), revokeStep * 256 },
		})
		if err != nil {
			return err
		}
	}
	return nil
}
