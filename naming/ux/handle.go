package ux

import (
	"context"
	"io"
	"math"
	"os"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// handle is an open file. Rights were checked when it was opened. Readers and
// one writer at a time: what is read is before or after a write, not half of it.
type handle struct {
	file
	m      tree.OpenMode
	closed bool // guarded by content
}

func (f *file) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	m.Write = m.Write || m.Append
	if !m.Read && !m.Write || m.Truncate && !m.Write {
		return nil, f.e(api.Invalid, "open", "for neither reading nor writing, or to truncate without writing")
	}
	release, err := noRelease, error(nil)
	if m.Truncate {
		if release, err = f.fenced(ctx, "open"); err != nil {
			return nil, err
		}
	}
	defer release()
	if err := f.r.enter(); err != nil {
		return nil, err
	}
	defer f.r.leave()
	if err := f.mayOpen("open", m); err != nil {
		return nil, err
	}
	f.n.content.Lock()
	defer f.n.content.Unlock()
	if err := f.r.acquire("open", f.n, m.Write); err != nil {
		return nil, err
	}
	if m.Truncate {
		if _, err := f.set(f.n.fd, tree.SetAttr{Size: new(int64)}); err != nil {
			f.r.release(f.n, true)
			return nil, err
		}
	}
	return &handle{file: *f, m: m}, nil
}

// mayOpen says whether the caller may open the file so. ns is held.
func (f *file) mayOpen(op string, m tree.OpenMode) error {
	if err := f.here(op); err != nil {
		return err
	}
	switch at := f.n.meta.Load(); {
	case at.isDir():
		return f.e(api.IsDir, op, "it is a directory")
	case !at.isFile():
		return f.e(api.Invalid, op, "it is a link; open what it leads to")
	}
	rights := uint32(0)
	if m.Read {
		rights |= tree.MayRead
	}
	if m.Write {
		rights |= tree.MayWrite
	}
	return f.may(op, rights)
}

// usable says whether the handle is open, for what is asked. content is held.
func (h *handle) usable(op string, may bool) error {
	switch {
	case h.closed:
		return h.e(api.Invalid, op, "the handle is closed")
	case h.n.fd < 0:
		return h.r.why()
	case !may:
		return h.e(api.Denied, op, "it was not opened for that")
	}
	return nil
}

func (h *handle) ReadAt(_ context.Context, p []byte, off int64) (int, error) {
	h.n.content.RLock()
	defer h.n.content.RUnlock()
	if err := h.usable("read", h.m.Read); err != nil {
		return 0, err
	}
	switch {
	case off < 0:
		return 0, h.e(api.Invalid, "read", "an offset of %d", off)
	case off >= h.n.size:
		return 0, io.EOF
	}
	n, err := readAll(h.n.fd, p, off)
	switch {
	case err != nil:
		return n, h.r.s.fail("read", h.name, err)
	case n < len(p):
		return n, io.EOF
	}
	return n, nil
}

func (h *handle) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	release, err := h.fenced(ctx, "write")
	if err != nil {
		return 0, err
	}
	defer release()
	h.n.content.Lock()
	defer h.n.content.Unlock()
	if err := h.usable("write", h.m.Write); err != nil {
		return 0, err
	}
	if h.m.Append {
		off = h.n.size
	}
	switch {
	case off < 0:
		return 0, h.e(api.Invalid, "write", "an offset of %d", off)
	case off > math.MaxInt64-blockSize-int64(len(p)):
		return 0, h.e(api.TooLarge, "write", "an offset beyond every file")
	case len(p) == 0:
		return 0, nil
	}
	n, err := h.n.write("write", h.name, p, off)
	if n > 0 {
		h.n.wrote()
	}
	return n, err
}

