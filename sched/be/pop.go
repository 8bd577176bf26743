package be

import "container/list"

// Window is how far Pop looks into a realm's queue.
const Window = 64

// Ties is how many procs that tie Pop looks at for one whose program is cached.
const Ties = 16

// Offer is what a node can take now. Its functions must not call the queue.
type Offer struct {
	Memory int64           // bytes, for all that are popped together
	Fits   func(Item) bool // further conditions; nil is none
	// Realm says whether a realm of which this call has popped got procs may be
	// served (once more); nil is all. Once false for a realm, it must stay false
	// for that call.
	Realm func(name string, got int) bool
	// Of procs that tie, those go first of which Near says that the node is one on
	// which they had better run, then those whose program it has, as Cached says; nil
	// is no preference.
	Near, Cached func(Item) bool
}

// Pop takes the next proc that fits the offer; false if none does.
func (q *Queue) Pop(o Offer) (Item, bool) {
	var one [1]Item
	if len(q.PopN(one[:0], o, 1)) == 0 {
		return Item{}, false
	}
	return one[0], true
}

// PopN appends to dst up to n procs that fit the offer together: those that n
// Pops would give, each with what the ones before it left of the memory.
//
// It walks the turn once. A realm that has nothing for this offer has nothing
// for what is left of it either, so it is not asked again; one that was served
// moves to the end, where the walk comes by once more.
func (q *Queue) PopN(dst []Item, o Offer, n int) []Item {
	q.call++
	least, all := int64(-1), o.Realm == nil
	for at := q.turn.Front(); at != nil && n > 0; {
		r, next := at.Value.(*realm), at.Next()
		if r.call != q.call {
			r.call, r.got = q.call, 0
		}
		e := q.choose(r, o)
		if e == nil {
			if least < 0 || r.floor < least {
				least = r.floor
			}
			at = next
			continue
		}
		all = false // what was learned of the others may not hold any more
		item := q.take(e)
		dst = append(dst, item)
		o.Memory -= item.Memory
		n--
		r.got++
		r.stats.Served++
		if r.place != nil {
			q.turn.MoveToBack(r.place)
			if next == nil {
				next = r.place
			}
		}
		at = next
	}
	if all && n > 0 && least > 0 {
		q.least = least // nothing was popped, and every realm's floor is known
	}
	return dst
}

func (q *Queue) choose(r *realm, o Offer) *entry {
	if o.Realm != nil && !o.Realm(r.name, r.got) {
		return nil
	}
	return r.first(o)
}

// realm is one realm's queue. It stays, for its counters, until RemoveRealm.
type realm struct {
	name  string
	line  line          // oldest first
	place *list.Element // in Queue.turn; nil while line is empty

	// floor is the smallest need among the first Window procs where a Pop has
	// seen all of them; 0 means not known. An offer below it need not look.
	floor int64
	stats Stats
	near  int // how many of line name nodes

	call uint64 // the PopN that got belongs to
	got  int
}

// first is the oldest proc in the window that fits, or one that ties with it
// and is preferred.
func (r *realm) first(o Offer) *entry {
	if r.floor > o.Memory {
		return nil
	}
	seen, least := 0, int64(0)
	for e := r.line.head; e != nil && seen < Window; e = e.next {
		if e.fits(o) {
			return e.tie(o, Window-seen)
		}
		if seen == 0 || e.Memory < least {
			least = e.Memory
		}
		seen++
	}
	r.floor = least
	return nil
}

func (e *entry) fits(o Offer) bool {
	return e.Memory <= o.Memory && (o.Fits == nil || o.Fits(e.Item))
}

// tie is e or, among the procs after it that came in the same moment, the first
// that fits and is near, or else the first that fits and is cached.
func (e *entry) tie(o Offer, window int) *entry {
	if e.realm.near == 0 {
		o.Near = nil
	}
	if o.Near == nil && o.Cached == nil || e.Came == 0 {
		return e
	}
	var cached *entry
	for t, n := e, min(window, Ties); t != nil && n > 0 && t.Came == e.Came; t, n = t.next, n-1 {
		near := o.Near != nil && o.Near(t.Item)
		if !near && (cached != nil || o.Cached == nil || !o.Cached(t.Item)) || !t.fits(o) {
			continue
		}
		if near {
			return t
		}
		if cached = t; o.Near == nil {
			break
		}
	}
	if cached != nil {
		return cached
	}
	return e
}
