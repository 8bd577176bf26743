package ux

import (
	"golang.org/x/sys/unix"

	"sigmaos/naming/tree"
)

// append puts the data behind what n has. The attribute says first where that
// began, so that a crash leaves all of it or nothing. ns is held for reading and
// is left here: the disk may take long.
func (w *putting) append(n *node) (a tree.Attr, err error) {
	r, f := w.f.r, w.f.with(n, w.name)
	n.content.Lock()
	defer n.content.Unlock()
	m := n.meta.Load()
	// It was checked before content was held.
	if m.did(w.id) {
		defer r.leave()
		return n.attr("put", w.name)
	}
	if err = w.condition(m); err == nil {
		err = r.acquire("put", n, true)
	}
	r.leave()
	if err != nil {
		return a, err
	}
	defer r.release(n, true)
	if err := n.appendWhole(w.name, w.p.Data, w.id); err != nil {
		return a, f.r.s.fail("put", w.name, err)
	}
	if a, err = n.attr("put", w.name); err == nil {
		r.replays.add(w.id, a)
	}
	return a, err
}

// appendWhole appends all of data or nothing. content is held, with a writer.
func (n *node) appendWhole(subject string, data []byte, put uint64) error {
	from := n.size
	m := *n.meta.Load()
	m.dirty, m.undo = true, from
	if err := writeMeta(n.fd, &m); err != nil {
		return err
	}
	n.meta.Store(&m)
	_, err := n.write("put", subject, data, from)
	if err != nil {
		n.takeBack(from)
	}
	done := *n.meta.Load()
	done.undo, done.dirty = -1, n.writers > 1
	if err == nil {
		done.done = done.remember(put)
		done.version = n.r.hist.change(n, false)
	}
	if werr := writeMeta(n.fd, &done); werr != nil && err == nil {
		// After a crash it would be cut off: it is taken back while that can be said.
		n.takeBack(from)
		err = werr
	}
	n.meta.Store(&done)
	return err
}

// takeBack cuts an append off that failed. content is held.
func (n *node) takeBack(from int64) {
	if n.size <= from {
		return
	}
	if err := retry(func() error { return unix.Ftruncate(n.fd, from) }); err != nil {
		n.r.s.log.Warn("half an append cannot be taken back", "realm", n.r.id, "err", err)
		return
	}
	n.r.give(charge(n.size)-charge(from), 0)
	n.size = from
}
