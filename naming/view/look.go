package view

import (
	"context"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

// Attr describes f.
func (f *File) Attr(ctx context.Context) (tree.Attr, error) {
	if f.kind == member {
		return f.memberAttr(ctx)
	}
	w, err := f.call(ctx, op{name: "stat", again: true, do: func(p place) (ninep.Walked, error) {
		return p.fid.Stat(ctx, p.names...)
	}})
	if err == nil {
		err = f.same("stat", w)
	}
	return f.shown(w.Attr), err
}

func (f *File) shown(a tree.Attr) tree.Attr {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.region.show(a)
}

// same checks that an answer is about f. What a server serves is f whatever its
// number: it may have begun anew.
func (f *File) same(op string, w ninep.Walked) error {
	if f.kind != atRoot && w.Attr.ID != f.id {
		return f.replaced(op)
	}
	return nil
}

// SetAttr changes what is not nil.
func (f *File) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	if f.kind == member {
		return tree.Attr{}, noMember("setattr", f.name)
	}
	w, err := f.call(ctx, op{name: "setattr", again: true, do: func(p place) (ninep.Walked, error) {
		return p.fid.SetAttr(ctx, s, p.names...)
	}})
	if err == nil {
		err = f.same("setattr", w)
	}
	return f.shown(w.Attr), err
}

// Walk is Look for those who keep what they walk to: it follows its file when
// that is renamed.
func (f *File) Walk(ctx context.Context, name string) (tree.File, error) {
	if name == resolve.Local || name == resolve.Any {
		g, _, err := f.Look(ctx, name)
		return asFile(g, err)
	}
	if err := f.checkEntry("walk", name); err != nil {
		return nil, err
	}
	var fid, root *ninep.Fid
	w, err := f.call(ctx, op{name: "walk", again: true, entry: name, do: func(p place) (w ninep.Walked, err error) {
		root = p.root
		fid, w, err = p.fid.Walk(ctx, p.names...)
		return w, err
	}})
	if err != nil {
		return nil, err
	}
	g, _, err := f.Entry(ctx, name, w.Attr)
	if g != nil {
		g.take(fid, root)
	}
	return asFile(g, err)
}

// asFile keeps a nil *File from becoming a tree.File that is not nil.
func asFile(f *File, err error) (tree.File, error) {
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Look finds an entry of a directory, and what is behind it when it is an
// endpoint link.
func (f *File) Look(ctx context.Context, name string) (*File, tree.Attr, error) {
	if err := f.checkEntry("walk", name); err != nil {
		return nil, tree.Attr{}, err
	}
	if name == resolve.Local || name == resolve.Any {
		return f.lookMember(ctx, name)
	}
	w, err := f.call(ctx, op{name: "walk", again: true, entry: name, do: func(p place) (ninep.Walked, error) {
		return p.fid.Stat(ctx, p.names...)
	}})
	if err != nil {
		return nil, tree.Attr{}, err
	}
	return f.Entry(ctx, name, w.Attr)
}

// checkEntry refuses what cannot have or be an entry.
func (f *File) checkEntry(op, name string) error {
	if !f.dir {
		return api.E(api.NotDir, op, f.name, "it is no directory")
	}
	return tree.CheckName(op, name)
}

// Entry is the entry of f with the given attributes at the server, of a link
// itself.
func (f *File) Entry(ctx context.Context, name string, a tree.Attr) (*File, tree.Attr, error) {
	fs := f.fs
	fs.mu.Lock()
	g := &File{fs: fs, id: a.ID, dir: a.IsDir(), region: f.region, parent: f, name: name}
	fs.mu.Unlock()
	if a.Mode&tree.ModeType != tree.ModeEndpoint {
		return g, g.region.show(a), nil
	}
	b, err := g.enter(ctx, a)
	if err != nil || b.dir || b.id != 0 {
		return g, b.attr, err
	}
	g.kind = socket
	return g, g.region.show(a), nil
}

// entered is what was found behind a link; none of it: a socket.
type entered struct {
	id   uint64
	dir  bool
	attr tree.Attr
}

// enter goes through the link g and makes it what is behind.
func (g *File) enter(ctx context.Context, link tree.Attr) (e entered, err error) {
	fs := g.fs
	if link.Published || fs.isSilent(link.Target) {
		return e, nil
	}
	r, err := g.region.behind(link)
	if err != nil {
		return e, err
	}
	root, err := r.attach(ctx)
	var w ninep.Walked
	if err == nil {
		w, err = root.Stat(ctx)
	}
	switch {
	case err == nil:
	case r.known():
		return e, err
	default:
		if ctx.Err() == nil {
			fs.setSilent(link.Target)
		}
		return e, nil
	}
	g.kind, g.id, g.dir, g.region = atRoot, w.Attr.ID, w.Attr.IsDir(), r
	return entered{id: g.id, dir: g.dir, attr: r.show(w.Attr)}, nil
}

func (fs *FS) isSilent(target string) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	return time.Now().Before(fs.silent[target])
}

