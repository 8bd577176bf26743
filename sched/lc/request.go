package lc

import "sigmaos/api"

// Limits of one request and of what may refer to one thing.
const (
	MaxApart = 64  // ids in Request.Apart
	MaxSame  = 256 // procs of one group, or that name one proc in Apart
)

// Request is a proc that wants a place.
type Request struct {
	ID     string
	Realm  string
	MCPU   int64
	Memory int64 // bytes

	Domain string   // label of the failure domain to run in; "" is any
	Apart  []string // procs of the realm in whose domains it must not be
	Group  string   // of the realm; no two procs of a group are in one domain

	Payload any // the owner's; never looked at
}

func (r *Request) spreads() bool { return r.Group != "" || len(r.Apart) > 0 }

// waiting is a request in the queue.
type waiting struct {
	Request
	acct    *realm
	queued  bool     // it is in Table.waiting
	seq     uint64   // order of arrival
	due     uint64   // after so many placements in all it may claim a node
	misses  int      // there was none to claim
	claim   *machine // kept free for it
	judged  bool     // it can run on some node, could when it was looked at, or is in doubt
	doubted uint64   // if judged because a node was lost unheard: the last that had joined then
}

func (w *waiting) pos() pos { return pos{key: float64(w.seq)} }

// Place takes a request: it is in Decisions now, or waits. The error says why it
// was not taken and never will be: api.Invalid, api.Exists (the id waits or is
// placed), api.TooLarge, api.Busy (a quota), api.NoCapacity (no node could ever
// run it), api.Unavailable (another lcsched has taken over).
func (t *Table) Place(r Request) error {
	if err := t.check(&r); err != nil {
		return err
	}
	w := &waiting{Request: r, acct: t.realm(r.Realm)}
	if err := t.overQuota(w.acct, &r); err != nil {
		t.charge(w.acct, 0, 0, 0)
		return err
	}
	m := t.find(w)
	if m == nil {
		if err := t.impossible(w); err != nil {
			t.charge(w.acct, 0, 0, 0)
			return err
		}
	}
	t.arrivals++
	w.seq, w.due = t.arrivals, t.placements+uint64(t.cfg.Bypass)
	t.charge(w.acct, w.MCPU, w.Memory, 1)
	if m == nil {
		t.enqueue(w)
		return nil
	}
	t.reserve(w, m)
	t.run()
	return nil
}

func (t *Table) check(r *Request) error {
	switch {
	case t.newer != 0:
		return api.E(api.Unavailable, "place", r.ID, "another lcsched has taken over; ask that one")
	case r.ID == "" || r.Realm == "" || r.MCPU < 0 || r.Memory < 0 || r.MCPU > api.MaxMCPU || r.Memory > api.MaxMemory:
		return api.E(api.Invalid, "place", r.ID, "needs an id, a realm and sane amounts (%q, %q, %d mCPU, %d bytes)", r.ID, r.Realm, r.MCPU, r.Memory)
	case len(r.Apart) > MaxApart:
		return api.E(api.TooLarge, "place", r.ID, "names %d procs to be apart from; the limit is %d (procs that spread can share a group)", len(r.Apart), MaxApart)
	case t.waiting[r.ID] != nil:
		return api.E(api.Exists, "place", r.ID, "is waiting already")
	case t.placed[r.ID] != nil:
		return api.E(api.Exists, "place", r.ID, "is placed already, on %s", t.placed[r.ID].node.Name)
	}
	return t.crowded(r)
}

// find is the node for w now: the first in order of best fit that has enough and
// is in a domain that will do.
func (t *Table) find(w *waiting) *machine {
	var ok func(*machine) bool
	if !t.anywhere(&w.Request) {
		allowed := t.allowed(&w.Request)
		ok = func(m *machine) bool { return allowed(m.place) }
	}
	if c := w.claim; c != nil && w.MCPU <= c.freeCPU() && w.Memory <= c.freeMem() && c.takes() && (ok == nil || ok(c)) {
		return c
	}
	m, _ := t.open.search(t.weigh(w.MCPU, w.Memory), w.MCPU, w.Memory, ok)
	return m
}

// Cancel takes a request out of the queue and reports whether it waited.
func (t *Table) Cancel(id string) bool {
	w := t.waiting[id]
	if w == nil {
		return false
	}
	t.drop(w)
	t.run()
	return true
}

// CancelIf takes out all waiting requests for which gone holds, such as those of a
// lost home or a removed realm, and returns them in order of arrival.
func (t *Table) CancelIf(gone func(Request) bool) (out []Request) {
	var all []*waiting
	t.queue.each(func(e *entry[*waiting]) bool {
		if gone(e.ref.Request) {
			all = append(all, e.ref)
		}
		return true
	})
	for _, w := range all {
		t.drop(w)
		out = append(out, w.Request)
	}
	t.run()
	return out
}

// drop ends the wait of a request that gets nothing.
func (t *Table) drop(w *waiting) {
	t.dequeue(w)
	t.charge(w.acct, -w.MCPU, -w.Memory, -1)
}
