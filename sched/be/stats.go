package be

import (
	"slices"
	"strings"
)

// Stats are one realm's figures.
type Stats struct {
	Realm    string
	Queued   int    // waiting now
	Memory   int64  // bytes that those need
	Bytes    int64  // that they take here
	Pushed   uint64 // ever taken in
	Served   uint64 // ever popped
	Returned uint64 // ever given back by a node; each was served before
	Refused  uint64 // ever refused because the queue was full
}

// Hint tells a node whether it is worth asking.
type Hint struct {
	Queued int   // procs that wait
	Realms int   // that they belong to
	Least  int64 // an offer of less memory gets nothing; 0 where that is not known
}

// Hint is about this moment, and costs nothing.
func (q *Queue) Hint() Hint {
	h := Hint{Queued: len(q.items), Realms: q.turn.Len()}
	if h.Queued > 0 {
		h.Least = q.least
	}
	return h
}

// First is the oldest proc of the realm whose turn it is; false if none waits.
func (q *Queue) First() (Item, bool) {
	if at := q.turn.Front(); at != nil {
		return at.Value.(*realm).line.head.Item, true
	}
	return Item{}, false
}

// Has reports whether id waits.
func (q *Queue) Has(id string) bool { return q.items[id] != nil }

// Len is the number of waiting procs of all realms.
func (q *Queue) Len() int { return len(q.items) }

// Waiting is the number of waiting procs of a realm.
func (q *Queue) Waiting(realm string) int {
	if r := q.realms[realm]; r != nil {
		return r.line.n
	}
	return 0
}

// Stats gives the figures of every realm seen since it was last removed,
// ordered by name.
func (q *Queue) Stats() []Stats {
	all := make([]Stats, 0, len(q.realms))
	for _, r := range q.realms {
		s := r.stats
		s.Realm, s.Queued = r.name, r.line.n
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stats) int { return strings.Compare(a.Realm, b.Realm) })
	return all
}
