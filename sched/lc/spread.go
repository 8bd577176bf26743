package lc

import (
	"cmp"
	"slices"

	"sigmaos/api"
)

// groupKey names a group, or a proc, of a realm.
type groupKey struct{ realm, name string }

// group is the procs of one Request.Group.
type group struct {
	in      map[string]int // domain: how many of them
	waiting []*waiting     // in order of arrival
	procs   int            // placed
}

// namers are those that want to be apart from one proc.
type namers struct {
	placed  []*reservation
	waiting []*waiting // in order of arrival
}

func (n *namers) empty() bool { return len(n.placed) == 0 && len(n.waiting) == 0 }

// crowded says whether too many refer to what r refers to.
func (t *Table) crowded(r *Request) error {
	if r.Group != "" {
		if g := t.groups[groupKey{r.Realm, r.Group}]; g != nil && g.procs+len(g.waiting) >= MaxSame {
			return api.E(api.TooLarge, "place", r.ID, "group %q has its %d procs; a group that spreads over failure domains cannot use more", r.Group, MaxSame)
		}
	}
	for _, id := range r.Apart {
		if n := t.named[groupKey{r.Realm, id}]; n != nil && len(n.placed)+len(n.waiting) >= MaxSame {
			return api.E(api.TooLarge, "place", r.ID, "%d procs want to be apart from %s, which is the limit", MaxSame, id)
		}
	}
	return nil
}

// anywhere says whether nothing but its needs decides where r may go.
func (t *Table) anywhere(r *Request) bool {
	return r.Domain == "" && !r.spreads() && (len(t.named) == 0 || t.named[groupKey{r.Realm, r.ID}] == nil)
}

// allowed makes the rule for where r may go.
func (t *Table) allowed(r *Request) func(place string) bool {
	n := t.named[groupKey{r.Realm, r.ID}]
	if n == nil && !r.spreads() {
		return func(place string) bool { return r.Domain == "" || place == r.Domain }
	}
	var in map[string]int
	if g := t.groups[groupKey{r.Realm, r.Group}]; g != nil && r.Group != "" {
		in = g.in
	}
	var taken []string
	for _, id := range r.Apart {
		if o := t.placed[id]; o != nil && o.acct.name == r.Realm {
			taken = append(taken, o.node.place)
		}
	}
	if n != nil {
		for _, o := range n.placed {
			taken = append(taken, o.node.place)
		}
	}
	return func(place string) bool {
		if r.Domain != "" && place != r.Domain || in[place] > 0 || r.spreads() && t.unheardIn[place] > 0 {
			return false // what a node that was not heard holds may be in the way
		}
		for _, p := range taken {
			if p == place {
				return false
			}
		}
		return true
	}
}

// spreadTo and spreadFrom keep groups and names for a reservation; the latter
// notes for another try what it was in the way of.
func (t *Table) spreadTo(r *reservation) {
	if r.group != "" {
		g := t.group(r.acct.name, r.group)
		g.in[r.node.place]++
		g.procs++
	}
	for _, id := range r.apart {
		n := t.namersOf(r.acct.name, id)
		n.placed = append(n.placed, r)
	}
}

func (t *Table) spreadFrom(r *reservation) {
	var again []*waiting
	if k := (groupKey{r.acct.name, r.group}); r.group != "" {
		g := t.groups[k]
		if g.in[r.node.place]--; g.in[r.node.place] == 0 {
			delete(g.in, r.node.place)
		}
		g.procs--
		again = append(again, g.waiting...)
		t.dropGroup(k)
	}
	for _, id := range r.apart {
		k := groupKey{r.acct.name, id}
		t.named[k].placed = without(t.named[k].placed, r)
		t.dropNamers(k)
		if w := t.waiting[id]; w != nil {
			again = append(again, w)
		}
	}
	if len(t.named) > 0 && t.named[groupKey{r.acct.name, r.id}] != nil {
		n := t.named[groupKey{r.acct.name, r.id}]
		again = append(again, n.waiting...)
	}
	t.retry = append(t.retry, again...)
}

// spreadWait and spreadUnwait do the same for a request that waits.
func (t *Table) spreadWait(w *waiting) {
	if w.Group != "" {
		g := t.group(w.Realm, w.Group)
		g.waiting = inOrder(g.waiting, w)
	}
	for _, id := range w.Apart {
		n := t.namersOf(w.Realm, id)
		n.waiting = inOrder(n.waiting, w)
	}
	if w.spreads() {
		t.spreading.insert(entry[*waiting]{pos: w.pos(), ref: w})
	}
}

func (t *Table) spreadUnwait(w *waiting) {
	if k := (groupKey{w.Realm, w.Group}); w.Group != "" {
		t.groups[k].waiting = without(t.groups[k].waiting, w)
		t.dropGroup(k)
	}
	for _, id := range w.Apart {
		k := groupKey{w.Realm, id}
		t.named[k].waiting = without(t.named[k].waiting, w)
		t.dropNamers(k)
	}
	if w.spreads() {
		t.spreading.remove(w.pos())
	}
}

// runRetry looks for places for requests that something was in the way of, oldest
// first.
func (t *Table) runRetry() {
	again := t.retry
	t.retry = nil
	slices.SortFunc(again, func(a, b *waiting) int { return cmp.Compare(a.seq, b.seq) })
	for _, w := range again {
		if t.newer != 0 || !w.queued {
			continue
		}
		if m := t.find(w); m != nil {
			t.reserve(w, m)
		}
	}
}

// retrySpread notes all that spread for another try.
func (t *Table) retrySpread() {
	t.spreading.each(func(e *entry[*waiting]) bool {
		t.retry = append(t.retry, e.ref)
		return true
	})
}

func (t *Table) group(realm, name string) *group {
	k := groupKey{realm, name}
	g := t.groups[k]
	if g == nil {
		g = &group{in: make(map[string]int)}
		t.groups[k] = g
	}
	return g
}

func (t *Table) dropGroup(k groupKey) {
	if g := t.groups[k]; g.procs == 0 && len(g.waiting) == 0 {
		delete(t.groups, k)
	}
}

func (t *Table) namersOf(realm, id string) *namers {
	k := groupKey{realm, id}
	n := t.named[k]
	if n == nil {
		n = new(namers)
		t.named[k] = n
	}
	return n
}

// dropNamers forgets k when nobody names it. A list may name one id twice; then
// it is forgotten at the second.
func (t *Table) dropNamers(k groupKey) {
	if n := t.named[k]; n.empty() {
		delete(t.named, k)
	}
}

// inOrder puts w into a list in order of arrival; it is mostly the last.
func inOrder(list []*waiting, w *waiting) []*waiting {
	i := len(list)
	for i > 0 && list[i-1].seq > w.seq {
		i--
	}
	list = append(list, nil)
	copy(list[i+1:], list[i:])
	list[i] = w
	return list
}

func without[T comparable](list []T, x T) []T {
	for i, y := range list {
		if x == y {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}
