package place

import (
	"errors"

	"sigmaos/api"
	"sigmaos/sched/node"
)

// Where says who has a proc of this home: the node that runs it, or else the one
// that is to place it. Both are 0 where it waits for one that would.
func (e *Engine) Where(id api.ProcID) (runs, has uint16) {
	e.mu.Lock()
	defer e.mu.Unlock()
	x := e.home.live[id]
	switch {
	case x == nil:
		return 0, 0
	case x.taken:
		return x.to, 0
	}
	return 0, x.at
}

// maxMissing bounds the lines of Missing.
const maxMissing = 20

// Missing says what an order for this node's lcsched waits for, node by node; nil if
// it does not wait here.
func (e *Engine) Missing(id api.ProcID) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.lcs.table == nil {
		return nil
	}
	lines, _ := e.lcs.table.Missing(string(id), maxMissing)
	return lines
}

// Room says in words whether this node has room for such a proc now.
func (e *Engine) Room(d *api.ProcDesc) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.run.draining {
		return "takes nothing new"
	}
	err := try(e.cfg.Table, d)
	var r *node.Refusal
	switch {
	case errors.As(err, &r):
		return r.Text
	case err != nil:
		return err.Error()
	}
	return "it fits; its turn has not come"
}

// try says why t could not take such a proc now, or nil.
func try(t *node.Table, d *api.ProcDesc) error {
	const probe = "this proc"
	var err error
	if d.Class == api.LC {
		err = t.AdmitLC(probe, d.MCPU, d.Memory)
	} else {
		err = t.AdmitBE(probe, d.Memory)
	}
	if err == nil {
		t.Release(probe)
	}
	return err
}

// Nowhere says why a proc that nobody has is taken by nobody.
func (e *Engine) Nowhere(o *Order) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.nowhere(o)
}

// Capacity is that of this machine.
func (e *Engine) Capacity() node.Snapshot {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cfg.Table.Snapshot()
}

// Memory is what best-effort procs hold here and how many they are, and what
// latency-critical ones leave.
func (e *Engine) Memory() (held int64, count int, unreserved int64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t := e.cfg.Table
	return t.HeldBE(), t.CountBE(), t.Unreserved()
}
