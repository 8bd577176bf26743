package place

import (
	"errors"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/sched/lc"
)

// lcsched is what a node keeps while it places latency-critical procs.
type lcsched struct {
	table    *lc.Table // nil unless it does
	epoch    uint64
	known    map[uint16]uint32 // nodes in the table, and their boots
	claiming bool
}

const (
	pollTime   = time.Second            // between reports of a node
	claimAgain = 100 * time.Millisecond // after an epoch that was not to be had, or was not the last
)

// seeLC follows the election and the members.
func (e *Engine) seeLC() {
	switch mine := e.view.lcsched == e.cfg.Self.Number && e.view.lcsched != 0; {
	case e.lcs.table != nil && !mine:
		e.stopLC()
	case e.lcs.table != nil:
		e.seeNodes()
	case mine && e.cfg.Patience > 0:
		e.after(e.cfg.Patience, func() {
			if e.view.lcsched == e.cfg.Self.Number && e.lcs.table == nil {
				e.claim()
			}
		})
	case mine:
		e.claim()
	}
}

// claim has etcd give out an epoch.
func (e *Engine) claim() {
	if e.lcs.claiming || e.cfg.Claim == nil {
		return
	}
	e.lcs.claiming = true
	e.wg.Add(1)
	go func() {
		defer e.wg.Done()
		epoch, err := e.cfg.Claim(e.ctx)
		e.mu.Lock()
		defer e.unlock()
		e.lcs.claiming = false
		switch mine := e.view.lcsched == e.cfg.Self.Number; {
		case e.closed || !mine || e.lcs.table != nil:
		case err != nil:
			e.cfg.Logger.Warn("lcsched: no epoch from etcd", "err", err)
			e.claimLater()
		default:
			e.startLC(epoch)
		}
	}()
}

func (e *Engine) claimLater() { e.after(claimAgain, e.seeLC) }

func (e *Engine) startLC(epoch uint64) {
	e.cfg.Logger.Info("this node is lcsched", "epoch", epoch)
	e.lcs.table = lc.New(lc.Config{Epoch: epoch, Waiting: e.cfg.Queued})
	e.lcs.epoch, e.lcs.known = epoch, make(map[uint16]uint32)
	e.seeNodes()
	e.poll(epoch)
}

// seeNodes tells the table which nodes there are.
func (e *Engine) seeNodes() {
	l := &e.lcs
	for n, boot := range l.known {
		if m, ok := e.view.members[n]; !ok || m.Boot != boot || !offers(m, "node") {
			l.table.Lost(n)
			delete(l.known, n)
		}
	}
	for n, m := range e.view.members {
		if !offers(m, "node") {
			continue
		}
		l.table.Join(lc.Node{Number: n, Boot: m.Boot, Name: m.Name, Domain: m.Domain, Draining: m.Draining || m.Leaving})
		if _, old := l.known[n]; !old {
			l.known[n] = m.Boot
			e.greet(n)
		}
	}
	e.flush()
}

// greet has a node report.
func (e *Engine) greet(n uint16) {
	if h, ok := e.lcs.table.Hello(n); ok {
		e.send(n, hello{h})
	}
}

// poll has all nodes report again and again.
func (e *Engine) poll(epoch uint64) {
	e.after(pollTime, func() {
		if e.lcs.table == nil || e.lcs.epoch != epoch {
			return
		}
		for n := range e.lcs.known {
			e.greet(n)
		}
		e.poll(epoch)
	})
}

// place takes an order.
func (e *Engine) place(o *Order) error {
	t := e.lcs.table
	if t == nil {
		return errNotHere
	}
	if e.run.tombs.has(o.ID) {
		return nil
	}
	err := t.Place(o.request())
	if api.KindOf(err) == api.Unavailable {
		err = errNotHere
	}
	e.flush()
	return err
}

// flush sends out what the table has decided.
func (e *Engine) flush() {
	t := e.lcs.table
	if t == nil {
		return
	}
	if t.Deposed() != 0 {
		e.deposed(t.Deposed())
		return
	}
	for _, d := range slices.Clone(t.Decisions()) {
		o := d.Payload.(*Order)
		switch {
		case d.Err == nil:
			e.send(o.home(), moved{o.ID, d.Node})
			e.send(d.Node, decide{o, d.Epoch, d.Seq})
			failpoint.Hit("decided")
		case api.KindOf(d.Err) == api.NoCapacity:
			e.send(o.home(), refuse{o.ID, api.AsError("place", d.Err)})
		default:
			e.send(o.home(), lost{o.ID, api.AsError("place", d.Err).Text})
		}
	}
}

// hear takes a node's message into the table.
func (e *Engine) hear(do func(*lc.Table) error) {
	t := e.lcs.table
	if t == nil {
		return
	}
	err := do(t)
	if err != nil && !errors.Is(err, lc.ErrOld) && !errors.Is(err, lc.ErrDeposed) {
		e.cfg.Logger.Error("lcsched: a message that makes no sense", "err", err)
	}
	e.flush()
}

func (e *Engine) reported(r lc.Report) {
	e.hear(func(t *lc.Table) error { return t.Report(r) })
}

func (e *Engine) released(m release) {
	e.hear(func(t *lc.Table) error { return t.Release(m.from, string(m.id)) })
}

// wasRefused puts a proc that its node has not taken back into the queue.
func (e *Engine) wasRefused(m refused) {
	if home, _, ok := m.id.Home(); ok && e.lcs.table != nil {
		e.send(home, moved{m.id, e.cfg.Self.Number})
	}
	e.hear(func(t *lc.Table) error { return t.Refused(m.from, string(m.id)) })
}

// deposed ends this lcsched: a node has heard of a later one. If it should be this
// node all the same, it claims a later epoch.
func (e *Engine) deposed(epoch uint64) {
	if e.lcs.table == nil || epoch <= e.lcs.epoch {
		return
	}
	e.stopLC()
	e.claimLater()
}

// stopLC gives the orders that wait back to their homes. None of them was given to a
// node that could still start it.
func (e *Engine) stopLC() {
	t := e.lcs.table
	e.cfg.Logger.Info("this node is not lcsched any more", "epoch", e.lcs.epoch)
	for _, r := range t.CancelIf(func(lc.Request) bool { return true }) {
		o := r.Payload.(*Order)
		e.send(o.home(), notHere{o.ID})
	}
	e.lcs.table, e.lcs.known = nil, nil
}

// lcOver forgets the orders of a home; its node takes nothing until it reports.
func (e *Engine) lcOver(peer uint16) {
	t := e.lcs.table
	if t == nil {
		return
	}
	t.CancelIf(func(r lc.Request) bool { return r.Payload.(*Order).home() == peer })
	t.Silent(peer)
	e.flush()
}
