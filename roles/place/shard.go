package place

import (
	"time"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/sched/be"
	"sigmaos/sched/pull"
)

// maxQueuedBytes bounds what a realm's waiting procs take in a shard.
const maxQueuedBytes = 1 << 30

// shard is what a node keeps as a shard of the best-effort queue.
type shard struct {
	queue  *pull.Shard   // nil until it holds one
	takes  bool          // it holds one now, by its own view
	serves bool          // takes, or is not empty yet
	items  []be.Item     // of asked
	wake   time.Duration // of the free that is planned; 0 is none
}

// seeShard follows the election.
func (e *Engine) seeShard() {
	s := &e.shard
	s.takes = false
	for _, n := range e.view.shards {
		s.takes = s.takes || n == e.cfg.Self.Number
	}
	if s.takes && s.queue == nil {
		q := be.New(e.cfg.Queued)
		q.LimitBytes(maxQueuedBytes)
		s.queue = pull.NewShard(e.cfg.Self.Number, q)
	}
	e.checkServing()
}

// checkServing tells of a shard that begins to serve, or is empty and ends to.
func (e *Engine) checkServing() {
	s := &e.shard
	serves := s.takes || s.queue != nil && s.queue.Queue.Len() > 0
	if serves != s.serves {
		s.serves = serves
		e.do(func() { e.cfg.Serving(serves) })
	}
}

// push takes an order into the queue.
func (e *Engine) push(o *Order) error {
	if !e.shard.takes {
		return errNotHere
	}
	if e.run.tombs.has(o.ID) {
		return nil
	}
	next, ok, err := e.shard.queue.Push(e.now(), o.item(e.view.near(o)))
	if err != nil {
		return err
	}
	failpoint.Hit("queued")
	e.hint(next, ok)
	return nil
}

// hint tells a node, where ok, that there is something for it, and so those that may now
// have what was kept for others. It follows everything that the queue is told.
func (e *Engine) hint(to uint16, ok bool) {
	q := e.shard.queue
	if ok {
		e.send(to, hint{q.Hint()})
	}
	for to, ok = q.Free(e.now()); ok; to, ok = q.Free(e.now()) {
		e.send(to, hint{q.Hint()})
	}
	e.planFree()
}

// planFree sees to it that what is kept for nodes that do not answer is kept no longer
// than it may.
func (e *Engine) planFree() {
	s := &e.shard
	next := s.queue.Next()
	if next >= 1<<62 || s.wake != 0 && s.wake <= next {
		return
	}
	s.wake = next
	e.after(next-e.now(), func() {
		if s.wake == next {
			s.wake = 0
			e.hint(0, false)
		}
	})
}

// asked answers a node's ask.
func (e *Engine) asked(from uint16, a pull.Ask) {
	s := &e.shard
	a.Node = from
	switch {
	case s.queue == nil:
		if !a.Decline {
			e.send(from, grant{id: a.ID})
		}
		return
	case a.Decline:
		e.hint(s.queue.Decline(e.now(), from))
		return
	}
	items, h := s.queue.Pull(e.now(), s.items[:0], a)
	g := grant{id: a.ID, h: h, orders: make([]*Order, len(items))}
	for i, it := range items {
		o := it.Payload.(*Order)
		g.orders[i] = o
		e.send(o.home(), moved{o.ID, from})
	}
	clear(items)
	s.items = items[:0]
	e.send(from, g)
	e.hint(0, false)
	if len(g.orders) > 0 {
		failpoint.Hit("granted")
		e.checkServing()
	}
}

// givenBack is a node's word that it has not started a proc and never will.
func (e *Engine) givenBack(from uint16, o *Order) {
	if e.shard.queue == nil || e.run.tombs.has(o.ID) {
		e.send(o.home(), lost{o.ID, "a node gave it back when its queue was gone"})
		return
	}
	e.send(o.home(), moved{o.ID, e.cfg.Self.Number})
	next, ok, err := e.shard.queue.Back(e.now(), o.item(e.view.near(o)))
	if err != nil {
		e.send(o.home(), lost{o.ID, err.Error()})
		return
	}
	e.checkServing()
	e.hint(next, ok)
}

// unqueue takes an order out of the queue.
func (e *Engine) unqueue(id api.ProcID) bool {
	if e.shard.queue == nil || !e.shard.queue.Queue.Remove(string(id)) {
		return false
	}
	e.checkServing()
	return true
}

// shardOver forgets the orders of a home, and that a node wants any.
func (e *Engine) shardOver(peer uint16) {
	s := &e.shard
	if s.queue == nil {
		return
	}
	s.queue.Queue.RemoveIf(func(it be.Item) bool { return it.Payload.(*Order).home() == peer })
	e.hint(s.queue.Gone(e.now(), peer))
	e.checkServing()
}
