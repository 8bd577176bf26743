package be

// entry is a waiting proc in the line of its realm.
type entry struct {
	Item
	realm      *realm
	prev, next *entry
}

// line is a list of entries that needs no memory of its own.
type line struct {
	head, tail *entry
	n          int
}

func (l *line) pushBack(e *entry) {
	e.prev, e.next = l.tail, nil
	if l.tail == nil {
		l.head = e
	} else {
		l.tail.next = e
	}
	l.tail = e
	l.n++
}

func (l *line) pushFront(e *entry) {
	e.prev, e.next = nil, l.head
	if l.head == nil {
		l.tail = e
	} else {
		l.head.prev = e
	}
	l.head = e
	l.n++
}

func (l *line) remove(e *entry) {
	if e.prev == nil {
		l.head = e.next
	} else {
		e.prev.next = e.next
	}
	if e.next == nil {
		l.tail = e.prev
	} else {
		e.next.prev = e.prev
	}
	e.prev, e.next = nil, nil
	l.n--
}

// maxFree is how many entries are kept for the next pushes.
const maxFree = 4096

// newEntry takes an entry from those that are free.
func (q *Queue) newEntry(item Item, r *realm) *entry {
	e := q.free
	if e == nil {
		e = new(entry)
	} else {
		q.free, e.next = e.next, nil
		q.frees--
	}
	e.Item, e.realm = item, r
	return e
}

// freeEntry keeps e, without what it held, for the next push.
func (q *Queue) freeEntry(e *entry) {
	*e = entry{}
	if q.frees < maxFree {
		e.next, q.free = q.free, e
		q.frees++
	}
}
