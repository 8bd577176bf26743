// Package be is the queue of one shard for best-effort procs. It is policy
// only: no clock, no socket, no goroutine, no lock; besched owns a Queue and
// guards it.
//
// # What it promises
//
// Each realm has a queue of its own with a bound. Realms are served in turn:
// while two realms both have something that fits what is offered, neither is
// served twice without the other being served in between. A realm that has
// nothing fitting keeps its place in the turn but gathers no credit.
//
// Within a realm the oldest proc that fits goes first. Only the first [Window]
// procs of a realm are looked at, so that a Pop that finds nothing costs at
// most that much per realm, and usually one comparison (see realm.floor): a
// realm whose oldest 64 procs all need more than any node offers waits until
// one of them fits.
package be

import (
	"container/list"
	"slices"
	"strings"

	"sigmaos/api"
)

// Window is how far Pop looks into a realm's queue.
const Window = 64

// Item is a proc that waits.
type Item struct {
	ID      string // unique in the queue
	Realm   string
	Memory  int64 // bytes it needs
	Payload any   // the owner's; never looked at
}

// Offer is what a node can take now.
type Offer struct {
	Memory int64           // bytes
	Fits   func(Item) bool // further conditions; nil is none. Must not call the queue.
}

// Queue holds the waiting procs of all realms. It is not safe for concurrent use.
type Queue struct {
	limit  int // procs per realm
	realms map[string]*realm
	turn   list.List                // of *realm with waiting procs; the front is next
	items  map[string]*list.Element // by id, in their realm's queue
}

// realm is one realm's queue. It stays, for its counters, until RemoveRealm.
type realm struct {
	name  string
	queue list.List     // of *Item, oldest first
	place *list.Element // in Queue.turn; nil while queue is empty

	// floor is the smallest need among the first Window procs where a Pop has
	// seen all of them; 0 means not known. An offer below it need not look.
	floor int64
	stats Stats
}

// Stats are one realm's figures.
type Stats struct {
	Realm   string
	Queued  int    // waiting now
	Memory  int64  // bytes that those need
	Pushed  uint64 // ever taken in
	Served  uint64 // ever popped
	Refused uint64 // ever refused because the queue was full
}

// New makes an empty queue that takes perRealm waiting procs of each realm.
func New(perRealm int) *Queue {
	return &Queue{limit: perRealm, realms: make(map[string]*realm), items: make(map[string]*list.Element)}
}

// Push puts item at the end of its realm's queue. The error is api.Busy if
// that queue is full, api.Exists if the id is waiting already, api.Invalid
// without an id or realm, or with negative memory.
func (q *Queue) Push(item Item) error {
	if item.ID == "" || item.Realm == "" || item.Memory < 0 {
		return api.E(api.Invalid, "queue", item.ID, "needs an id, a realm and an amount of memory (%q, %q, %d)", item.ID, item.Realm, item.Memory)
	}
	if q.items[item.ID] != nil {
		return api.E(api.Exists, "queue", item.ID, "is waiting already")
	}
	r := q.realms[item.Realm]
	if r == nil {
		r = &realm{name: item.Realm}
		q.realms[item.Realm] = r
	}
	if r.queue.Len() >= q.limit {
		r.stats.Refused++
		return api.E(api.Busy, "queue", item.ID, "%d procs of the realm are waiting, which is the limit; wait for some to start", q.limit)
	}
	if r.queue.Len() < Window {
		r.floor = min(r.floor, item.Memory)
	}
	q.items[item.ID] = r.queue.PushBack(&item)
	if r.place == nil {
		r.place = q.turn.PushBack(r)
	}
	r.stats.Pushed++
	r.stats.Memory += item.Memory
	return nil
}

// Pop takes the next proc that fits the offer; false if none does.
func (q *Queue) Pop(o Offer) (Item, bool) {
	for e := q.turn.Front(); e != nil; e = e.Next() {
		r := e.Value.(*realm)
		it := r.first(o)
		if it == nil {
			continue
		}
		item := q.take(r, it)
		r.stats.Served++
		if r.place != nil {
			q.turn.MoveToBack(r.place)
		}
		return item, true
	}
	return Item{}, false
}

// first is the oldest proc in the window that fits.
func (r *realm) first(o Offer) *list.Element {
	if r.floor > o.Memory {
		return nil
	}
	seen, least := 0, int64(0)
	for e := r.queue.Front(); e != nil && seen < Window; e = e.Next() {
		it := e.Value.(*Item)
		if it.Memory <= o.Memory && (o.Fits == nil || o.Fits(*it)) {
			return e
		}
		if seen == 0 || it.Memory < least {
			least = it.Memory
		}
		seen++
	}
	r.floor = least
	return nil
}

// take removes one waiting proc, whatever the reason.
func (q *Queue) take(r *realm, e *list.Element) Item {
	item := *r.queue.Remove(e).(*Item)
	delete(q.items, item.ID)
	r.stats.Memory -= item.Memory
	r.floor = 0 // another proc has moved into the window
	if r.queue.Len() == 0 {
		q.turn.Remove(r.place)
		r.place = nil
	}
	return item
}

// Remove takes id out of the queue and reports whether it was waiting.
func (q *Queue) Remove(id string) bool {
	e := q.items[id]
	if e == nil {
		return false
	}
	q.take(q.realms[e.Value.(*Item).Realm], e)
	return true
}

// RemoveRealm forgets a realm and returns its waiting procs, oldest first.
func (q *Queue) RemoveRealm(name string) []Item {
	r := q.realms[name]
	if r == nil {
		return nil
	}
	var items []Item
	for e := r.queue.Front(); e != nil; e = r.queue.Front() {
		items = append(items, q.take(r, e))
	}
	delete(q.realms, name)
	return items
}

// Len is the number of waiting procs of all realms.
func (q *Queue) Len() int { return len(q.items) }

// Stats gives the figures of every realm seen since it was last removed,
// ordered by name.
func (q *Queue) Stats() []Stats {
	all := make([]Stats, 0, len(q.realms))
	for _, r := range q.realms {
		s := r.stats
		s.Realm, s.Queued = r.name, r.queue.Len()
		all = append(all, s)
	}
	slices.SortFunc(all, func(a, b Stats) int { return strings.Compare(a.Realm, b.Realm) })
	return all
}
