package s3

import (
	"context"
	"io"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Open opens an object. What is opened for writing is written from its beginning,
// as a new object in the place of the old one.
func (f *file) Open(ctx context.Context, m tree.OpenMode) (tree.Handle, error) {
	m.Write = m.Write || m.Append
	if !m.Read && !m.Write || m.Truncate && !m.Write {
		return nil, api.E(api.Invalid, "open", f.name(), "for neither reading nor writing, or to truncate without writing")
	}
	i, err := f.look(ctx, "open")
	switch {
	case err != nil:
		return nil, err
	case i.dir:
		return nil, api.E(api.IsDir, "open", f.name(), "it is a directory")
	case m.Append && i.size > 0 && !m.Truncate:
		return nil, errAppend("open", f.name())
	}
	if n := f.r.handles.Add(1); n > int64(f.r.s.cfg.Handles) {
		f.r.handles.Add(-1)
		return nil, api.E(api.Busy, "open", f.name(), "the realm has %d objects open on this node; close some", f.r.s.cfg.Handles)
	}
	if m.Write {
		return newWriter(f, m, &i), nil
	}
	r := &reader{f: f, info: i, turn: make(chan struct{}, 1), moved: make(chan struct{})}
	return r, nil
}

// reader is an object open for reading, in the version that it had when it was
// opened. Reads that follow each other come from one stream, others are requests
// of their own.
type reader struct {
	f *file
	info

	turn chan struct{} // has room for one: who may touch the rest
	// Guarded by turn.
	closed bool
	begun  bool // bytes of this version were given out
	s      *stream
	next   int64         // behind the last read
	moved  chan struct{} // closed and replaced when next changes
}

// ahead is how far before the others a read of a large piece may come, which was
// cut up: it waits a moment for its turn.
const (
	ahead  = 16 << 20
	settle = 20 * time.Millisecond
)

func (h *reader) lock(ctx context.Context) error {
	select {
	case h.turn <- struct{}{}:
		return nil
	case <-ctx.Done():
		return h.f.r.fail(ctx, "read", h.f.name(), ctx.Err())
	}
}

func (h *reader) unlock() { <-h.turn }

// ReadAt reads; of an object that was replaced before anything of it was read, the
// new version.
func (h *reader) ReadAt(ctx context.Context, p []byte, off int64) (n int, err error) {
	for range 10 {
		n, err = h.readAt(ctx, p, off)
		if n > 0 || api.KindOf(err) != api.Conflict || !h.renew(ctx) {
			break
		}
	}
	return n, err
}

// renew takes the object as it is now, unless it was begun to be read.
func (h *reader) renew(ctx context.Context) bool {
	if h.lock(ctx) != nil {
		return false
	}
	defer h.unlock()
	if h.begun || h.closed {
		return false
	}
	h.drop()
	i, err := h.f.r.head(ctx, "read", h.f.bucket, h.f.key, h.f.name())
	if err == nil {
		h.info = i
	}
	return err == nil
}

func (h *reader) readAt(ctx context.Context, p []byte, off int64) (int, error) {
	if err := h.lock(ctx); err != nil {
		return 0, err
	}
	switch {
	case h.closed:
		h.unlock()
		return 0, api.E(api.Invalid, "read", h.f.name(), "the handle is closed")
	case off < 0:
		h.unlock()
		return 0, api.E(api.Invalid, "read", h.f.name(), "an offset of %d", off)
	case off >= h.size:
		h.unlock()
		return 0, io.EOF
	case len(p) == 0:
		h.unlock()
		return 0, nil
	}
	short := int64(len(p)) > h.size-off
	if short {
		p = p[:h.size-off]
	}
	if h.s != nil && off > h.next && off-h.next <= ahead {
		if err := h.settle(ctx, off); err != nil {
			return 0, err
		}
	}
	n, err := h.read(ctx, p, off)
	if err == nil && short {
		err = io.EOF
	}
	return n, err
}

// settle waits until the reads before off are done, or for a moment without one.
// The turn is held before and after.
func (h *reader) settle(ctx context.Context, off int64) error {
	for h.next < off {
		moved := h.moved
		h.unlock()
		calm := false
		select {
		case <-moved:
		case <-time.After(settle):
			calm = true
		case <-ctx.Done():
		}
		if err := h.lock(ctx); err != nil {
			return err
		}
		if calm {
			return nil
		}
	}
	return nil
}

// read reads all of p, and gives the turn back.
func (h *reader) read(ctx context.Context, p []byte, off int64) (n int, err error) {
	if h.closed {
		h.unlock()
		return 0, api.E(api.Invalid, "read", h.f.name(), "the handle is closed")
	}
	if h.s != nil && h.s.at != off && h.next == off {
		h.drop()
	}
	if h.s == nil && off == h.next { // from the beginning, or where the last read ended
		if err := h.begin(ctx, off); err != nil {
			h.unlock()
			return 0, err
		}
	}
	if h.s == nil || h.s.at != off { // beside the stream
		if h.s == nil {
			h.move(off + int64(len(p)))
		}
		i := h.info
		h.unlock()
		n, err = h.f.ranged(ctx, p, off, i)
		if n > 0 {
			h.turn <- struct{}{}
			h.begun = true
			h.unlock()
		}
		return n, err
	}
	defer h.unlock()
	n, err = h.s.read(ctx, p)
	h.begun = h.begun || n > 0
	h.move(off + int64(n))
	if n == len(p) {
		return n, nil
	}
	h.drop()
	if ctx.Err() != nil {
		return n, h.f.r.fail(ctx, "read", h.f.name(), ctx.Err())
	}
	k, err := h.f.ranged(ctx, p[n:], off+int64(n), h.info) // it broke off: from there on again
	h.move(off + int64(n+k))
	return n + k, err
}

func (h *reader) move(to int64) {
	h.next = to
	close(h.moved)
	h.moved = make(chan struct{})
}

// begin opens the stream, unless the realm has as many as it may.
func (h *reader) begin(ctx context.Context, off int64) (err error) {
	select {
	case h.f.r.streams <- struct{}{}:
	default:
		return nil
	}
	if h.s, err = h.f.stream(ctx, off, h.info); err != nil {
		h.s = nil
		<-h.f.r.streams
	}
	return err
}

func (h *reader) drop() {
	if h.s != nil {
		h.s.end()
		h.s = nil
		<-h.f.r.streams
	}
}

func (h *reader) WriteAt(context.Context, []byte, int64) (int, error) {
	return 0, api.E(api.Denied, "write", h.f.name(), "it was not opened for that")
}

func (h *reader) Sync(context.Context) error { return nil }

func (h *reader) Close() error {
	h.turn <- struct{}{}
	defer h.unlock()
	if !h.closed {
		h.closed = true
		h.drop()
		h.f.r.handles.Add(-1)
	}
	return nil
}

// Attr is that of the version that is read.
func (h *reader) Attr(ctx context.Context) (tree.Attr, error) {
	if err := h.lock(ctx); err != nil {
		return tree.Attr{}, err
	}
	defer h.unlock()
	return h.f.r.attr(h.f.bucket, h.f.key, h.info), nil
}

func (h *reader) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	if s.Size != nil {
		return tree.Attr{}, api.E(api.Denied, "setattr", h.f.name(), "it was not opened for writing")
	}
	return h.f.SetAttr(ctx, s)
}
