package memfs

import (
	"context"
	"io"
	"math"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// handle is an open file. Rights were checked when it was opened.
type handle struct {
	file
	m      tree.OpenMode
	closed bool // guarded by fs.mu
}

func (f *file) Open(_ context.Context, m tree.OpenMode) (tree.Handle, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.hereLocked("open"); err != nil {
		return nil, err
	}
	m.Write = m.Write || m.Append
	switch {
	case f.n.isDir():
		return nil, f.e(api.IsDir, "open", "it is a directory")
	case f.n.mode&tree.ModeType != tree.ModeFile:
		return nil, f.e(api.Invalid, "open", "it is a link")
	case !m.Read && !m.Write, m.Truncate && !m.Write:
		return nil, f.e(api.Invalid, "open", "for neither reading nor writing, or to truncate without writing")
	}
	rights := uint32(0)
	if m.Read {
		rights |= tree.MayRead
	}
	if m.Write {
		rights |= tree.MayWrite
	}
	if err := f.mayLocked("open", rights); err != nil {
		return nil, err
	}
	if m.Truncate {
		if err := f.fencedLocked("open"); err != nil {
			return nil, err
		}
		f.fs.resizeLocked(f.n, 0)
		f.fs.touchLocked(f.n, true)
	}
	f.n.open++
	return &handle{file: *f, m: m}, nil
}

func (h *handle) usableLocked(op string, may bool) error {
	switch {
	case h.fs.closed:
		return errClosed
	case h.closed:
		return h.e(api.Invalid, op, "the handle is closed")
	case !may:
		return h.e(api.Denied, op, "it was not opened for that")
	}
	return nil
}

func (h *handle) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	h.fs.mu.RLock()
	defer h.fs.mu.RUnlock()
	if err := h.usableLocked("read", h.m.Read); err != nil {
		return 0, err
	}
	switch {
	case off < 0:
		return 0, h.e(api.Invalid, "read", "an offset below zero")
	case off >= int64(len(h.n.data)):
		return 0, io.EOF
	}
	n := copy(p, h.n.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(_ context.Context, p []byte, off int64) (int, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.usableLocked("write", h.m.Write); err != nil {
		return 0, err
	}
	size := int64(len(h.n.data))
	if h.m.Append {
		off = size
	}
	switch {
	case off < 0:
		return 0, h.e(api.Invalid, "write", "an offset below zero")
	case off > math.MaxInt64-int64(len(p)):
		return 0, h.e(api.TooLarge, "write", "an offset beyond every file")
	case len(p) == 0:
		return 0, nil
	}
	if err := h.fencedLocked("write"); err != nil {
		return 0, err
	}
	if end := off + int64(len(p)); end > size {
		if err := h.fs.roomLocked("write", size, end); err != nil {
			return 0, err
		}
		h.fs.resizeLocked(h.n, end)
	}
	n := copy(h.n.data[off:], p)
	h.fs.touchLocked(h.n, true)
	return n, nil
}

func (h *handle) Sync(context.Context) error { return nil }

func (h *handle) Close() error {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if h.closed {
		return nil
	}
	h.closed = true
	h.n.open--
	if h.n.gone(h.fs) {
		h.fs.forgetLocked(h.n)
	}
	return nil
}

// Attr and SetAttr also serve a file that was removed.
func (h *handle) Attr(context.Context) (tree.Attr, error) {
	h.fs.mu.RLock()
	defer h.fs.mu.RUnlock()
	return h.n.attr(h.fs), h.usableLocked("stat", true)
}

func (h *handle) SetAttr(_ context.Context, s tree.SetAttr) (tree.Attr, error) {
	h.fs.mu.Lock()
	defer h.fs.mu.Unlock()
	if err := h.usableLocked("setattr", true); err != nil {
		return tree.Attr{}, err
	}
	return h.setLocked(s, h.m.Write)
}
