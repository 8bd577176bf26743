package named

import (
	"context"
	"io"
	"sync/atomic"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// handle is an open file. It goes on when the file is removed: then the file is
// in the leader's memory alone, until its last handle is closed or the term
// ends.
type handle struct {
	f      *file
	n      *node
	mode   tree.OpenMode
	closed atomic.Bool
}

// Open implements tree.File.
func (f *file) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	r := f.req("open")
	if !m.Read && !m.Write || !m.Write && (m.Append || m.Truncate) {
		return nil, r.err(api.Invalid, "", "to be opened for reading, writing or both; appending and truncating need writing")
	}
	if m.Truncate {
		if err := f.truncate(ctx, r); err != nil {
			return nil, err
		}
	}
	h, counted := &handle{f: f, mode: m}, false
	err := f.term.update(ctx, func(st *state) (err error) {
		if h.n, err = f.mayOpen(r, st, m); err != nil {
			return err
		}
		if st.handles >= f.term.limits.Handles {
			return r.err(api.Busy, "", "the realm has %d open files and may not have more", st.handles)
		}
		st.handles++
		h.n.open++
		counted = true
		return nil
	})
	if err != nil {
		if counted {
			h.Close() // the term's lease has run out meanwhile
		}
		return nil, err
	}
	return h, nil
}

// truncate empties a file that is about to be opened.
func (f *file) truncate(ctx context.Context, r *req) error {
	zero := int64(0)
	return f.term.do(ctx, &change{req: r, fn: func(s *stage) error {
		in := s.get(f.id)
		if in == nil {
			return r.err(api.NotFound, "", "it was removed")
		}
		if err := mayBeOpened(r, in); err != nil {
			return err
		}
		if err := s.mayWrite(r, in, ""); err != nil {
			return err
		}
		_, err := s.setAttr(r, f.id, tree.SetAttr{Size: &zero})
		return err
	}})
}

func (f *file) mayOpen(r *req, st *state, m tree.OpenMode) (*node, error) {
	n, err := f.node(r, st)
	if err != nil {
		return nil, err
	}
	if err := mayBeOpened(r, &n.inode); err != nil {
		return nil, err
	}
	if m.Read {
		if err := r.allow(&n.inode, "", tree.MayRead); err != nil {
			return nil, err
		}
	}
	if m.Write {
		if err := newStage(st, f.term.limits, 0).mayWrite(r, &n.inode, ""); err != nil {
			return nil, err
		}
	}
	return n, nil
}

func mayBeOpened(r *req, in *inode) error {
	switch {
	case in.isDir():
		return r.err(api.IsDir, "", "it is a directory; list it")
	case !in.isFile():
		return r.err(api.Invalid, "", "it is a link; follow it first")
	}
	return nil
}

// usable checks a call on the handle.
func (h *handle) usable(r *req, allowed bool, off int64) error {
	switch {
	case h.closed.Load():
		return r.err(api.Invalid, "", "the handle is closed")
	case !allowed:
		return r.err(api.Denied, "", "it is not open for that")
	case off < 0:
		return r.err(api.Invalid, "", "offset %d", off)
	}
	return nil
}

// ReadAt implements tree.Handle.
func (h *handle) ReadAt(ctx context.Context, p []byte, off int64) (int, error) {
	r := h.f.req("read")
	if err := h.usable(r, h.mode.Read, off); err != nil {
		return 0, err
	}
	var data []byte // never changed in place, so it can be copied later
	if err := h.f.term.read(ctx, func(*state) error { data = h.n.Data; return nil }); err != nil {
		return 0, err
	}
	n := 0
	if off < int64(len(data)) {
		n = copy(p, data[off:])
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// WriteAt implements tree.Handle. Each call is durable when it returns.
func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	r := h.f.req("write")
	if err := h.usable(r, h.mode.Write, off); err != nil {
		return 0, err
	}
	if size := int64(len(p)); size > h.f.term.limits.FileSize {
		return 0, r.sizeError("", size, h.f.term.limits.FileSize)
	}
	err := h.f.term.do(ctx, &change{
		req:   r,
		fn:    func(s *stage) error { return s.write(r, h.f.id, off, p, h.mode.Append) },
		weigh: func(s *stage) (int, int) { return opKeys, s.writeWeight(h.f.id, off, len(p), h.mode.Append) },
	})
	if err != nil {
		return 0, err
	}
	return len(p), nil
}

func (s *stage) writeWeight(id uint64, off int64, n int, behind bool) int {
	end := off
	if behind {
		end = 0 // behind what is there, which weight counts
	}
	end += int64(n)
	return s.weight(id, &end)
}

// Sync implements tree.Handle: every write was durable when it returned.
func (h *handle) Sync(ctx context.Context) error {
	return h.f.term.read(ctx, func(*state) error { return nil })
}

// Attr implements tree.Attrs.
func (h *handle) Attr(ctx context.Context) (a tree.Attr, err error) {
	r := h.f.req("stat")
	if err := h.usable(r, true, 0); err != nil {
		return a, err
	}
	err = h.f.term.read(ctx, func(st *state) error {
		a = h.n.attr()
		if st.nodes[h.f.id] == nil {
			a.Links = 0
		}
		return nil
	})
	if err != nil {
		return tree.Attr{}, err
	}
	return a, nil
}

// SetAttr implements tree.Attrs.
func (h *handle) SetAttr(ctx context.Context, a tree.SetAttr) (tree.Attr, error) {
	if err := h.usable(h.f.req("setattr"), true, 0); err != nil {
		return tree.Attr{}, err
	}
	return h.f.setAttr(ctx, a, (*stage).opened)
}

// Close implements tree.Handle.
func (h *handle) Close() error {
	if h.closed.Swap(true) {
		return h.f.req("close").err(api.Invalid, "", "the handle is closed")
	}
	t := h.f.term
	t.mu.Lock()
	defer t.mu.Unlock()
	t.st.handles--
	if h.n.open--; h.n.open == 0 && t.st.orphans[h.f.id] == h.n {
		delete(t.st.orphans, h.f.id)
		t.st.bytes -= h.n.cost()
	}
	return nil
}
