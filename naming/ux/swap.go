package ux

import (
	"golang.org/x/sys/unix"

	"sigmaos/naming/tree"
)

// swap makes t the content of n. The file that was there is t afterwards. ns is
// held for writing.
func (w *putting) swap(n *node, t *temp) error {
	r := w.f.r
	n.content.Lock()
	defer n.content.Unlock()
	// A handle may have written since it was checked.
	if err := w.condition(n.meta.Load()); err != nil {
		return err
	}
	if err := r.fits("put", w.name, t.size); err != nil {
		return err
	}
	old, err := n.oldContent()
	if err != nil {
		return r.s.fail("put", w.name, err)
	}
	// A proc may have the old file open: it counts until it has not.
	grows, inodes := charge(t.size)-charge(old.size), int64(0)
	if n.handed {
		grows, inodes = charge(t.size), 1
	}
	err = r.take("put", w.name, max(grows, 0), inodes)
	if err == nil {
		if err = w.rename(n, t); err != nil {
			r.give(max(grows, 0), inodes)
		}
	}
	if err != nil {
		if n.fd < 0 {
			old.close()
		}
		return r.s.fail("put", w.name, err)
	}
	r.give(max(-grows, 0), 0)
	n.exchange(t, old)
	return nil
}

// oldContent is the file that a swap replaces: n's own descriptor, or one that
// only keeps it from being freed while locks are held.
func (n *node) oldContent() (*temp, error) {
	if n.fd >= 0 {
		return &temp{fd: n.fd, size: n.size}, nil
	}
	fd, err := n.open(asPlace)
	if err != nil {
		return nil, err
	}
	st, err := fstat(fd)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	return &temp{fd: fd, size: st.Size}, nil
}

// rename puts t over n, under n's id.
func (w *putting) rename(n *node, t *temp) error {
	r := w.f.r
	dir, err := w.f.n.open(asDirectory)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	v := r.hist.begin(nil)
	m := *n.meta.Load()
	m.version, m.dirty, m.undo, m.done = v, false, -1, m.remember(w.id)
	if err = writeMeta(t.fd, &m); err == nil {
		err = unix.Renameat2(r.tmp, t.name, dir, w.name, 0)
	}
	if err != nil {
		r.hist.end(v)
		return err
	}
	n.meta.Store(&m)
	r.hist.end(v, n.record(tree.Changed))
	return nil
}

// exchange gives n the descriptor of t, if n is open, and t the old one to
// close. content is held.
func (n *node) exchange(t, old *temp) {
	if n.fd < 0 {
		unix.Close(t.fd)
		t.fd = old.fd
		return
	}
	n.fd, n.writable, n.size, t.fd = t.fd, true, t.size, old.fd
	if n.handed {
		n.r.unhand(n)
		n.r.ghost(old)
		t.fd = -1
	}
	n.closeUnused()
}

// ghost keeps a file without a name that a proc may have open.
func (r *realm) ghost(old *temp) {
	g := &node{r: r, fd: old.fd, size: old.size, gone: true}
	g.meta.Store(&meta{mode: tree.ModeFile, undo: -1})
	g.content.Lock()
	defer g.content.Unlock()
	r.table.mu.Lock()
	r.table.open[g] = struct{}{}
	r.table.mu.Unlock()
	r.hand(g)
}
