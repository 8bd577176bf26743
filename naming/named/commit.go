package named

import (
	"context"
	"sync/atomic"

	"sigmaos/api"
)

const (
	queueLen = 1024
	maxBatch = maxKeys // changes in one transaction
)

// change is one write on its way.
type change struct {
	req *req
	fn  func(*stage) error
	// weigh bounds the keys and bytes that fn will add; nil is an ordinary
	// change of a few hundred bytes.
	weigh func(*stage) (keys, bytes int)

	state atomic.Int32 // waiting, taken or abandoned
	err   error        // of fn; then of the transaction
	done  chan struct{}
}

const (
	waiting = iota
	taken
	abandoned
)

// do hands a change to the committer and waits for its outcome. A caller that
// gives up before the change was begun gets an error and nothing happens; after
// that it waits for the outcome, which has a bound.
func (t *term) do(ctx context.Context, c *change) error {
	c.done = make(chan struct{})
	select {
	case t.queue <- c:
	case <-ctx.Done():
		return c.req.ended(ctx)
	case <-t.ended:
		return t.endErr
	}
	select {
	case <-c.done:
		return c.err
	case <-ctx.Done():
		if c.state.CompareAndSwap(waiting, abandoned) {
			return c.req.ended(ctx)
		}
	case <-t.ended:
		if c.state.CompareAndSwap(waiting, abandoned) {
			return t.endErr
		}
	}
	<-c.done
	return c.err
}

// commitLoop takes what is queued, up to what one transaction holds, and
// commits it. While it waits for etcd, the next batch gathers.
func (t *term) commitLoop(ctx context.Context) {
	var next *change
	for {
		if next == nil {
			select {
			case next = <-t.queue:
			case <-t.ended:
				return
			}
		}
		s := newStage(t.st, t.limits, t.cfg.Clock.Now().UnixNano())
		var batch []*change
		batch, next = t.gather(s, next)
		if len(batch) == 0 {
			continue
		}
		t.settle(ctx, s, batch)
		if t.isEnded() {
			return // whoever waits sees that too
		}
	}
}

// gather stages changes in the order of their arrival until the queue is empty
// or the next one does not fit; that one is returned.
func (t *term) gather(s *stage, first *change) (batch []*change, next *change) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	for c := first; ; {
		keys, bytes := opKeys, 512
		if c.weigh != nil {
			keys, bytes = c.weigh(s)
		}
		if len(batch) > 0 && (s.keys()+keys > maxKeys || s.size+bytes > maxTxnBytes || len(batch) == maxBatch) {
			return batch, c
		}
		if c.state.CompareAndSwap(waiting, taken) {
			c.err = c.fn(s)
			batch = append(batch, c)
		}
		select {
		case c = <-t.queue:
		default:
			return batch, nil
		}
	}
}

// settle brings a batch to an end. Without an error of the whole every change
// has the outcome that its function returned.
func (t *term) settle(ctx context.Context, s *stage, batch []*change) {
	if s.empty() { // all were refused, or are about removed files: answers from memory
		t.publish(s)
		answer(batch, t.valid())
		return
	}
	if t.cfg.hooks.ackEarly {
		t.publish(s)
		answer(batch, nil)
		t.commit(ctx, s)
		t.settleDown()
		return
	}
	err := t.commit(ctx, s)
	if err == nil {
		t.publish(s)
	}
	t.settleDown()
	answer(batch, err)
}

func answer(batch []*change, err error) {
	for _, c := range batch {
		if err != nil {
			c.err = err
		}
		close(c.done)
	}
}

// publish makes a committed stage visible and tells the watchers.
func (t *term) publish(s *stage) {
	if f := t.cfg.hooks.publish; f != nil {
		f(t, s)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	s.publish(t.now())
	t.ring.push(s.events)
	t.hub.tell(s.events)
	for id := range s.leases {
		if l := t.st.leases[id]; l != nil {
			t.reap.watch(l)
		}
	}
}

func (t *term) unavailable(format string, args ...any) error {
	return api.E(api.Unavailable, "named", t.realm, format, args...)
}
