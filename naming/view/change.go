package view

import (
	"context"
	"errors"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

// checkNew is checkEntry for a name that comes or goes.
func (f *File) checkNew(op, name string) error {
	if name == resolve.Local || name == resolve.Any {
		return noMember(op, name)
	}
	return f.checkEntry(op, name)
}

// Create makes an entry.
func (f *File) Create(ctx context.Context, name string, n tree.NewFile) (tree.File, error) {
	fid, root, w, err := f.create(ctx, name, n)
	if err != nil {
		return nil, err
	}
	g, _, err := f.Entry(ctx, name, w.Attr)
	if g != nil {
		g.take(fid, root)
	}
	return asFile(g, err)
}

// Make is Create that says what was made; as Look, not as Walk.
func (f *File) Make(ctx context.Context, name string, n tree.NewFile) (*File, tree.Attr, error) {
	fid, _, w, err := f.create(ctx, name, n)
	if err != nil {
		return nil, tree.Attr{}, err
	}
	fid.Forget()
	return f.Entry(ctx, name, w.Attr)
}

func (f *File) create(ctx context.Context, name string, n tree.NewFile) (fid, root *ninep.Fid, w ninep.Walked, err error) {
	if err := f.checkNew("create", name); err != nil {
		return nil, nil, w, err
	}
	w, err = f.call(ctx, op{name: "create", entry: name, do: func(p place) (w ninep.Walked, err error) {
		root = p.root
		fid, w, err = p.fid.Create(ctx, n, p.names...)
		return w, err
	}})
	return fid, root, w, err
}

// Put writes the whole of a small file.
func (f *File) Put(ctx context.Context, name string, p tree.Put) (tree.Attr, error) {
	if err := f.checkNew("put", name); err != nil {
		return tree.Attr{}, err
	}
	w, err := f.call(ctx, op{name: "put", again: p.NoReplay != "", entry: name, do: func(at place) (ninep.Walked, error) {
		return at.fid.Put(ctx, p, at.names...)
	}})
	return f.shown(w.Attr), err
}

// Remove takes an entry away. The way to another server is no directory of this
// one: it stays.
func (f *File) Remove(ctx context.Context, name string, dir bool) error {
	if err := f.checkNew("remove", name); err != nil {
		return err
	}
	_, err := f.call(ctx, op{name: "remove", entry: name, do: func(p place) (ninep.Walked, error) {
		return p.fid.Remove(ctx, dir, p.names...)
	}})
	if dir && api.KindOf(err) == api.NotDir {
		if g, a, lerr := f.Look(ctx, name); lerr == nil && a.IsDir() && g.kind == atRoot {
			return api.E(api.Conflict, "remove", name, "it is the way to another server; sigmactl rm removes the link")
		}
	}
	return err
}

// Rename moves an entry over what is there, at one server.
func (f *File) Rename(ctx context.Context, name string, to tree.File, newName string) error {
	dst, ok := to.(*File)
	if !ok || dst.fs != f.fs {
		return errOther(name)
	}
	if err := errors.Join(f.checkNew("rename", name), dst.checkNew("rename", newName)); err != nil {
		return err
	}
	f.fs.mu.Lock()
	one := f.region == dst.region
	f.fs.mu.Unlock()
	if !one {
		return errOther(name)
	}
	_, err := f.call(ctx, op{name: "rename", entry: name, do: func(p place) (w ninep.Walked, err error) {
		q, err := dst.reach(ctx)
		if err != nil {
			return w, err
		}
		defer q.release()
		w, _, err = p.fid.Rename(ctx, p.names, q.fid, append(q.names, newName))
		return w, err
	}})
	return err
}

// errOther is of kind Unsupported, on which mv copies.
func errOther(name string) error {
	return api.E(api.Unsupported, "rename", name, "it cannot move to another server; copy it")
}

// Get reads a small file whole.
func (f *File) Get(ctx context.Context, max int) (a tree.Attr, data []byte, err error) {
	if f.kind == member {
		return a, nil, noMember("get", f.name)
	}
	w, err := f.call(ctx, op{name: "get", again: true, do: func(p place) (w ninep.Walked, err error) {
		data, w, err = p.fid.Get(ctx, max, p.names...)
		return w, err
	}})
	if api.KindOf(err) == api.TooLarge && w.Attr.Size > int64(max) {
		return f.shown(w.Attr), nil, nil
	}
	if err == nil {
		err = f.same("get", w)
	}
	return f.shown(w.Attr), data, err
}

// Space says how much room is left where f is.
func (f *File) Space(ctx context.Context) (sp tree.Space, err error) {
	_, err = f.call(ctx, op{name: "statfs", again: true, do: func(p place) (w ninep.Walked, err error) {
		sp, err = p.fid.Space(ctx) // of a file, its directory's
		return w, err
	}})
	return sp, err
}

// Watch calls fn with changes; a lost connection ends it.
func (f *File) Watch(ctx context.Context, version uint64, fn func(at uint64, ev []tree.Event) error) error {
	p, err := f.reach(ctx)
	if err != nil {
		return err
	}
	fid, w, err := p.fid.Walk(ctx, p.names...)
	p.release()
	if err != nil {
		return err
	}
	if w.Link {
		return f.replaced("watch")
	}
	defer fid.Forget()
	return fid.Watch(ctx, version, func(at uint64, ev []tree.Event) error {
		for i := range ev {
			ev[i].ID = f.shown(tree.Attr{ID: ev[i].ID}).ID
		}
		return fn(at, ev)
	})
}
