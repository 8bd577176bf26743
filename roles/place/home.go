package place

import (
	"fmt"
	"math/rand/v2"
	"time"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
)

// home is what a node keeps of the procs whose Spawn it took, until they end.
type home struct {
	rng  *rand.Rand
	live map[api.ProcID]*entry
}

// entry is such a proc: who has it.
type entry struct {
	o     *Order
	at    uint16 // has the order, or gave it away last; 0 is nobody
	to    uint16 // was given it; 0 is nobody
	taken bool   // to said that it has it; at is out of it then
	tries int
}

// depends says whether the proc is lost with a node.
func (x *entry) depends(n uint16) bool {
	return x.to == n && n != 0 || !x.taken && x.at == n && n != 0
}

const (
	elsewhere = 50 * time.Millisecond // until another place is tried
	maxTries  = 100
)

func (h *home) init(cfg Config) {
	h.rng = rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Self.Boot)<<16|uint64(cfg.Self.Number)))
	h.live = make(map[api.ProcID]*entry)
}

// Submit takes a proc whose home this node is. Where it is refused at once there is
// an error. Else accepted is called before anything happens to the proc, and
// Host.Finished tells how it ended.
func (e *Engine) Submit(o *Order, accepted func()) error {
	e.mu.Lock()
	defer e.unlock()
	if e.closed {
		return api.E(api.Unavailable, "spawn", o.Desc.Program, "this sigmad is stopping")
	}
	if e.home.live[o.ID] != nil {
		return api.E(api.Exists, "spawn", string(o.ID), "the id is in use")
	}
	x := &entry{o: o}
	e.home.live[o.ID] = x
	if err := e.route(x); err != nil {
		delete(e.home.live, o.ID)
		return err
	}
	failpoint.Hit("submitted")
	if accepted != nil {
		e.do(accepted)
	}
	return nil
}

// route gives an order to whoever is to place it. The error is this node's own word.
func (e *Engine) route(x *entry) error {
	x.at, x.to = e.target(x.o), 0
	switch x.at {
	case 0:
		e.tryAgain(x)
		return nil
	case e.cfg.Self.Number:
	default:
		e.send(x.at, submit{x.o})
		return nil
	}
	err := e.accept(x.o)
	if err == errNotHere {
		e.tryAgain(x)
		return nil
	}
	return err
}

// target is who places o: the own shard or another one, or lcsched; 0 is nobody.
func (e *Engine) target(o *Order) uint16 {
	switch {
	case o.Desc.Node != "":
		return e.view.number(o.Desc.Node)
	case o.lc():
		return e.view.lcsched
	}
	list := e.view.shards
	if len(list) == 0 {
		return 0
	}
	if e.shard.takes {
		return e.cfg.Self.Number
	}
	return list[e.home.rng.IntN(len(list))]
}

// tryAgain looks for another place after a while, and gives up in the end.
func (e *Engine) tryAgain(x *entry) {
	x.at, x.to = 0, 0
	if x.tries++; x.tries > maxTries {
		e.finish(x, Result{Status: api.Status{State: api.Refused, Message: e.nowhere(x.o) + "; spawn it again"}})
		return
	}
	e.after(elsewhere, func() {
		if e.home.live[x.o.ID] != x || x.at != 0 {
			return
		}
		if err := e.route(x); err != nil {
			e.finish(x, Result{Status: api.Status{State: api.Refused, Message: err.Error()}})
		}
	})
}

// nowhere says why nobody takes an order.
func (e *Engine) nowhere(o *Order) string {
	switch {
	case o.Desc.Node != "":
		return "no node " + o.Desc.Node + " runs procs now"
	case o.lc():
		return "no node of the cluster is lcsched, which places latency-critical procs: none offers the role, or etcd does not answer"
	}
	return "no node of the cluster holds a shard of the queue (role besched)"
}

