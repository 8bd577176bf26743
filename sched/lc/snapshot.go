package lc

import (
	"cmp"
	"slices"
)

// NodeState is one node as the table sees it.
type NodeState struct {
	Node
	MCPU, Memory         int64 // in all; 0 until it has reported
	UsedMCPU, UsedMemory int64 // reserved
	Procs                int
	Heard, Fresh         bool   // it has reported; it can be given procs now
	Claimed              string // the request it is kept free for
}

// Nodes lists all nodes in order of number.
func (t *Table) Nodes() []NodeState {
	out := make([]NodeState, 0, len(t.nodes))
	for _, m := range t.nodes {
		s := NodeState{
			Node: m.Node, MCPU: m.cpu, Memory: m.mem, UsedMCPU: m.usedC, UsedMemory: m.usedM,
			Procs: len(m.held), Heard: m.heard, Fresh: m.takes(),
		}
		if m.claim != nil {
			s.Claimed = m.claim.ID
		}
		out = append(out, s)
	}
	slices.SortFunc(out, func(a, b NodeState) int { return cmp.Compare(a.Number, b.Number) })
	return out
}

// Stats are the table's figures.
type Stats struct {
	Epoch          uint64
	Nodes, Unheard int
	Waiting        int
	Placed         int    // reservations now
	Claims         int    // nodes kept free for requests that wait
	Placements     uint64 // ever
	Refused        uint64 // by schedds, ever
}

// Stats costs nothing.
func (t *Table) Stats() Stats {
	return Stats{
		Epoch: t.cfg.Epoch, Nodes: len(t.nodes), Unheard: t.unheard, Waiting: len(t.waiting), Placed: len(t.placed) + t.doubles,
		Claims: t.claimed, Placements: t.placements, Refused: t.refused,
	}
}

// Usage is what a realm reserves and waits for.
func (t *Table) Usage(realm string) (mcpu, memory int64, procs, waiting int) {
	if r := t.realms[realm]; r != nil {
		return r.cpu, r.mem, r.procs, r.waiting
	}
	return 0, 0, 0, 0
}
