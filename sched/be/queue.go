package be

import (
	"container/list"

	"sigmaos/api"
)

// Item is a proc that waits.
type Item struct {
	ID      string // unique in the queue
	Realm   string
	Memory  int64  // bytes it needs
	Digest  string // of its program, for Offer.Cached; may be ""
	Came    int64  // when, as coarse as procs are to tie; 0 ties with nothing
	Near    Nodes  // on which it had better run, for Offer.Near
	Bytes   int64  // that it takes here, for the bound of its realm
	Payload any    // the owner's; never looked at
}

// Nodes are a few nodes by number; 0 is none.
type Nodes [4]uint16

// Has reports whether n, which is not 0, is one of them.
func (l Nodes) Has(n uint16) bool { return l[0] == n || l[1] == n || l[2] == n || l[3] == n }

// None reports whether there are none.
func (l Nodes) None() bool { return l == Nodes{} }

// Queue holds the waiting procs of all realms. It is not safe for concurrent use.
type Queue struct {
	limit      int   // procs per realm
	limitBytes int64 // per realm; 0 is none
	realms     map[string]*realm
	turn       list.List         // of *realm with waiting procs; the front is next
	items      map[string]*entry // by id
	least      int64             // no proc in any window needs less; 0 is not known
	call       uint64            // counts PopNs

	free  *entry // linked by next
	frees int
}

// New makes an empty queue that takes perRealm waiting procs of each realm.
func New(perRealm int) *Queue {
	return &Queue{limit: perRealm, realms: make(map[string]*realm), items: make(map[string]*entry)}
}

// LimitBytes bounds what the waiting procs of one realm take here (Item.Bytes);
// 0 is no bound.
func (q *Queue) LimitBytes(perRealm int64) { q.limitBytes = perRealm }

// Push puts item at the end of its realm's queue. The error is api.Busy if
// that queue is full, api.Exists if the id is waiting already, api.Invalid
// without an id or realm, or with negative memory.
func (q *Queue) Push(item Item) error {
	if err := q.check(item); err != nil {
		return err
	}
	r := q.realm(item.Realm)
	switch {
	case r.line.n >= q.limit:
		r.stats.Refused++
		return api.E(api.Busy, "queue", item.ID, "%d procs of the realm are waiting, which is the limit; wait for some to start", q.limit)
	case q.limitBytes > 0 && r.stats.Bytes+item.Bytes > q.limitBytes:
		r.stats.Refused++
		return api.E(api.Busy, "queue", item.ID, "the realm's %d waiting procs take %d bytes with their arguments, and the limit is %d; wait for some to start, or pass large input in a file",
			r.line.n, r.stats.Bytes, q.limitBytes)
	}
	if r.line.n < Window {
		q.comesIntoWindow(r, item.Memory)
	}
	e := q.newEntry(item, r)
	r.line.pushBack(e)
	q.enter(e)
	r.stats.Pushed++
	return nil
}

// PushFront puts a proc that was popped, and that its node gave back without
// starting it, before all others of its realm. It was within the bounds when it
// came, and they are not looked at again. The error is api.Exists or
// api.Invalid as for Push.
func (q *Queue) PushFront(item Item) error {
	if err := q.check(item); err != nil {
		return err
	}
	r := q.realm(item.Realm)
	q.comesIntoWindow(r, item.Memory)
	e := q.newEntry(item, r)
	r.line.pushFront(e)
	q.enter(e)
	r.stats.Returned++
	return nil
}

func (q *Queue) check(item Item) error {
	if item.ID == "" || item.Realm == "" || item.Memory < 0 || item.Bytes < 0 {
		return api.E(api.Invalid, "queue", item.ID, "needs an id, a realm and an amount of memory (%q, %q, %d)", item.ID, item.Realm, item.Memory)
	}
	if q.items[item.ID] != nil {
		return api.E(api.Exists, "queue", item.ID, "is waiting already")
	}
	return nil
}

func (q *Queue) realm(name string) *realm {
	r := q.realms[name]
	if r == nil {
		r = &realm{name: name}
		q.realms[name] = r
	}
	return r
}

// comesIntoWindow keeps the lower bounds true for a proc that can be looked at
// from now on.
func (q *Queue) comesIntoWindow(r *realm, memory int64) {
	r.floor = min(r.floor, memory)
	if len(q.items) == 0 {
		q.least = memory
	} else {
		q.least = min(q.least, memory)
	}
}

// enter counts e, which is in its line.
func (q *Queue) enter(e *entry) {
	r := e.realm
	q.items[e.ID] = e
	r.stats.Memory += e.Memory
	r.stats.Bytes += e.Bytes
	if !e.Near.None() {
		r.near++
	}
	if r.place == nil {
		r.place = q.turn.PushBack(r)
	}
}

// take removes one waiting proc, whatever the reason.
func (q *Queue) take(e *entry) Item {
	r, item := e.realm, e.Item
	r.floor = 0
	if r.line.n > Window {
		q.least = 0 // another proc moves into the window
	}
	r.line.remove(e)
	delete(q.items, item.ID)
	q.freeEntry(e)
	r.stats.Memory -= item.Memory
	r.stats.Bytes -= item.Bytes
	if !item.Near.None() {
		r.near--
	}
	if r.line.n == 0 {
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
	q.take(e)
	return true
}

// RemoveRealm forgets a realm and returns its waiting procs, oldest first.
func (q *Queue) RemoveRealm(name string) []Item {
	r := q.realms[name]
	if r == nil {
		return nil
	}
	var items []Item
	for r.line.n > 0 {
		items = append(items, q.take(r.line.head))
	}
	delete(q.realms, name)
	return items
}

// RemoveIf takes out all procs for which gone holds, such as those of a home
// node that is lost, and returns them. It looks at every waiting proc; gone
// must not call the queue.
func (q *Queue) RemoveIf(gone func(Item) bool) []Item {
	var items []Item
	for _, r := range q.realms {
		for e := r.line.head; e != nil; {
			next := e.next
			if gone(e.Item) {
				items = append(items, q.take(e))
			}
			e = next
		}
	}
	return items
}