func (fs *FS) setSilent(target string) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	now := time.Now()
	for t, until := range fs.silent {
		if now.After(until) || len(fs.silent) >= maxSilent {
			delete(fs.silent, t)
		}
	}
	fs.silent[target] = now.Add(fs.cfg.Quiet)
}

// Listed is an entry of a listing; Attr may be nil, and is of a link itself.
type Listed = ninep.Entry

// TypeOf is the type of a listed entry as far as it is known without asking its
// server; 0: it is not.
func (f *File) TypeOf(e Listed) uint32 {
	t := e.Mode & tree.ModeType
	if t != tree.ModeEndpoint {
		return t
	}
	if e.Attr == nil {
		return 0
	}
	f.fs.mu.Lock()
	r := f.region
	f.fs.mu.Unlock()
	if b, err := r.behind(*e.Attr); err == nil && !e.Attr.Published && b.known() {
		return tree.ModeDir
	}
	return 0
}

// List returns up to max entries in order, behind the name after, with what the
// server says of them: [File.Entry] makes files of those. end says that there are
// no more; without it there is an entry. Names that cannot be an entry's are left
// out.
func (f *File) List(ctx context.Context, after string, max int) (list []Listed, end bool, err error) {
	if !f.dir {
		return nil, false, api.E(api.NotDir, "readdir", f.name, "it is no directory")
	}
	for {
		list, end, err = f.page(ctx, after, max)
		if err != nil {
			return nil, false, err
		}
		n := len(list)
		if n > 0 {
			after = list[n-1].Name
		}
		list = slices.DeleteFunc(list, func(e Listed) bool { return tree.CheckName("readdir", e.Name) != nil })
		if end || len(list) > 0 {
			return list, end, nil
		}
	}
}

// page is one answer to a listing.
func (f *File) page(ctx context.Context, after string, max int) (list []Listed, end bool, err error) {
	_, err = f.call(ctx, op{name: "readdir", again: true, do: func(p place) (w ninep.Walked, err error) {
		list, w, end, err = p.fid.ReadDir(ctx, after, max, true, p.names...)
		return w, err
	}})
	switch {
	case err != nil:
	case !end && len(list) == 0:
		err = api.E(api.Unavailable, "readdir", f.name, "the server gives no entries and no end")
	case len(list) > 0 && list[len(list)-1].Name <= after:
		err = api.E(api.Unavailable, "readdir", f.name, "the server lists in no order")
	}
	return list, end, err
}

// ReadDir is List without attributes, with numbers of the view.
func (f *File) ReadDir(ctx context.Context, after string, max int) (out []tree.Dirent, err error) {
	for len(out) < max {
		list, end, err := f.List(ctx, after, max-len(out))
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			e.ID = f.NumberOf(e.ID)
			out = append(out, e.Dirent)
			after = e.Name
		}
		if end {
			break
		}
	}
	return out, nil
}
