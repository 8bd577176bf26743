package view

import (
	"context"
	"errors"
	"io"
	"os"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// Handle is an open file. When its connection is lost it opens the file again,
// if that is still there.
type Handle struct {
	f *File
	m tree.OpenMode

	mu     sync.Mutex
	h      *ninep.Handle
	root   *ninep.Fid // of h's connection
	closed bool
}

var (
	_ tree.Handle     = (*Handle)(nil)
	_ tree.Attrs      = (*Handle)(nil)
	_ tree.Descriptor = (*Handle)(nil)
)

// Open opens a file.
func (f *File) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	h, _, err := f.OpenFile(ctx, m)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// OpenFile is Open that also tells the attributes.
func (f *File) OpenFile(ctx context.Context, m tree.OpenMode) (*Handle, tree.Attr, error) {
	if f.kind == socket || f.kind == member {
		return nil, tree.Attr{}, api.E(api.Invalid, "open", f.name, "it is a link, to no file")
	}
	h := &Handle{f: f, m: m}
	a, err := h.open(ctx, m)
	if err != nil {
		return nil, a, err
	}
	h.m.Truncate = false // not a second time
	return h, a, nil
}

// open opens the file at its server.
func (h *Handle) open(ctx context.Context, m tree.OpenMode) (tree.Attr, error) {
	f := h.f
	w, err := f.call(ctx, op{name: "open", again: !m.Truncate, do: func(p place) (w ninep.Walked, err error) {
		h.root = p.root
		h.h, w, err = p.fid.Open(ctx, m, p.names...)
		return w, err
	}})
	if err == nil && f.same("open", w) != nil {
		h.h.Close()
		err = f.replaced("open")
	}
	return f.shown(w.Attr), err
}

// OpenNow opens what f's name leads to by now, which may be another file.
func (f *File) OpenNow(ctx context.Context, m tree.OpenMode) (*Handle, tree.Attr, error) {
	f.fs.mu.Lock()
	dir, name := f.parent, f.name
	f.fs.mu.Unlock()
	if dir == nil || f.kind != entry {
		return f.OpenFile(ctx, m)
	}
	h := &Handle{m: m}
	w, err := dir.call(ctx, op{name: "open", again: !m.Truncate, entry: name, do: func(p place) (w ninep.Walked, err error) {
		h.root = p.root
		h.h, w, err = p.fid.Open(ctx, m, p.names...)
		return w, err
	}})
	if err != nil {
		return nil, tree.Attr{}, err
	}
	return h.is(ctx, dir, name, w.Attr)
}

// is ties an open file to the entry that it was opened as.
func (h *Handle) is(ctx context.Context, dir *File, name string, a tree.Attr) (*Handle, tree.Attr, error) {
	g, a, err := dir.Entry(ctx, name, a)
	if err != nil {
		h.h.Close()
		return nil, a, err
	}
	h.f, h.m.Truncate = g, false // not a second time
	return h, a, nil
}

// MakeFile makes an entry of f and opens it in one step, or opens what is there
// unless n is exclusive.
func (f *File) MakeFile(ctx context.Context, name string, n tree.NewFile, m tree.OpenMode) (*Handle, *File, tree.Attr, error) {
	if err := f.checkNew("create", name); err != nil {
		return nil, nil, tree.Attr{}, err
	}
	h := &Handle{m: m}
	w, err := f.call(ctx, op{name: "create", entry: name, do: func(p place) (w ninep.Walked, err error) {
		h.root = p.root
		h.h, w, err = p.fid.CreateOpen(ctx, n, m, p.names...)
		return w, err
	}})
	if err != nil {
		return nil, nil, tree.Attr{}, err
	}
	h, a, err := h.is(ctx, f, name, w.Attr)
	if err != nil {
		return nil, nil, a, err
	}
	return h, h.f, a, nil
}

// current is the open file at the server, opened again when its connection is
// lost.
func (h *Handle) current(ctx context.Context) (*ninep.Handle, *ninep.Fid, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, nil, api.E(api.Invalid, "file", h.f.name, "it is closed")
	}
	if lost(h.root) {
		old := h.h
		if _, err := h.open(ctx, h.m); err != nil {
			h.h = old
			return nil, nil, err
		}
		old.Close() // its descriptor, if it had one
	}
	return h.h, h.root, nil
}

// use calls fn, again after the connection was lost if that may be.
func (h *Handle) use(ctx context.Context, again bool, fn func(*ninep.Handle) error) error {
	for try := 0; ; try++ {
		n, root, err := h.current(ctx)
		if err != nil {
			return err
		}
		err = fn(n)
		if api.KindOf(err) != api.Unavailable || !lost(root) || !again || try > 0 {
			return err
		}
	}
}

// ReadAt reads len(p) bytes, or up to the end and returns io.EOF.
func (h *Handle) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = h.use(ctx, true, func(at *ninep.Handle) error {
		n, err = at.ReadAt(ctx, p, off)
		return err
	})
	if errors.Is(err, io.EOF) {
		err = io.EOF
	}
	return n, err
}

// WriteAt writes p. A write that appends is not tried again: it may have been
// done.
func (h *Handle) WriteAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	err = h.use(ctx, !h.m.Append, func(at *ninep.Handle) error {
		n, err = at.WriteAt(ctx, p, off)
		return err
	})
	return n, err
}

// Sync returns when what was written is as safe as the server makes it.
func (h *Handle) Sync(ctx context.Context) error {
	return h.use(ctx, false, func(at *ninep.Handle) error { return at.Sync(ctx) })
}

// Attr describes the open file, also when its entry is gone.
func (h *Handle) Attr(ctx context.Context) (a tree.Attr, err error) {
	err = h.use(ctx, true, func(at *ninep.Handle) error {
		a, err = at.Attr(ctx)
		return err
	})
	return h.f.shown(a), err
}

// SetAttr changes the open file.
func (h *Handle) SetAttr(ctx context.Context, s tree.SetAttr) (a tree.Attr, err error) {
	err = h.use(ctx, true, func(at *ninep.Handle) error {
		a, err = at.SetAttr(ctx, s)
		return err
	})
	return h.f.shown(a), err
}

// Descriptor is a copy of the file's own, where the server is on this machine
// and gave it.
func (h *Handle) Descriptor() (*os.File, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.h.Descriptor()
}

// Close ends it.
func (h *Handle) Close() error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	return h.h.Close()
}
