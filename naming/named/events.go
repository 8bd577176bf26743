package named

import (
	"sync/atomic"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// event is one change of the tree. Versions are dense: each event has one of
// its own.
type event struct {
	version uint64
	parent  uint64 // directory
	id      uint64
	name    string
	kind    tree.EventKind
}

// ring is the tree's recent past.
type ring struct {
	base uint64 // version before the first event
	ev   []event
	max  int
}

// push adds events that follow the last one.
func (g *ring) push(ev []event) {
	g.ev = append(g.ev, ev...)
	// Forgetting moves all that stays, so it is done for many at once.
	if over := len(g.ev) - g.max; over > g.max/4 {
		g.base += uint64(over)
		g.ev = append(make([]event, 0, g.max+g.max/4+len(ev)), g.ev[over:]...)
	}
}

// prepend puts older events in front; they must end at base.
func (g *ring) prepend(ev []event) {
	if room := g.max - len(g.ev); len(ev) > room {
		ev = ev[len(ev)-max(room, 0):]
	}
	g.base -= uint64(len(ev))
	g.ev = append(append(make([]event, 0, len(ev)+len(g.ev)), ev...), g.ev...)
}

// after is what happened after version, which must be at least oldest.
func (g *ring) after(version uint64) []event {
	i := version - g.base
	return g.ev[min(i, uint64(len(g.ev))):]
}

// oldest is the first version from which a watch can go on. What is kept
// beyond max for a while does not count: the promise is the same at all times.
func (g *ring) oldest() uint64 {
	return g.base + uint64(max(0, len(g.ev)-g.max))
}

// watcher is one Watch. It has no queue: it reads the ring from its cursor, and
// is cut off when it is too far behind.
type watcher struct {
	id      uint64 // file or directory
	dir     bool
	cursor  uint64 // up to this version all is told
	from    uint64 // version when it began: events after it count as pending
	pending atomic.Int64
	wake    chan struct{}
}

func (w *watcher) nudge() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// sees returns an event as the watcher is told of it.
func (w *watcher) sees(e *event) (tree.Event, bool) {
	switch {
	case w.dir && e.parent == w.id:
		return tree.Event{Version: e.version, Kind: e.kind, Name: e.name, ID: e.id}, true
	case e.id != w.id || e.kind == tree.Created || w.dir && e.kind != tree.Removed:
		return tree.Event{}, false // an arrival is told where it is
	}
	return tree.Event{Version: e.version, Kind: e.kind, ID: e.id}, true
}

// hub is who watches what. The term's lock guards it.
type hub struct {
	limits *Limits
	n      int
	byID   map[uint64]map[*watcher]struct{}
}

func (h *hub) add(w *watcher) error {
	if h.n >= h.limits.Watchers {
		return api.E(api.Busy, "watch", "", "the realm has %d watchers and may not have more", h.limits.Watchers)
	}
	if h.byID[w.id] == nil {
		h.byID[w.id] = make(map[*watcher]struct{})
	}
	h.byID[w.id][w] = struct{}{}
	h.n++
	return nil
}

// remove forgets a watcher, whose Watch ends.
func (h *hub) remove(w *watcher) {
	h.n--
	h.mute(w)
}

// mute tells a watcher nothing more.
func (h *hub) mute(w *watcher) {
	if delete(h.byID[w.id], w); len(h.byID[w.id]) == 0 {
		delete(h.byID, w.id)
	}
}

// progressEvery is after how many versions every watcher is woken, so that it
// can tell how far it has come although nothing happened where it looks.
const progressEvery = 1 << 14

// tell wakes those who watch what the events are about.
func (h *hub) tell(ev []event) {
	for i := range ev {
		e := &ev[i]
		h.tellOne(e, e.parent)
		h.tellOne(e, e.id)
		if e.version%progressEvery == 0 {
			for _, ws := range h.byID {
				for w := range ws {
					w.nudge()
				}
			}
		}
	}
}

func (h *hub) tellOne(e *event, id uint64) {
	for w := range h.byID[id] {
		if _, ok := w.sees(e); !ok {
			continue
		}
		if w.pending.Add(1) > int64(h.limits.Pending) {
			h.mute(w) // it hears so when it comes back
		}
		w.nudge()
	}
}
