package ux

import (
	"context"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Put makes the file aside and renames it into place, or appends. Neither is
// seen half, by readers here or after a crash. Handles that are open go on with
// the new content.
func (f *file) Put(ctx context.Context, name string, p tree.Put) (tree.Attr, error) {
	if p.Mode&tree.ModeType == 0 {
		p.Mode |= tree.ModeFile
	}
	if t := p.Mode & tree.ModeType; t != tree.ModeFile {
		return tree.Attr{}, api.E(api.Invalid, "put", name, "type %o: only files are put", t)
	}
	if err := checkNew("put", name, p.NewFile, f.c); err != nil {
		return tree.Attr{}, err
	}
	if len(p.Data) > MaxPut {
		return tree.Attr{}, api.E(api.TooLarge, "put", name, "%s at once; the limit is %s: open the file and write it in pieces", size(int64(len(p.Data))), size(MaxPut))
	}
	release, err := f.fenced(ctx, "put")
	if err != nil {
		return tree.Attr{}, err
	}
	defer release()
	w := putting{f: f, name: name, p: p, id: replayHash(f.c, p.NoReplay)}
	for {
		if a, done, err := w.try(ctx); done || err != nil {
			return a, err
		}
	}
}

// putting is one Put under way.
type putting struct {
	f    *file
	name string
	p    tree.Put
	id   uint64 // of replays; 0: none
}

// try does the Put; it is not done when the file came meanwhile that was to be
// made.
func (w *putting) try(ctx context.Context) (a tree.Attr, done bool, err error) {
	r := w.f.r
	if err := r.enter(); err != nil {
		return a, false, err
	}
	n, a, done, err := w.check()
	if done || err != nil {
		r.leave()
		return a, done, err
	}
	if n != nil && w.p.Append {
		a, err = w.append(n) // leaves
		return a, true, err
	}
	r.leave()
	select {
	case r.puts <- struct{}{}:
		defer func() { <-r.puts }()
	case <-ctx.Done():
		return a, false, api.E(api.Deadline, "put", w.name, "other Puts of the realm are under way: %v", ctx.Err())
	}
	return w.replace()
}

// check says whether the Put may be done, or was done before; n is the file
// that is there, or nil. ns is held.
func (w *putting) check() (n *node, a tree.Attr, done bool, err error) {
	f := w.f
	if err := f.dir("put", tree.MaySearch); err != nil {
		return nil, a, false, err
	}
	if a, ok := f.r.replays.seen(w.id); ok {
		return nil, a, true, nil
	}
	n, err = f.r.lookup("put", f.n, w.name)
	if api.KindOf(err) == api.NotFound {
		if err := w.condition(nil); err != nil {
			return nil, a, false, err
		}
		return nil, a, false, f.may("put", mayChange)
	}
	if err != nil {
		return nil, a, false, err
	}
	m := n.meta.Load()
	if m.did(w.id) {
		n.content.RLock()
		defer n.content.RUnlock()
		a, err = n.attr("put", w.name)
		return n, a, true, err
	}
	if err := w.condition(m); err != nil {
		return nil, a, false, err
	}
	return n, a, false, f.with(n, w.name).may("put", tree.MayWrite)
}

// condition says whether the Put may be done on m, or on nothing.
func (w *putting) condition(m *meta) error {
	p := &w.p
	switch {
	case m == nil && p.If != nil && *p.If != 0:
		return api.E(api.Conflict, "put", w.name, "it is not there, let alone at version %d", *p.If)
	case m == nil && !p.Create:
		return api.E(api.NotFound, "put", w.name, "there is no such file")
	case m == nil:
		return nil
	case m.isDir():
		return api.E(api.IsDir, "put", w.name, "it is a directory")
	case !m.isFile():
		return api.E(api.Invalid, "put", w.name, "it is a link; put to what it leads to")
	case p.Exclusive:
		return api.E(api.Exists, "put", w.name, "it exists")
	case p.If != nil && *p.If != m.version:
		return api.E(api.Conflict, "put", w.name, "it has version %d, not %d; read it again", m.version, *p.If)
	}
	return nil
}

// replace writes the data aside and puts it in place. No lock is held.
func (w *putting) replace() (a tree.Attr, done bool, err error) {
	r := w.f.r
	t, err := w.aside()
	if err != nil {
		return a, false, r.s.fail("put", w.name, err)
	}
	defer t.close() // after ns is left: freeing an old file may take long
	if err := r.alter(); err != nil {
		return a, false, err // tmp is emptied at the next start
	}
	defer r.altered()
	n, a, done, err := w.check()
	if done || err != nil || n != nil && w.p.Append {
		r.dropTemp(t)
		return a, done, err
	}
	if n == nil {
		n, err = w.f.place("put", w.name, t, w.p.NewFile, w.id)
	} else {
		err = w.swap(n, t)
	}
	if err != nil {
		r.dropTemp(t)
		return a, false, err
	}
	n.content.RLock()
	defer n.content.RUnlock()
	if a, err = n.attr("put", w.name); err == nil {
		r.replays.add(w.id, a)
	}
	return a, true, err
}

// aside writes the data into a temporary file. The room for it is taken when it
// finds its place; until then it is bounded by MaxPut and the number of Puts.
func (w *putting) aside() (*temp, error) {
	r := w.f.r
	if !r.s.disk.room(int64(len(w.p.Data))) {
		return nil, unix.ENOSPC
	}
	if err := r.enter(); err != nil {
		return nil, err
	}
	t, err := r.newTemp(false, nil)
	r.leave()
	if err != nil {
		return nil, err
	}
	if err = t.fill(w.p.Data); err == nil {
		return t, nil
	}
	if r.enter() == nil {
		r.dropTemp(t)
		r.leave()
	}
	t.close()
	return nil, err
}
