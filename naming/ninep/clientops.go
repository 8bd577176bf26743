package ninep

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Stat returns the attributes of what is there, of a link itself.
func (f *Fid) Stat(ctx context.Context, names ...string) (Walked, error) {
	if err := f.hold(); err != nil {
		return Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainStat(ctx, names)
	}
	return f.byPath(ctx, "stat", tSstat, names, func(p path) message { return &sstat{p} })
}

// SetAttr changes attributes, of a link itself.
func (f *Fid) SetAttr(ctx context.Context, s tree.SetAttr, names ...string) (Walked, error) {
	if err := f.hold(); err != nil {
		return Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainSetAttr(ctx, s, names)
	}
	return f.byPath(ctx, "setattr", tSsetattr, names, func(p path) message { return &ssetattr{p, s} })
}

// Put writes the whole of a small file.
func (f *Fid) Put(ctx context.Context, p tree.Put, names ...string) (Walked, error) {
	if err := f.hold(); err != nil {
		return Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainPut(ctx, p, names)
	}
	return f.byPath(ctx, "put", tSput, names, func(at path) message { return &sput{at, p} })
}

// Remove takes an entry away; dir says that it must be an empty directory.
func (f *Fid) Remove(ctx context.Context, dir bool, names ...string) (Walked, error) {
	if err := f.hold(); err != nil {
		return Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainRemove(ctx, dir, names)
	}
	return f.byPath(ctx, "remove", tSremove, names, func(p path) message { return &sremove{p, dir} })
}

// Rename moves the entry at names to the place toNames below to, which is of the
// same Client. second says that the link in Walked is on the way to toNames.
func (f *Fid) Rename(ctx context.Context, names []string, to *Fid, toNames []string) (w Walked, second bool, err error) {
	for _, g := range []*Fid{f, to} {
		if err := g.hold(); err != nil {
			return w, g == to, err
		}
		defer g.release()
	}
	if to.c != f.c {
		return w, false, api.E(api.Unsupported, "rename", "", "the two places are on different servers; copy it")
	}
	if !f.c.sigma {
		return f.plainRename(ctx, names, to, toNames)
	}
	from, err := f.path(names)
	if err != nil {
		return w, false, err
	}
	dst, err := to.path(toNames)
	if err != nil {
		return w, true, err
	}
	var out rsrename
	err = f.c.do(ctx, "rename", tSrename, &srename{from, dst}, &out)
	return out.export(), out.Second, err
}

// Create makes an entry and gives its place.
func (f *Fid) Create(ctx context.Context, n tree.NewFile, names ...string) (*Fid, Walked, error) {
	if err := f.hold(); err != nil {
		return nil, Walked{}, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainCreate(ctx, n, names)
	}
	p, err := f.path(names)
	if err != nil {
		return nil, Walked{}, err
	}
	var out ropened
	g, err := f.c.making(ctx, "create", tScreate, func(num uint32) message { return &screate{path: p, NewFid: num, New: n} }, &out)
	if err == nil && out.Stop != stopDone {
		f.c.freeFid(g.num)
		g = nil
	}
	return g, out.export(), err
}

// ReadDir returns up to max entries in order, behind the name after; end says
// that there are no more. max 0 is as many as fit.
func (f *Fid) ReadDir(ctx context.Context, after string, max int, attrs bool, names ...string) (list []Entry, w Walked, end bool, err error) {
	if err := f.hold(); err != nil {
		return nil, w, false, err
	}
	defer f.release()
	if !f.c.sigma {
		return f.plainReadDir(ctx, after, max, attrs, names)
	}
	p, err := f.path(names)
	if err != nil {
		return nil, w, false, err
	}
	if len(after) > tree.MaxPath {
		return nil, w, false, bad("readdir", "a name of %d bytes", len(after))
	}
	var out rsreaddir
	err = f.c.do(ctx, "readdir", tSreaddir, &sreaddir{path: p, After: after, Max: uint32(min(max, tree.MaxPage)), Attrs: attrs}, &out)
	return out.Entries, out.export(), out.End, err
}
