package lc

import (
	"fmt"
	"slices"
)

// plainAllowed is Table.allowed, written from what it promises.
func (t *Table) plainAllowed(w *waiting, m *machine) bool {
	if w.Domain != "" && m.Domain != w.Domain {
		return false
	}
	for _, o := range t.nodes {
		same := o.Number == m.Number || o.Domain != "" && o.Domain == m.Domain
		if !same {
			continue
		}
		if !o.heard && w.spreads() {
			return false
		}
		for _, r := range o.held {
			if r.acct.name == w.Realm && (w.Group != "" && r.group == w.Group || slices.Contains(w.Apart, r.id) || slices.Contains(r.apart, w.ID)) {
				return false
			}
		}
	}
	return true
}

// plainBest is the best fit, found by looking at every node.
func (t *Table) plainBest(w *waiting) (best *machine) {
	for _, m := range t.nodes {
		if !m.takes() || m.claim != nil || w.MCPU > m.cpu-m.usedC || w.Memory > m.mem-m.usedM || !t.plainAllowed(w, m) {
			continue
		}
		left := func(m *machine) float64 { return t.weigh(m.freeCPU(), m.freeMem()) }
		if best == nil || left(m) < left(best) || left(m) == left(best) && m.Number < best.Number {
			best = m
		}
	}
	return best
}

// inspect holds everything that must be true of a table between two calls against
// sums and searches made the plain way.
func (t *Table) inspect() error {
	type sum struct {
		cpu, mem int64
		procs    int
		waiting  int
	}
	realms := make(map[string]*sum)
	of := func(name string) *sum {
		if realms[name] == nil {
			realms[name] = new(sum)
		}
		return realms[name]
	}
	ids := make(map[string]int)
	groups := make(map[groupKey]map[string]int)
	unheard, claims := 0, 0
	for _, m := range t.nodes {
		var s sum
		for i, r := range m.held {
			if r.slot != i || r.node != m {
				return fmt.Errorf("%s is not where it says it is", r.id)
			}
			s.cpu, s.mem, s.procs = s.cpu+r.cpu, s.mem+r.mem, s.procs+1
			a := of(r.acct.name)
			if r.acct != t.realms[r.acct.name] {
				return fmt.Errorf("%s has an account that is forgotten", r.id)
			}
			a.cpu, a.mem, a.procs = a.cpu+r.cpu, a.mem+r.mem, a.procs+1
			if ids[r.id]++; t.placed[r.id] == nil {
				return fmt.Errorf("%s is on %s and not in the table", r.id, m.Name)
			}
			if t.waiting[r.id] != nil {
				return fmt.Errorf("%s waits and is on %s", r.id, m.Name)
			}
			if r.group != "" {
				k := groupKey{r.acct.name, r.group}
				if groups[k] == nil {
					groups[k] = make(map[string]int)
				}
				groups[k][m.place]++
			}
		}
		if s.cpu != m.usedC || s.mem != m.usedM || s.procs != len(m.held) {
			return fmt.Errorf("%s holds %+v, the table says %d %d %d", m.Name, s, m.usedC, m.usedM, len(m.held))
		}
		if in := m.takes() && m.claim == nil; m.indexed != in {
			return fmt.Errorf("%s is open: %v, indexed: %v", m.Name, in, m.indexed)
		}
		if m.indexed && (m.idxC != m.freeCPU() || m.idxM != m.freeMem()) {
			return fmt.Errorf("%s is indexed with %d %d, has %d %d", m.Name, m.idxC, m.idxM, m.freeCPU(), m.freeMem())
		}
		if !m.heard {
			unheard++
		}
		if w := m.claim; w != nil {
			claims++
			if w.claim != m || t.waiting[w.ID] != w {
				return fmt.Errorf("%s is claimed by %s, which does not wait for it", m.Name, w.ID)
			}
			if !m.takes() || w.MCPU <= m.freeCPU() && w.Memory <= m.freeMem() && t.plainAllowed(w, m) {
				return fmt.Errorf("%s is claimed by %s in vain", m.Name, w.ID)
			}
		}
	}
	doubles := 0
	for _, n := range ids {
		doubles += n - 1
	}
	if len(ids) != len(t.placed) || doubles != t.doubles || unheard != t.unheard || claims != t.claimed || claims > max(1, len(t.nodes)/8) && t.claimed > 1 {
		return fmt.Errorf("%d ids, %d doubles, %d unheard, %d claims; the table says %d %d %d %d", len(ids), doubles, unheard, claims, len(t.placed), t.doubles, t.unheard, t.claimed)
	}
	unjudged := 0
	for _, w := range t.waiting {
		a := of(w.Realm)
		if !w.queued || w.acct != t.realms[w.Realm] {
			return fmt.Errorf("%s waits: queued %v, account %+v", w.ID, w.queued, w.acct)
		}
		a.cpu, a.mem, a.procs, a.waiting = a.cpu+w.MCPU, a.mem+w.Memory, a.procs+1, a.waiting+1
		if !w.judged {
			unjudged++
		}
		if m := t.plainBest(w); m != nil && t.newer == 0 {
			return fmt.Errorf("%s waits and fits on %s", w.ID, m.Name)
		}
	}
	if t.queue.n != len(t.waiting) || unjudged != t.unjudged || unjudged > 0 && t.Complete() {
		return fmt.Errorf("%d wait, %d unjudged; the table says %d %d, complete %v", len(t.waiting), unjudged, t.queue.n, t.unjudged, t.Complete())
	}
	for name, r := range t.realms {
		if a := of(name); r.cpu != a.cpu || r.mem != a.mem || r.procs != a.procs || r.waiting != a.waiting {
			return fmt.Errorf("realm %s has %+v, the table says %+v", name, *a, *r)
		}
		if r.name != name || r.procs == 0 && r.quota == (Quota{}) {
			return fmt.Errorf("realm %s has nothing and is kept", name)
		}
		delete(realms, name)
	}
	for name, a := range realms {
		if *a != (sum{}) {
			return fmt.Errorf("realm %s has %+v and is not in the table", name, *a)
		}
	}
	for k, g := range t.groups {
		if fmt.Sprint(g.in) != fmt.Sprint(groups[k]) {
			return fmt.Errorf("group %v is in %v, the table says %v", k, groups[k], g.in)
		}
		delete(groups, k)
	}
	if len(groups) > 0 || len(t.again) > 0 || len(t.retry) > 0 {
		return fmt.Errorf("left over: groups %v, again %d, retry %d", groups, len(t.again), len(t.retry))
	}
	return nil
}