// finish makes a status final.
func (e *Engine) finish(x *entry, r Result) {
	delete(e.home.live, x.o.ID)
	id := x.o.ID
	e.do(func() { e.cfg.Host.Finished(id, r) })
}

// lose gives a proc up, for good, and sees to it that it does not run.
func (e *Engine) lose(x *entry, gone uint16, why string) {
	e.finish(x, Result{Status: api.Status{State: api.Lost, Message: why}})
	e.retract(x, gone, why)
}

// retract tells whoever may have a proc that it is not to run; gone needs no word.
func (e *Engine) retract(x *entry, gone uint16, why string) {
	if x.at != 0 && x.at != gone && !x.taken {
		e.send(x.at, drop{x.o.ID, why})
	}
	if x.to != 0 && x.to != gone && x.to != x.at {
		e.send(x.to, drop{x.o.ID, why})
	}
}

// Kill has a proc of this home ended; one that no node has taken ends at once.
func (e *Engine) Kill(id api.ProcID, as api.State, reason string, grace time.Duration) {
	e.mu.Lock()
	defer e.unlock()
	x := e.home.live[id]
	switch {
	case x == nil || e.closed:
	case x.taken:
		e.send(x.to, kill{id, as, reason, int64(grace)})
	default:
		e.finish(x, Result{Status: api.Status{State: as, Message: reason}})
		e.retract(x, 0, reason)
	}
}

// homeOver loses what depended on a node.
func (e *Engine) homeOver(peer uint16) {
	for _, x := range e.home.live {
		if x.depends(peer) {
			e.lose(x, peer, fmt.Sprintf("node %s, which had it, fell silent", e.view.name(peer)))
		}
	}
}

func (e *Engine) homeNotHere(from uint16, id api.ProcID) {
	if x := e.home.live[id]; x != nil && x.at == from && !x.taken {
		e.tryAgain(x)
	}
}

func (e *Engine) homeRefused(from uint16, m refuse) {
	if x := e.home.live[m.id]; x != nil && x.at == from && !x.taken {
		e.finish(x, Result{Status: api.Status{State: api.Refused, Message: m.err.Text}})
	}
}

// homeMoved is the word of who had the order: who has it now.
func (e *Engine) homeMoved(from uint16, m moved) {
	x := e.home.live[m.id]
	switch {
	case x == nil: // it ended meanwhile: whoever gets it must not start it
		if m.to != from {
			e.send(m.to, drop{m.id, "its home has given it up"})
		}
	case x.taken || x.at != from:
	case m.to == from: // it has it back
		x.to = 0
	default:
		x.to = m.to
		if m.to != e.cfg.Self.Number {
			e.cfg.Watch(m.to)
		}
	}
}

func (e *Engine) homeLost(m lost) {
	if x := e.home.live[m.id]; x != nil && !x.taken {
		e.lose(x, 0, m.why)
	}
}

func (e *Engine) homeTaken(from uint16, id api.ProcID) {
	x := e.home.live[id]
	if x == nil || x.taken && x.to != from {
		e.send(from, drop{id, "its home has given it up"})
		return
	}
	x.taken, x.to = true, from
	e.do(func() { e.cfg.Host.Placed(id, from) })
}

// has says whether a node speaks of a proc that it runs for this home.
func (e *Engine) has(from uint16, id api.ProcID) bool {
	x := e.home.live[id]
	return x != nil && x.taken && x.to == from
}

func (e *Engine) homeBegan(from uint16, m began) {
	if e.has(from, m.id) {
		e.do(func() { e.cfg.Host.Running(m.id, m.stamps) })
	}
}

func (e *Engine) homeWrote(from uint16, m wrote) {
	if e.has(from, m.id) {
		e.do(func() { e.cfg.Host.Output(m.id, m.stream, m.data) })
		e.send(from, kept{m.id, len(m.data)})
	}
}

func (e *Engine) homeEnded(from uint16, m ended) {
	if e.has(from, m.id) {
		e.finish(e.home.live[m.id], m.r)
	}
}
