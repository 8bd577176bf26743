package lc

// reservation is what one proc holds on a node.
type reservation struct {
	id       string
	acct     *realm
	group    string
	apart    []string
	node     *machine
	cpu, mem int64

	seq  uint64   // of the decision; 0 if it was learned from a report
	mark uint64   // of the node's last report that has it
	from *waiting // until the node has shown that it took it

	slot int // in node.held
}

// reserve gives w the node m, which has room for it.
func (t *Table) reserve(w *waiting, m *machine) {
	if w.queued {
		t.dequeue(w)
	}
	t.placements++
	m.sent++
	r := &reservation{
		id: w.ID, acct: w.acct, group: w.Group, apart: w.Apart, node: m,
		cpu: w.MCPU, mem: w.Memory, seq: m.sent, from: w,
	}
	t.placed[r.id] = r
	t.add(r)
	t.reindex(m)
	t.out = append(t.out, Decision{ID: w.ID, Node: m.Number, Epoch: t.cfg.Epoch, Seq: m.sent, Payload: w.Payload})
	if t.placements%uint64(t.cfg.Bypass) == 0 {
		t.claims()
	}
}

// add enters r into the sums of its node. Table.placed and the realm's are the
// caller's.
func (t *Table) add(r *reservation) {
	m := r.node
	m.usedC += r.cpu
	m.usedM += r.mem
	r.slot = len(m.held)
	m.held = append(m.held, r)
	t.spreadTo(r)
}

// take undoes add.
func (t *Table) take(r *reservation) {
	m := r.node
	m.usedC -= r.cpu
	m.usedM -= r.mem
	last := len(m.held) - 1
	m.held[r.slot] = m.held[last]
	m.held[r.slot].slot = r.slot
	m.held[last] = nil
	m.held = m.held[:last]
	switch {
	case t.doubles == 0:
		delete(t.placed, r.id)
	case t.placed[r.id] != r:
		t.doubles--
	default:
		t.takeDouble(r.id)
	}
	t.reindex(m)
	t.offerAgain(m)
}

// takeDouble lets another reservation of an id take the place of one that ended.
func (t *Table) takeDouble(id string) {
	delete(t.placed, id)
	for _, m := range t.nodes {
		for _, r := range m.held {
			if r.id == id && (t.placed[id] == nil || t.placed[id].node.Number > m.Number) {
				t.placed[id] = r
			}
		}
	}
	if t.placed[id] != nil {
		t.doubles--
	}
}

// end is for a reservation whose proc is no more.
func (t *Table) end(r *reservation) {
	t.take(r)
	t.charge(r.acct, -r.cpu, -r.mem, -1)
	t.spreadFrom(r)
}

// on finds what a node holds under an id. Two nodes hold one id only where one of
// them is wrong; then the second is found by looking.
func (t *Table) on(m *machine, id string) *reservation {
	r := t.placed[id]
	if r == nil || r.node == m {
		return r
	}
	for _, r := range m.held {
		if r.id == id {
			return r
		}
	}
	return nil
}
