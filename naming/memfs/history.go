package memfs

import "sigmaos/naming/tree"

// record is one change, as the watches of a directory and of a file see it.
type record struct {
	version uint64
	kind    tree.EventKind
	dir     uint64 // the directory whose entry it is; 0: none
	name    string
	id      uint64
}

// event is what a watch of the node id is told of r.
func (r record) event(id uint64) (tree.Event, bool) {
	switch {
	case r.dir == id:
		return tree.Event{Version: r.version, Kind: r.kind, Name: r.name, ID: r.id}, true
	case r.id == id && r.kind != tree.Created:
		return tree.Event{Version: r.version, Kind: r.kind, ID: r.id}, true
	}
	return tree.Event{}, false
}

// history is the latest changes, in a ring.
type history struct {
	version uint64 // of the last change
	forgot  uint64 // changes up to this version may be missing
	limit   int
	ring    []record
	first   int // of the oldest, once the ring is full
}

func (h *history) add(r record) {
	if len(h.ring) < h.limit {
		h.ring = append(h.ring, r)
		return
	}
	h.forgot = h.ring[h.first].version
	h.ring[h.first] = r
	h.first = (h.first + 1) % h.limit
}

func (h *history) at(i int) record { return h.ring[(h.first+i)%len(h.ring)] }

// after is the index of the first record behind version.
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

// changeLocked gives the records of one change a version and tells who watches.
func (fs *FS) changeLocked(rs ...record) uint64 {
	fs.history.version++
	for _, r := range rs {
		r.version = fs.history.version
		fs.history.add(r)
		fs.wakeLocked(r.dir)
		fs.wakeLocked(r.id)
	}
	return fs.history.version
}

func (fs *FS) wakeLocked(id uint64) {
	for w := range fs.watches[id] {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	}
}
