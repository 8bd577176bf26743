package ux

import (
	"sync"

	"sigmaos/naming/tree"
)

// record is one change, as the watches of a directory and of a file see it.
type record struct {
	version uint64
	kind    tree.EventKind
	dir     uint64 // the directory whose entry it is; 0: none
	name    string
	id      uint64
	write   bool // of content, through a handle: the next one may replace it
}

// event is what a watch of the file id is told.
func (r *record) event(id uint64) (tree.Event, bool) {
	switch {
	case r.dir == id:
		return tree.Event{Version: r.version, Kind: r.kind, Name: r.name, ID: r.id}, true
	case r.id == id && r.kind != tree.Created:
		return tree.Event{Version: r.version, Kind: r.kind, ID: r.id}, true
	}
	return tree.Event{}, false
}

// history gives out the versions of a realm and keeps its latest changes.
//
// A change that must know its version before it is done (it is written into an
// attribute) begins, does its work, and ends; later ones wait behind it, so that
// the ring holds changes in order and only such as have happened.
type history struct {
	mu      sync.Mutex
	last    uint64              // version given out last
	begun   []uint64            // and not ended, ascending
	waiting map[uint64][]record // ended, behind one that is not
	forgot  uint64              // changes up to this version may be missing
	limit   int
	ring    []record
	first   int // of the oldest, once the ring is full
	watches map[uint64]map[*watch]struct{}
	count   int // of watches
}

func newHistory(base uint64, limit int) *history {
	return &history{last: base, forgot: base, limit: limit, waiting: make(map[uint64][]record), watches: make(map[uint64]map[*watch]struct{})}
}

// begin gives out a version; end must follow. place, which may be nil, is run
// with it: what moves files in the tree does so there, because records are
// named under the same lock.
func (h *history) begin(place func()) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	if place != nil {
		place()
	}
	h.last++
	h.begun = append(h.begun, h.last)
	return h.last
}

// place moves files in the tree; see begin.
func (h *history) place(move func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	move()
}

// end tells what came of version v; no records: nothing happened.
func (h *history) end(v uint64, rs ...record) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endLocked(v, rs)
}

// endChange is end for one change of n, where ns is not held.
func (h *history) endChange(v uint64, n *node) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.endLocked(v, []record{n.record(tree.Changed)})
}

func (h *history) endLocked(v uint64, rs []record) {
	h.waiting[v] = rs
	for len(h.begun) > 0 {
		rs, ended := h.waiting[h.begun[0]]
		if !ended {
			return
		}
		delete(h.waiting, h.begun[0])
		h.tell(h.begun[0], rs)
		h.begun = h.begun[1:]
	}
}

// change records one change of n that has happened.
func (h *history) change(n *node, write bool) uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.last++
	r := n.record(tree.Changed)
	r.write = write
	if len(h.begun) > 0 {
		h.begun = append(h.begun, h.last)
		h.waiting[h.last] = []record{r}
	} else {
		h.tell(h.last, []record{r})
	}
	return h.last
}

// tell puts records into the ring and wakes who watches. mu is held.
func (h *history) tell(v uint64, rs []record) {
	for _, r := range rs {
		r.version = v
		h.add(r)
		h.wake(r.dir)
		if r.id != r.dir {
			h.wake(r.id)
		}
	}
}

func (h *history) add(r record) {
	if n := len(h.ring); n > 0 && r.write {
		// One writer must not push out everybody's changes.
		if last := h.at(n - 1); last.write && last.id == r.id && last.dir == r.dir && last.name == r.name {
			last.version = r.version
			return
		}
	}
	if len(h.ring) < h.limit {
		h.ring = append(h.ring, r)
		return
	}
	gone := &h.ring[h.first]
	h.forgot = gone.version
	h.outrun(gone.dir, gone.version)
	h.outrun(gone.id, gone.version)
	*gone = r
	h.first = (h.first + 1) % h.limit
}

// outrun marks watches that were not told of a change that is forgotten.
func (h *history) outrun(id, version uint64) {
	for w := range h.watches[id] {
		w.lost = w.lost || w.at < version
	}
}

func (h *history) at(i int) *record { return &h.ring[(h.first+i)%len(h.ring)] }

// after is the index of the first record behind version. mu is held.
func (h *history) after(version uint64) int {
	lo, hi := 0, len(h.ring)
	for lo < hi {
		if mid := (lo + hi) / 2; h.at(mid).version <= version {
			lo = mid + 1
		} else {
			hi = mid
		}
	}
	return lo
}

func (h *history) wake(id uint64) {
	for w := range h.watches[id] {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}

// settled is the version up to which the ring tells all. mu is held.
func (h *history) settled() uint64 {
	if len(h.begun) > 0 {
		return h.begun[0] - 1
	}
	return h.last
}
