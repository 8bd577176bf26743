package view

import (
	"container/list"
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// kind is how a File is addressed.
type kind uint8

const (
	entry  kind = iota // a name in its parent, at the same server
	atRoot             // what its region's server serves
	socket             // an endpoint link that looks like a socket: the link itself
	member             // ~local or ~any
)

// File is a place in a View.
type File struct {
	fs   *FS
	kind kind
	dir  bool // it is a directory
	keep bool // it has a fid of its own, as directories do
	id   uint64

	// Guarded by fs.mu.
	region *region // whose server has it; of a socket, the link
	parent *File   // nil: the realm's root
	name   string

	// The fid, guarded by fs.mu. at is where it was walked from.
	fid  *ninep.Fid
	at   *ninep.Fid
	uses int // of fid, under way
	seen *list.Element
}

var (
	_ tree.File   = (*File)(nil)
	_ tree.Getter = (*File)(nil)
	_ tree.Spacer = (*File)(nil)
)

// Number is the file's in the view: that of its attributes.
func (f *File) Number() uint64 {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.region.own(f.id)
}

// NumberOf is the number in the view of an entry of f that has this one at its
// server.
func (f *File) NumberOf(id uint64) uint64 { return f.shown(tree.Attr{ID: id}).ID }

// Depth is how many names lead from the realm's root to f.
func (f *File) Depth() int {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n := 0
	for f.parent != nil {
		f = f.parent
		n++
	}
	return n
}

// Moved tells f that it is found where to was found; both are the same file.
func (f *File) Moved(to *File) {
	fs := f.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for p := to.parent; p != nil; p = p.parent {
		if p == f { // the tree changed faster than we looked
			return
		}
	}
	if f != to {
		f.parent, f.name, f.region = to.parent, to.name, to.region
	}
}

// place is how a request names a file: by names below a fid.
type place struct {
	fid   *ninep.Fid
	names []string
	root  *ninep.Fid // of the connection
	owner *File      // has fid; nil: it is root
}

func (p place) release() {
	if p.owner != nil {
		fs := p.owner.fs
		fs.mu.Lock()
		p.owner.uses--
		fs.mu.Unlock()
	}
}

// reach finds f at a server that lives. The place must be released.
func (f *File) reach(ctx context.Context) (place, error) {
	fs := f.fs
	fs.mu.Lock()
	region, parent, name := f.region, f.parent, f.name
	fs.mu.Unlock()
	if f.kind == atRoot {
		root, err := region.attach(ctx)
		return place{fid: root, root: root}, err
	}
	if f.dir || f.keep {
		return f.own(ctx, region, parent, name)
	}
	p, err := parent.reach(ctx)
	p.names = append(p.names, name)
	return p, err
}

// own is reach for a File that keeps a fid.
func (f *File) own(ctx context.Context, r *region, parent *File, name string) (place, error) {
	root, err := r.attach(ctx)
	if err != nil {
		return place{}, err
	}
	if p, ok := f.kept(root, nil); ok {
		return p, nil
	}
	up, err := parent.reach(ctx)
	if err != nil {
		return place{}, err
	}
	defer up.release()
	fid, w, err := up.fid.Walk(ctx, append(up.names, name)...)
	switch {
	case err != nil:
		return place{}, err
	case w.Link || w.Attr.ID != f.id:
		if fid != nil {
			fid.Forget()
		}
		return place{}, f.replaced("walk")
	}
	p, _ := f.kept(up.root, fid)
	return p, nil
}

// take keeps a fid that came with f, or lets it go.
func (f *File) take(fid, root *ninep.Fid) {
	if f.kind != entry {
		fid.Forget()
		return
	}
	f.keep = true
	if p, ok := f.kept(root, fid); ok {
		p.release()
	}
}

// replaced is the error when another file has f's place.
func (f *File) replaced(op string) error {
	return api.E(api.TooOld, op, f.name, "another file has this name by now")
}

// kept gives out f's fid when it is one of a connection; a fresh one is kept if
// there is none.
func (f *File) kept(root, fresh *ninep.Fid) (place, bool) {
	fs := f.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	switch {
	case f.fid != nil && f.at == root:
		if fresh != nil { // another call was faster
			fresh.Forget()
		}
		fs.recent.MoveToFront(f.seen)
	case fresh == nil:
		return place{}, false
	default:
		if f.seen != nil {
			fs.recent.Remove(f.seen)
			f.dropLocked()
		}
		f.fid, f.at = fresh, root
		f.seen = fs.recent.PushFront(f)
		fs.shrinkLocked()
	}
	f.uses++
	return place{fid: f.fid, root: root, owner: f}, true
}

// dropLocked lets the fid go; who uses it still holds it.
func (f *File) dropLocked() {
	f.fid.Forget()
	f.fid, f.at, f.seen = nil, nil, nil
}

// shrinkLocked lets the fids go that were not used for longest.
func (fs *FS) shrinkLocked() {
	for e := fs.recent.Back(); e != nil && fs.recent.Len() > fs.cfg.Places; {
		f, prev := e.Value.(*File), e.Prev()
		if f.uses == 0 {
			fs.recent.Remove(e)
			f.dropLocked()
		}
		e = prev
	}
}

// Forget lets the fid of f go, when nobody needs f.
func (f *File) Forget() {
	fs := f.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if f.seen != nil && f.uses == 0 {
		fs.recent.Remove(f.seen)
		f.dropLocked()
	}
}

// op is something to be done at a server, on a File or an entry of it.
type op struct {
	name  string
	again bool   // a second time changes nothing: it may be tried again
	entry string // "": on the File itself
	do    func(p place) (ninep.Walked, error)
}

// call does something at the server of f; again if the connection was lost on the
// way and that may be.
func (f *File) call(ctx context.Context, o op) (ninep.Walked, error) {
	end := time.Now().Add(f.fs.cfg.Retry)
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, 500*time.Millisecond) {
		w, more, err := f.once(ctx, o)
		if !more || time.Now().Add(pause).After(end) {
			return w, err
		}
		select {
		case <-ctx.Done():
			return w, err
		case <-time.After(pause):
		}
	}
}

// once is one try; more says that another one makes sense.
func (f *File) once(ctx context.Context, o op) (w ninep.Walked, more bool, err error) {
	p, err := f.reach(ctx)
	if err != nil {
		// The realm's root moves to another node; what is behind a link does not.
		return w, api.KindOf(err) == api.Unavailable && f.atHome(), err
	}
	defer p.release()
	if o.entry != "" {
		p.names = append(p.names, o.entry)
	}
	if w, err = o.do(p); err == nil && w.Link {
		err = f.met(o, w, len(p.names))
	}
	return w, api.KindOf(err) == api.Unavailable && o.again && lost(p.root), err
}

// met is the error for a link where an operation was to be done, or one that came
// into the way there.
func (f *File) met(o op, w ninep.Walked, names int) error {
	switch {
	case w.Names < names:
		return f.replaced(o.name)
	case o.name == "create":
		return api.E(api.Exists, o.name, o.entry, "it is a link")
	}
	return api.E(api.Invalid, o.name, o.entry, "it is a link; this is done to what it leads to")
}

func (f *File) atHome() bool {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	return f.region.link == nil
}