// write puts p at off; the version must be raised after it. content is held,
// with a writer.
func (n *node) write(op, subject string, p []byte, off int64) (done int, err error) {
	if err := n.soil(); err != nil {
		return 0, n.r.s.fail(op, subject, err)
	}
	end := off + int64(len(p))
	if end > n.size {
		if _, err := n.room(op, subject, n.size, end); err != nil {
			return 0, err
		}
	}
	if done, err = writeAll(n.fd, p, off); err != nil {
		// What the disk did not take is given back.
		if st, err := fstat(n.fd); err == nil && end > n.size {
			n.r.give(charge(end)-charge(st.Size), 0)
			n.size = st.Size
		}
		return done, n.r.s.fail(op, subject, err)
	}
	n.size = max(n.size, end)
	return done, nil
}

// soil marks the file as one whose version grows. content is held.
func (n *node) soil() error {
	m := *n.meta.Load()
	if m.dirty || n.gone {
		return nil
	}
	m.dirty = true
	if err := writeMeta(n.fd, &m); err != nil {
		return err
	}
	n.meta.Store(&m)
	return nil
}

// wrote raises the version after a write. content is held.
func (n *node) wrote() {
	m := *n.meta.Load()
	m.version = n.r.hist.change(n, true)
	n.meta.Store(&m)
}

// Sync returns when what was written is on the disk.
func (h *handle) Sync(context.Context) error {
	h.n.content.RLock()
	if err := h.usable("sync", true); err != nil {
		h.n.content.RUnlock()
		return err
	}
	// The disk may take long; nobody else need wait for it.
	fd, err := unix.FcntlInt(uintptr(h.n.fd), unix.F_DUPFD_CLOEXEC, 3)
	h.n.content.RUnlock()
	if err == nil {
		err = retry(func() error { return unix.Fsync(fd) })
		unix.Close(fd)
	}
	if err != nil {
		return h.r.s.fail("sync", h.name, err)
	}
	return nil
}

func (h *handle) Close() error {
	h.n.content.Lock()
	defer h.n.content.Unlock()
	if !h.closed {
		h.closed = true
		h.r.release(h.n, h.m.Write)
	}
	return nil
}

// Attr and SetAttr also serve a file that was removed.
func (h *handle) Attr(context.Context) (tree.Attr, error) {
	h.n.content.RLock()
	defer h.n.content.RUnlock()
	if err := h.usable("stat", true); err != nil {
		return tree.Attr{}, err
	}
	return h.n.attr("stat", h.name)
}

func (h *handle) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	release, err := h.fenced(ctx, "setattr")
	if err != nil {
		return tree.Attr{}, err
	}
	defer release()
	h.n.content.Lock()
	defer h.n.content.Unlock()
	if err := h.usable("setattr", true); err != nil {
		return tree.Attr{}, err
	}
	if err := h.maySet(s, h.m.Write); err != nil {
		return tree.Attr{}, err
	}
	if s.Size != nil && !h.n.writable {
		return tree.Attr{}, h.e(api.Denied, "setattr", "it was not opened for that")
	}
	return h.set(h.n.fd, s)
}

// Descriptor opens the file once more, for reading, for a proc of this node.
// The file's room stays taken for as long as the proc has it open, also when it
// is removed. A Put replaces the file; the descriptor keeps what it was.
func (h *handle) Descriptor() (*os.File, error) {
	if err := h.r.enter(); err != nil {
		return nil, err
	}
	defer h.r.leave()
	h.n.content.Lock()
	defer h.n.content.Unlock()
	if err := h.usable("descriptor", h.m.Read && !h.m.Write); err != nil {
		return nil, err
	}
	if !h.r.s.hands {
		return nil, h.e(api.Unsupported, "descriptor", "this disk cannot tell when it is closed; read through the handle")
	}
	if err := h.here("descriptor"); err != nil {
		return nil, err
	}
	fd, err := h.n.open(forHanding)
	if err != nil {
		return nil, h.r.s.fail("descriptor", h.name, err)
	}
	h.r.hand(h.n)
	return os.NewFile(uintptr(fd), h.name), nil
}
