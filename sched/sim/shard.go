package sim

import (
	"time"

	"sigmaos/sched/be"
	"sigmaos/sched/pull"
)

// shardState is what a node keeps as a shard of the best-effort queue.
type shardState struct {
	shard  *pull.Shard   // nil until it holds one
	takes  bool          // it holds one now, by its own view
	freeAt time.Duration // of the next free that is planned
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
			if next, ok := n.shard.Gone(n.now, o.number); ok {
				n.hint(next)
			}
		}
	}
	// The status of a proc whose home is lost nobody can ask for.
	n.shard.Queue.RemoveIf(func(it be.Item) bool { return n.knowsDead(it.Payload.(*proc).home) })
	n.free()
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
	now := n.now
	n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Push(now, it) }, count: true})
	next, ok, err := n.shard.Push(now, it)
	if err != nil {
		n.send(n, p.home, func() { p.home.finish(p, refused) }, p)
		return
	}
	p.queuedAt = n
	if ok {
		n.hint(next)
	}
	n.free()
}

// free tells of what the shard keeps no more, and comes again when it is to.
func (n *inst) free() {
	for n.shard.Next() < 1<<62 {
		now := n.now
		n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Free(now) }})
		next, ok := n.shard.Free(now)
		if !ok {
			break
		}
		n.hint(next)
	}
	if next := n.shard.Next(); next < 1<<62 && (n.freeAt <= n.now || next < n.freeAt) {
		n.freeAt = next
		n.at(next, func() {
			if n.freeAt == next && !n.dead {
				n.free()
			}
		})
	}
}

func (n *inst) item(p *proc) be.Item {
	it := be.Item{ID: p.id, Realm: p.load.Name, Memory: p.memory, Digest: p.program, Payload: p}
	if !n.cfg.NoTies {
		it.Came = int64(p.spawned/10e6) + 1
	}
	if !n.cfg.NoNear {
		it.Near = p.near
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
		now := n.now
		n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Decline(now, from.number) }})
		next, ok := n.shard.Decline(now, from.number)
		if ok {
			n.hint(next)
		}
		n.free()
		return
	}
	if !n.quiet {
		n.stats.asks++
	}
	now := n.now
	n.records.shard.note(n, op[*pull.Shard]{do: func(s *pull.Shard) { s.Pull(now, nil, a) }})
	items, h := n.shard.Pull(now, nil, a)
	procs, grants := make([]*proc, len(items)), make([]int, len(items))
	for i, it := range items {
		p := it.Payload.(*proc)
		p.queuedAt, p.gaveBy, p.gaveTo = nil, n, from
		p.grants++
		procs[i], grants[i] = p, p.grants
		n.send(n, p.home, func() { p.home.isAt(p, from) }, p)
	}
	n.send(n, from, func() { from.answered(n, a.ID, procs, grants, h) }, procs...)
	n.free()
}

// takeBack is a node's word that it did not start p and never will.
func (n *inst) takeBack(p *proc) {
	if p.queuedAt == n || n.tombs[p] || n.shard == nil {
		return
	}
	next, ok, err := n.shard.Back(n.now, n.item(p))
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
