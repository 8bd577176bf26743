package lc

import "sigmaos/api"

// MaxHeld bounds the procs of one report.
const MaxHeld = 1 << 16

// Report is a node's word about itself: its size and all that is reserved on it.
type Report struct {
	From
	MCPU, Memory int64
	Seen         uint64 // Fence.Seen when the report was made
	Held         []Held
}

// Held is one proc that a node has reserved for.
type Held struct {
	ID     string
	Realm  string
	MCPU   int64
	Memory int64
	Group  string
	Apart  []string
}

// Why a node's message was not taken. Both are api.Conflict; neither is a defect.
var (
	// ErrOld is for a message of an earlier epoch or boot, of a node that is not
	// known, and for one that was overtaken.
	ErrOld = api.E(api.Conflict, "hear", "node", "an old message")
	// ErrDeposed is for a message that shows that another lcsched has taken over.
	ErrDeposed = api.E(api.Conflict, "hear", "node", "another lcsched has taken over")
)

// hear checks who a message is from and when it was sent.
func (t *Table) hear(f From) (*machine, error) {
	if t.newer != 0 || f.Epoch > t.cfg.Epoch {
		t.newer = max(t.newer, f.Epoch)
		return nil, ErrDeposed
	}
	m := t.nodes[f.Node]
	if m == nil || m.Boot != f.Boot || f.Epoch != t.cfg.Epoch || f.N <= m.n {
		return nil, ErrOld
	}
	m.n = f.N
	return m, nil
}

// Report takes a node's word: what it says it holds is reserved there, nothing
// else is but decisions that had not reached it.
func (t *Table) Report(r Report) error {
	if err := r.check(); err != nil {
		return err
	}
	m, err := t.hear(r.From)
	if err != nil {
		return err
	}
	t.resize(m, r.MCPU, r.Memory)
	first := !m.heard
	m.heard = true
	m.mark++
	for i := range r.Held {
		t.confirm(m, &r.Held[i])
	}
	for i := len(m.held) - 1; i >= 0; i-- { // what is taken out is replaced by the last
		if o := m.held[i]; o.mark != m.mark && o.seq <= r.Seen {
			t.unknown(o)
		}
	}
	m.silent = false
	if m.skip--; m.skip <= 0 {
		m.stale, m.skip = false, 0
	}
	t.offerAgain(m)
	t.run()
	if first {
		t.nowHeard(m)
		t.undoubt(m)
		t.judge()
		t.run()
	}
	return nil
}

func (r *Report) check() error {
	bad := func(id string, c, m int64) error {
		return api.E(api.Invalid, "hear", "node", "node %d says %q: %d mCPU, %d bytes, %d procs", r.Node, id, c, m, len(r.Held))
	}
	sane := func(c, m int64) bool { return c >= 0 && m >= 0 && c <= api.MaxMCPU && m <= api.MaxMemory }
	if !sane(r.MCPU, r.Memory) || len(r.Held) > MaxHeld {
		return bad("", r.MCPU, r.Memory)
	}
	for i := range r.Held {
		if h := &r.Held[i]; h.ID == "" || h.Realm == "" || !sane(h.MCPU, h.Memory) || len(h.Apart) > MaxApart {
			return bad(h.ID, h.MCPU, h.Memory)
		}
	}
	return nil
}

// confirm enters one proc that m holds.
func (t *Table) confirm(m *machine, h *Held) {
	if w := t.waiting[h.ID]; w != nil {
		// It is running and must not start again.
		t.drop(w)
		t.out = append(t.out, Decision{ID: w.ID, Epoch: t.cfg.Epoch, Payload: w.Payload, Err: api.E(api.Exists, "place", w.ID, "is running already, on %s", m.Name)})
	}
	r := t.on(m, h.ID)
	if r == nil {
		r = &reservation{id: h.ID, acct: t.realm(h.Realm), group: h.Group, apart: h.Apart, node: m, cpu: h.MCPU, mem: h.Memory, mark: m.mark}
		t.charge(r.acct, r.cpu, r.mem, 1)
		if t.placed[r.id] == nil {
			t.placed[r.id] = r
		} else {
			t.doubles++
		}
		t.add(r)
		return
	}
	r.mark = m.mark
	if r.from != nil {
		r.from, m.strikes = nil, 0
	}
	if r.cpu != h.MCPU || r.mem != h.Memory {
		c, b := h.MCPU-r.cpu, h.Memory-r.mem
		t.charge(r.acct, c, b, 0)
		r.cpu, r.mem = h.MCPU, h.Memory
		m.usedC += c
		m.usedM += b
	}
}

// Release tells that a proc is gone from its node, and what it held is free. An id
// that nothing is known of is no error.
func (t *Table) Release(f From, id string) error {
	m, err := t.hear(f)
	if err != nil {
		return err
	}
	if r := t.on(m, id); r != nil {
		m.strikes = 0
		t.end(r)
	}
	t.run()
	return nil
}

// maxSkip bounds how many reports a node is set aside for.
const maxSkip = 64

// unknown ends a reservation that its node knows nothing of.
func (t *Table) unknown(r *reservation) {
	if w := r.from; w != nil {
		t.out = append(t.out, Decision{ID: w.ID, Epoch: t.cfg.Epoch, Payload: w.Payload, Err: api.E(api.Unavailable, "place", w.ID, "lost on the way to %s, unless it has ended there already; spawn it again", r.node.Name)})
	}
	t.end(r)
}

// Refused tells that a node has not started, and never will start, a proc that was
// placed on it. The proc goes back to its place in the queue, and the node takes
// nothing until it has reported: once, or twice as often as after the refusal
// before, if it has taken nothing since.
func (t *Table) Refused(f From, id string) error {
	m, err := t.hear(f)
	if err != nil {
		return err
	}
	r := t.on(m, id)
	if r == nil || r.from == nil {
		return nil // it was released, or the node itself said that it holds it
	}
	t.refused++
	m.stale, m.skip = true, min(1<<min(m.strikes, 30), maxSkip)
	m.strikes++
	t.back(r)
	return nil
}

// Unsent tells that a decision was not sent, because there is no link to its node:
// the proc goes back to its place in the queue, and the node is silent.
func (t *Table) Unsent(d Decision) {
	m := t.nodes[d.Node]
	if m == nil {
		return // Lost has told of it
	}
	m.silent = true
	if r := t.on(m, d.ID); r != nil && r.from != nil && r.seq == d.Seq {
		t.back(r)
		return
	}
	t.offerAgain(m)
	t.run()
}

// back puts a proc that was placed, and surely has not run, where it was in the
// queue.
func (t *Table) back(r *reservation) {
	w := r.from
	t.take(r)
	w.judged = true
	t.enqueue(w)
	t.spreadFrom(r)
	t.retry = append(t.retry, w)
	t.run()
}
