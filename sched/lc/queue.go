package lc

// The queue is an index in order of arrival; the amounts are what is needed,
// negated, so that a search finds the oldest request that fits what is free.

func (t *Table) enqueue(w *waiting) {
	t.waiting[w.ID], w.queued = w, true
	t.queue.insert(entry[*waiting]{w.pos(), -w.MCPU, -w.Memory, w})
	w.acct.waiting++
	if !w.judged {
		t.unjudged++
	}
	t.spreadWait(w)
}

func (t *Table) dequeue(w *waiting) {
	delete(t.waiting, w.ID)
	w.queued = false
	t.queue.remove(w.pos())
	w.acct.waiting--
	if !w.judged {
		t.unjudged--
	}
	if w.doubted != 0 {
		w.doubted = 0
		t.doubted--
	}
	t.spreadUnwait(w)
	if m := w.claim; m != nil {
		t.unclaim(m)
		t.offerAgain(m)
	}
}

// offerAgain notes that m has changed, so that run has to look who fits there.
func (t *Table) offerAgain(m *machine) {
	if !m.queued {
		m.queued = true
		t.again = append(t.again, m)
	}
}

// run gives all nodes that have changed to those who wait, oldest first, until
// nothing that waits fits anywhere. Every method that changes anything ends with it.
func (t *Table) run() {
	for len(t.again) > 0 || len(t.retry) > 0 {
		if n := len(t.again); n > 0 {
			m := t.again[n-1]
			t.again = t.again[:n-1]
			m.queued = false
			t.give(m)
			continue
		}
		t.runRetry()
	}
}

// give gives m to those who wait, as long as it has room for one.
func (t *Table) give(m *machine) {
	if t.nodes[m.Number] != m {
		return
	}
	if !m.takes() {
		t.unclaim(m)
	}
	t.reindex(m)
	for t.newer == 0 && m.takes() {
		w := t.next(m)
		if w == nil {
			return
		}
		t.reserve(w, m)
	}
}

// next is who goes to m now: whoever claims it, else the oldest that fits.
func (t *Table) next(m *machine) *waiting {
	c, b := m.freeCPU(), m.freeMem()
	if w := m.claim; w != nil {
		if w.MCPU <= c && w.Memory <= b && t.allowed(&w.Request)(m.place) {
			return w
		}
		return nil
	}
	if t.queue.n == 0 {
		return nil
	}
	w, _ := t.queue.search(0, -c, -b, func(w *waiting) bool {
		return t.anywhere(&w.Request) || t.allowed(&w.Request)(m.place)
	})
	return w
}

// claims lets the oldest requests that have been passed by often enough claim
// nodes. It runs once in Bypass placements, makes one claim and moves at most one.
func (t *Table) claims() {
	most := max(1, len(t.nodes)/8)
	first, worst := t.claimants(most)
	if worst != nil {
		lacks := t.lack(worst, worst.claim.freeCPU(), worst.claim.freeMem())
		if m, l := t.nearest(worst); m != nil && l < lacks {
			old := worst.claim
			t.unclaim(old)
			t.offerAgain(old)
			t.giveClaim(worst, m)
		}
	}
	if first == nil || t.claimed >= most {
		return
	}
	if m, _ := t.nearest(first); m != nil {
		t.giveClaim(first, m)
		return
	}
	first.misses++ // others get their chance first
	first.due = t.placements + uint64(t.cfg.Bypass)<<min(first.misses, 10)
}

// claimants finds the oldest request that is due and has no claim, and of those
// older the one that lacks most on the node it has claimed.
func (t *Table) claimants(most int) (first, worst *waiting) {
	var lacks float64
	seen := 0
	t.queue.each(func(e *entry[*waiting]) bool {
		w := e.ref
		if w.claim == nil {
			if w.due <= t.placements {
				first = w
			}
			return first == nil
		}
		if l := t.lack(w, w.claim.freeCPU(), w.claim.freeMem()); worst == nil || l > lacks {
			worst, lacks = w, l
		}
		seen++
		return seen < most
	})
	return first, worst
}

// lack is how much w lacks where so much is free.
func (t *Table) lack(w *waiting, mcpu, memory int64) float64 {
	return t.weigh(max(0, w.MCPU-mcpu), max(0, w.Memory-memory))
}

// nearest is the open node that could hold w and on which it lacks least.
func (t *Table) nearest(w *waiting) (best *machine, lacks float64) {
	allowed := t.allowed(&w.Request)
	t.open.each(func(e *entry[*machine]) bool {
		l := t.lack(w, e.a, e.b)
		if (best == nil || l < lacks) && w.MCPU <= e.ref.cpu && w.Memory <= e.ref.mem && allowed(e.ref.place) {
			best, lacks = e.ref, l
		}
		return true
	})
	return best, lacks
}

func (t *Table) giveClaim(w *waiting, m *machine) {
	w.claim, m.claim = m, w
	t.claimed++
	t.unindex(m)
}

// unclaim leaves m to all; the caller offers it again.
func (t *Table) unclaim(m *machine) {
	if w := m.claim; w != nil {
		w.claim, m.claim = nil, nil
		t.claimed--
	}
}
