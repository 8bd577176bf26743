package place

import (
	"slices"

	"sigmaos/api"
)

// pin takes an order that is bound to this node. It waits here, not in the queue, and
// asks for memory alone.
func (e *Engine) pin(o *Order) error {
	switch {
	case e.run.draining:
		return errNotHere
	case e.run.tombs.has(o.ID):
		return nil
	case o.Desc.Memory > e.cfg.Table.Memory():
		return api.E(api.NoCapacity, "place", string(o.ID), "node %s has %d bytes of memory in all", o.Desc.Node, e.cfg.Table.Memory())
	case len(e.run.pins) >= e.cfg.Queued:
		return api.E(api.Busy, "place", string(o.ID), "%d procs wait for node %s", len(e.run.pins), o.Desc.Node)
	}
	e.run.pins = append(e.run.pins, o)
	e.servePins()
	return nil
}

// servePins starts those that wait and fit, in order.
func (e *Engine) servePins() {
	for len(e.run.pins) > 0 && !e.run.draining {
		o := e.run.pins[0]
		if !e.admitBE(o) {
			return
		}
		e.run.pins[0] = nil
		e.run.pins = e.run.pins[1:]
	}
}

// unpin takes an order out.
func (e *Engine) unpin(id api.ProcID) bool {
	i := slices.IndexFunc(e.run.pins, func(o *Order) bool { return o.ID == id })
	if i < 0 {
		return false
	}
	e.run.pins = slices.Delete(e.run.pins, i, i+1)
	return true
}
