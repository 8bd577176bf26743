package sim

import (
	"sigmaos/sched/be"
	"sigmaos/sched/pull"
)

// shardState is what a node keeps as a shard of the best-effort queue.
type shardState struct {
	shard *pull.Shard // nil until it holds one
	takes bool        // it holds one now, by its own view
}

// seeShard follows the election.
func (n *inst) seeShard(ver *version) {
	took := n.takes
	n.takes = false
	for _, s := range ver.shards {
		n.takes = n.takes || s == n.number
	}
	if n.takes && n.shard == nil {
		n.shard = pull.NewShard(n.number, be.New(n.cfg.QueueMax))
		if n.records.shard.of == nil {
			n.records.shard.of = n
		}
	}
	if n.shard == nil {
		return
	}
	if took && !n.takes && n.shard.Queue.Len() > 0 {
		n.changed(nil) // it serves until it is empty, and says so
	}
	for number := 1; number < len(n.cur); number++ {
		if o := n.cur[number]; o.dead && n.knowsDead(o) {
			if next, ok := n.shard.Gone(o.number); ok {
				n.hint(next)
			}
		}
	}
	// The status of a proc whose home is lost nobody can ask for.
	n.shard.Queue.RemoveIf(func(it be.Item) bool { return n.knowsDead(it.Payload.(*proc).home) })
}

// push is a Spawn that arrives at a shard.
func (n *inst) push(p *proc, attempt int) {
	if n.tombs[p] || p.queuedAt == n || p.gaveBy == n || p.backTo == n {
		return
	}
	if !n.takes {
		n.send(n, p.home, func() { p.home.notThere(p, attempt) }, p)
		return
	}
	it := n.item(p)
	n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Push(it) }, count: true})
	next, ok, err := n.shard.Push(it)
	if err != nil {
		n.send(n, p.home, func() { p.home.finish(p, refused) }, p)
		return
	}
	p.queuedAt = n
	if ok {
		n.hint(next)
	}
}

func (n *inst) item(p *proc) be.Item {
	it := be.Item{ID: p.id, Realm: p.load.Name, Memory: p.memory, Digest: p.program, Payload: p}
	if !n.cfg.NoTies {
		it.Came = int64(p.spawned/10e6) + 1
	}
	return it
}

// hint tells a node that there is something for it.
func (n *inst) hint(number uint16) {
	h, to := n.shard.Hint(), n.cur[number]
	n.stats.hints++
	n.send(n, to, func() {
		to.records.node.note(to, op[*pull.Puller]{do: func(p *pull.Puller) { p.Told(n.number, h) }})
		to.puller.Told(n.number, h)
		to.tick()
	})
}

// asked answers a node's ask.
func (n *inst) asked(from *inst, a pull.Ask) {
	if n.shard == nil {
		n.send(n, from, func() { from.answered(n, a.ID, nil, nil, pull.Hint{}) })
		return
	}
	if a.Decline {
		n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Decline(from.number) }})
		next, ok := n.shard.Decline(from.number)
		if ok {
			n.hint(next)
		}
		return
	}
	if !n.quiet {
		n.stats.asks++
	}
	n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Pull(nil, a) }})
	items, h := n.shard.Pull(nil, a)
	procs, grants := make([]*proc, len(items)), make([]int, len(items))
	for i, it := range items {
		p := it.Payload.(*proc)
		p.queuedAt, p.gaveBy, p.gaveTo = nil, n, from
		p.grants++
		procs[i], grants[i] = p, p.grants
		n.send(n, p.home, func() { p.home.isAt(p, from) }, p)
	}
	n.send(n, from, func() { from.answered(n, a.ID, procs, grants, h) }, procs...)
}

// takeBack is a node's word that it did not start p and never will.
func (n *inst) takeBack(p *proc) {
	if p.queuedAt == n || n.tombs[p] || n.shard == nil {
		return
	}
	next, ok, err := n.shard.Back(n.item(p))
	if err != nil {
		n.stats.violation("a shard cannot take back what it gave: %v", err)
		return
	}
	n.stats.backs++
	p.queuedAt, p.gaveBy, p.gaveTo = n, nil, nil
	n.send(n, p.home, func() { p.home.isAt(p, n) }, p)
	if ok {
		n.hint(next)
	}
}

// dieShard loses what is queued.
func (n *inst) dieShard() {
	if n.shard == nil {
		return
	}
	n.shard.Queue.RemoveIf(func(it be.Item) bool {
		n.worry([]*proc{it.Payload.(*proc)})
		return true
	})
}
