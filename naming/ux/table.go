package ux

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/clock"
)

// table is the files of a realm that have a descriptor here. A file has one,
// whatever the number of handles.
type table struct {
	mu     sync.Mutex
	open   map[*node]struct{}
	handed map[*node]struct{} // of those, with descriptors that procs may hold
	timer  clock.Timer        // sweeps while anything is handed
	closed bool

	ticking sync.Mutex // held by a tick
}

// sweepEvery is how long at most a descriptor that a proc has closed still
// counts when nobody needs the room.
const sweepEvery = 5 * time.Second

func (t *table) count() (open, handed int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.open), len(t.handed)
}

// add makes n one of the open files, at most max.
func (t *table) add(n *node, max int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if _, in := t.open[n]; !in && len(t.open) >= max {
		return false
	}
	t.open[n] = struct{}{}
	return true
}

// acquire opens n for one more user. ns and content are held.
func (r *realm) acquire(op string, n *node, write bool) error {
	if n.fd < 0 || write && !n.writable {
		if err := r.reopen(op, n, write); err != nil {
			return err
		}
	}
	n.handles++
	if write {
		n.writers++
	}
	return nil
}

func (r *realm) reopen(op string, n *node, write bool) error {
	if !r.table.add(n, r.s.cfg.MaxOpen) {
		if r.sweep(); !r.table.add(n, r.s.cfg.MaxOpen) {
			return api.E(api.Busy, op, n.name, "the realm has %d files open on node %s, as many as it may; close some", r.s.cfg.MaxOpen, r.s.cfg.Node)
		}
	}
	flags := forReading
	if write {
		flags = forWriting
	}
	fd, err := n.open(flags)
	if err == nil {
		var st unix.Stat_t
		if st, err = fstat(fd); err == nil {
			n.size = st.Size
		} else {
			unix.Close(fd)
		}
	}
	if err != nil {
		if n.fd < 0 {
			r.forget(n)
		}
		return r.s.fail(op, n.name, err)
	}
	if n.fd >= 0 {
		unix.Close(n.fd)
	}
	n.fd, n.writable = fd, write
	return nil
}

func (r *realm) forget(n *node) {
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	delete(r.table.open, n)
	delete(r.table.handed, n)
}

// release is the end of one user. content is held.
func (r *realm) release(n *node, write bool) {
	if n.fd < 0 { // the realm is closed
		return
	}
	n.handles--
	if write {
		if n.writers--; n.writers == 0 {
			n.clean()
		}
	}
	n.closeUnused()
}

// closeUnused closes what nobody has open; a file that was removed is gone
// then. content is held.
func (n *node) closeUnused() {
	if n.handles > 0 || n.handed || n.fd < 0 {
		return
	}
	unix.Close(n.fd)
	n.fd = -1
	n.r.forget(n)
	if n.gone {
		n.r.give(charge(n.size), 1)
	}
}

// clean writes the version that grew with the writers. content is held.
func (n *node) clean() {
	m := *n.meta.Load()
	if !m.dirty {
		return
	}
	m.dirty = false
	n.meta.Store(&m)
	if n.gone {
		return
	}
	if err := writeMeta(n.fd, &m); err != nil {
		// It is still marked, and will get a later version when it is read.
		n.r.s.log.Warn("the version of a file cannot be written", "realm", n.r.id, "id", m.id, "err", err)
	}
}

// hand notes that a proc may have n open. content is held.
func (r *realm) hand(n *node) {
	n.handed = true
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	r.table.handed[n] = struct{}{}
	r.armLocked()
}

// unhand is the reverse.
func (r *realm) unhand(n *node) {
	n.handed = false
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	delete(r.table.handed, n)
}

// armLocked has sweep called later. table.mu is held.
func (r *realm) armLocked() {
	if r.table.timer == nil && !r.table.closed && len(r.table.handed) > 0 {
		r.table.timer = r.s.cfg.Clock.AfterFunc(sweepEvery, r.tick)
	}
}

func (r *realm) tick() {
	r.table.ticking.Lock()
	defer r.table.ticking.Unlock()
	r.sweep()
	r.table.mu.Lock()
	defer r.table.mu.Unlock()
	r.table.timer = nil
	r.armLocked()
}

// sweep closes files whose descriptors no proc holds any more. Those that are
// in use this moment wait for the next time, so any lock may be held.
func (r *realm) sweep() {
	r.table.mu.Lock()
	list := make([]*node, 0, len(r.table.handed))
	for n := range r.table.handed {
		list = append(list, n)
	}
	r.table.mu.Unlock()
	for _, n := range list {
		if !n.content.TryLock() {
			continue
		}
		if n.fd >= 0 && n.handed && !heldElsewhere(n.fd) {
			r.unhand(n)
			n.closeUnused()
		}
		n.content.Unlock()
	}
}

// closeFiles ends every handle. No file can be opened any more.
func (r *realm) closeFiles() {
	r.table.mu.Lock()
	r.table.closed = true
	if r.table.timer != nil {
		r.table.timer.Stop()
	}
	list := make([]*node, 0, len(r.table.open))
	for n := range r.table.open {
		list = append(list, n)
	}
	r.table.mu.Unlock()
	r.table.ticking.Lock() // wait for a tick that has begun
	defer r.table.ticking.Unlock()
	for _, n := range list {
		n.content.Lock()
		if n.fd >= 0 {
			n.clean()
			unix.Close(n.fd)
			n.fd = -1
			r.forget(n)
		}
		n.content.Unlock()
	}
}
