package place

import (
	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/sched/be"
	"sigmaos/sched/pull"
)

// maxQueuedBytes bounds what a realm's waiting procs take in a shard.
const maxQueuedBytes = 1 << 30

// shard is what a node keeps as a shard of the best-effort queue.
type shard struct {
	queue  *pull.Shard // nil until it holds one
	takes  bool        // it holds one now, by its own view
	serves bool        // takes, or is not empty yet
	items  []be.Item   // of asked
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
	next, ok, err := e.shard.queue.Push(o.item())
	if err != nil {
		return err
	}
	failpoint.Hit("queued")
	if ok {
		e.hint(next)
	}
	return nil
}

// hint tells a node that there is something for it.
func (e *Engine) hint(to uint16) { e.send(to, hint{e.shard.queue.Hint()}) }

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
		if next, ok := s.queue.Decline(from); ok {
			e.hint(next)
		}
		return
	}
	items, h := s.queue.Pull(s.items[:0], a)
	g := grant{id: a.ID, h: h, orders: make([]*Order, len(items))}
	for i, it := range items {
		o := it.Payload.(*Order)
		g.orders[i] = o
		e.send(o.home(), moved{o.ID, from})
	}
	clear(items)
	s.items = items[:0]
	e.send(from, g)
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
	next, ok, err := e.shard.queue.Back(o.item())
	if err != nil {
		e.send(o.home(), lost{o.ID, err.Error()})
		return
	}
	e.checkServing()
	if ok {
		e.hint(next)
	}
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
	if next, ok := s.queue.Gone(peer); ok {
		e.hint(next)
	}
	e.checkServing()
}
