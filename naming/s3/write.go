package s3

import (
	"context"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// CreateOpen opens an object that is not there before its handle is closed.
func (f *file) CreateOpen(ctx context.Context, name string, n tree.NewFile, m tree.OpenMode) (tree.File, tree.Handle, error) {
	if err := f.atBucket("create", name); err != nil {
		return nil, nil, err
	}
	c, there, err := f.prepare(ctx, "create", name, n)
	if err != nil {
		return nil, nil, err
	}
	m.Write = m.Write || m.Append
	if there != nil || !m.Write {
		if there == nil { // opened for reading alone: it comes to be now
			got, err := c.store(ctx, "create", nil, &onlyNew{})
			if api.KindOf(err) != api.Conflict && err != nil {
				return nil, nil, err
			}
			c.seen = got
		}
		h, err := c.Open(ctx, m)
		return c, h, err
	}
	if n := f.r.handles.Add(1); n > int64(f.r.s.cfg.Handles) {
		f.r.handles.Add(-1)
		return nil, nil, api.E(api.Busy, "create", name, "the realm has %d objects open on this node; close some", f.r.s.cfg.Handles)
	}
	w := newWriter(c, m, nil)
	w.exclusive = n.Exclusive
	return c, w, nil
}

// atBucket is an error in the root, where no files are.
func (f *file) atBucket(op, name string) error {
	if err := tree.CheckName(op, name); err != nil || f.bucket != "" {
		return err
	}
	return api.E(api.Invalid, op, name, "only buckets are here; files are in one (sigmactl mkdir makes a bucket)")
}

// writer is an object open for writing. Nothing is seen of it before Close or
// Sync has succeeded.
type writer struct {
	f         *file
	m         tree.OpenMode
	old       *info // what was there when it was opened; nil: nothing
	exclusive bool  // and nothing may be there when it is done

	mu     sync.Mutex
	moved  chan struct{} // closed and replaced when size changes
	begun  bool          // what is written replaces what was there
	closed bool
	done   bool  // the store has the object as written so far …
	parts  bool  // … by an upload in parts; else buf still has all of it
	failed error // of the upload: nothing more can be written
	size   int64 // written so far
	buf    []byte
	held   int64 // of the realm's budget
	up     *upload
	last   info // of the object, when done
	sum    Beside
}

func newWriter(f *file, m tree.OpenMode, old *info) *writer {
	w := &writer{f: f, m: m, old: old, moved: make(chan struct{})}
	w.begun = old == nil || m.Truncate && old.size > 0
	return w
}

func (w *writer) e(kind api.Kind, op, format string, args ...any) error {
	return api.E(kind, op, w.f.name(), format, args...)
}

func (w *writer) ReadAt(context.Context, []byte, int64) (int, error) {
	if !w.m.Read {
		return 0, w.e(api.Denied, "read", "it was not opened for that")
	}
	return 0, w.e(api.Unsupported, "read", "an object that is being written cannot be read; close it first")
}

// WriteAt takes p when it is what comes next. Of pieces that were sent at once, one
// may be here before those that it follows: it waits for them.
func (w *writer) WriteAt(ctx context.Context, p []byte, off int64) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if err := w.await(ctx, off); err != nil {
		return 0, err
	}
	if w.m.Append {
		off = w.size
	}
	switch {
	case off > maxParts*w.f.r.s.cfg.Part-int64(len(p)):
		return 0, w.e(api.TooLarge, "write", "an object has at most %d bytes here: %d parts", maxParts*w.f.r.s.cfg.Part, maxParts)
	case w.old != nil && w.old.size > 0 && !w.begun:
		return 0, w.e(api.Unsupported, "write", "objects are replaced whole: open it with truncation (O_TRUNC), and write all of it")
	}
	w.begun = true
	if w.done && len(p) > 0 {
		if err := w.resume(ctx); err != nil {
			return 0, err
		}
	}
	n := 0
	for n < len(p) {
		k, err := w.fill(ctx, p[n:])
		if err != nil {
			w.fail(err)
			return n, err
		}
		n += k
	}
	return n, nil
}

// await returns when off is what comes next. mu is held.
func (w *writer) await(ctx context.Context, off int64) error {
	var late <-chan time.Time
	for {
		switch {
		case w.closed:
			return w.e(api.Invalid, "write", "the handle is closed")
		case w.failed != nil:
			return w.failed
		case off < 0:
			return w.e(api.Invalid, "write", "an offset of %d", off)
		case off == w.size || w.m.Append:
			return nil
		case off < w.size || off > w.size+ahead:
			return w.order(off)
		}
		if late == nil {
			late = time.After(w.f.r.s.cfg.Gap)
		}
		moved := w.moved
		w.mu.Unlock()
		var over, ended bool
		select {
		case <-moved:
		case <-late:
			over = true
		case <-ctx.Done():
			ended = true
		}
		w.mu.Lock()
		switch {
		case ended:
			return w.f.r.fail(ctx, "write", w.f.name(), ctx.Err())
		case over && off != w.size && w.failed == nil && !w.closed:
			return w.order(off)
		}
	}
}

func (w *writer) order(off int64) error {
	kind := api.Unsupported
	if off > maxParts*w.f.r.s.cfg.Part {
		kind = api.TooLarge
	}
	return w.e(kind, "write", "at %d, where %d comes next: objects are written from beginning to end; make the file in /ux and copy it here", off, w.size)
}

// fill puts some of p into the part that is being filled, and sends the part when
// it is full. mu is held.
func (w *writer) fill(ctx context.Context, p []byte) (int, error) {
	part := int(w.f.r.s.cfg.Part)
	if len(w.buf) == part {
		if err := w.send(ctx); err != nil {
			return 0, err
		}
	}
	k := min(len(p), part-len(w.buf))
	if err := w.room(ctx, len(w.buf)+k); err != nil {
		return 0, err
	}
	if w.size == 0 {
		w.sum = w.f.r.s.beside(w.f, p[:k])
	}
	if w.sum != nil {
		if _, err := w.sum.Write(p[:k]); err != nil {
			w.sum = nil
		}
	}
	w.buf = append(w.buf, p[:k]...)
	w.size += int64(k)
	close(w.moved)
	w.moved = make(chan struct{})
	return k, nil
}

// small is up to where a buffer is not counted, large to where it grows with what is
// written: then it is that of a part.
const (
	small = 4 << 10
	large = 1 << 20
)

// room takes what a buffer of n bytes holds of the realm's budget, growing as
// it does. mu is held.
func (w *writer) room(ctx context.Context, n int) error {
	if n <= cap(w.buf) {
		return nil
	}
	size := max(small, 2*cap(w.buf), n)
	if size > large || w.up != nil { // it is a stream
		size = int(w.f.r.s.cfg.Part)
	}
	if size > small {
		more := int64(size) - w.held
		bctx, cancel := context.WithTimeout(ctx, 3*w.f.r.s.cfg.Patience)
		defer cancel()
		if err := w.f.r.unsent.take(bctx, more); err != nil {
			if ctx.Err() != nil {
				return w.f.r.fail(ctx, "write", w.f.name(), ctx.Err())
			}
			return w.e(api.Busy, "write", "the realm has %d MiB written and not yet taken by its store; close some files, or write fewer at once", w.f.r.s.cfg.Unsent>>20)
		}
		w.held += more
	}
	grown := w.f.r.memory(size)
	w.buf = append(grown, w.buf...)
	return nil
}

// memory is an empty buffer of that size; those of whole parts are used again.
func (r *realm) memory(size int) []byte {
	if int64(size) == r.s.cfg.Part {
		if p, _ := r.parts.Get().(*[]byte); p != nil {
			return (*p)[:0]
		}
	}
	return make([]byte, 0, size)
}

// free takes a buffer back that nobody looks at any more.
func (r *realm) free(b []byte) {
	if int64(cap(b)) == r.s.cfg.Part {
		r.parts.Put(&b)
	}
}

// send hands the full buffer to the upload. mu is held.
func (w *writer) send(ctx context.Context) (err error) {
	if w.up == nil {
		if w.up, err = w.f.begin(ctx); err != nil {
			return err
		}
	}
	err = w.up.send(ctx, w.buf, w.held)
	if err == nil {
		w.buf, w.held = nil, 0
	}
	return err
}

// fail ends what cannot go on. mu is held.
func (w *writer) fail(err error) {
	if k := api.KindOf(err); k == api.Canceled || k == api.Deadline || k == api.Busy {
		return // nothing was lost: the same bytes may be written again
	}
	w.failed = err
	w.giveUp()
}

// giveUp leaves nothing in the store. mu is held.
func (w *writer) giveUp() {
	if w.up != nil {
		w.up.abort()
		w.up = nil
	}
	w.f.r.unsent.give(w.held)
	w.buf, w.held = nil, 0
}

// commit makes the object as written so far. mu is held.
func (w *writer) commit(ctx context.Context) error {
	switch {
	case w.failed != nil:
		return w.failed
	case w.done || !w.begun:
		return nil
	}
	var err error
	if w.up == nil {
		var cond condition
		if w.exclusive {
			cond = &onlyNew{}
		}
		w.last, err = w.f.store(ctx, "write", w.buf, cond)
	} else {
		w.last, err = w.up.finish(ctx, w.buf, w.held, w.exclusive)
		w.up, w.buf, w.held, w.parts = nil, nil, 0, true
	}
	if w.exclusive {
		err = taken(err, "write", w.f.name())
	}
	if err != nil {
		w.failed = err
		w.giveUp()
		return err
	}
	w.done, w.exclusive = true, false
	w.last.size = w.size
	w.f.keepBeside(ctx, w.last.etag, w.sum)
	w.f.mu.Lock()
	w.f.seen = info{}
	w.f.mu.Unlock()
	return nil
}

// resume goes on behind what was made by Sync, as one object with it. A program
// does not know that its file was closed by another that had it too. mu is held.
func (w *writer) resume(ctx context.Context) error {
	if w.parts {
		up, err := w.f.begin(ctx)
		if err != nil {
			return err
		}
		if err := up.copyOwn(ctx, w.last.etag, w.size); err != nil {
			up.abort()
			return err
		}
		w.up = up
	}
	w.done = false
	return nil
}

// Sync makes the object as it is; when nothing was written yet it does nothing.
func (w *writer) Sync(ctx context.Context) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return w.e(api.Invalid, "sync", "the handle is closed")
	}
	if w.size == 0 {
		return w.failed
	}
	return w.commit(ctx)
}

// Close makes the object, and says whether that is done.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return nil
	}
	ctx, cancel := context.WithTimeout(w.f.r.s.ctx, 9*w.f.r.s.cfg.Patience)
	defer cancel()
	err := w.commit(ctx)
	if api.KindOf(err) == api.Canceled {
		err = errClosed
	}
	w.end()
	return err
}

// Abort ends it, and leaves what was there.
func (w *writer) Abort() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.closed {
		w.end()
	}
}

// end closes the handle. mu is held.
func (w *writer) end() {
	w.closed = true
	w.giveUp()
	w.f.r.handles.Add(-1)
	close(w.moved)
	w.moved = make(chan struct{})
}

// Attr tells the size as written; no links say that it is not there yet.
func (w *writer) Attr(context.Context) (tree.Attr, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	i := info{size: w.size, modified: time.Now()}
	if w.old != nil && !w.begun {
		i = *w.old
	}
	if w.done {
		i = w.last
	}
	a := w.f.r.attr(w.f.bucket, w.f.key, i)
	if !w.done {
		a.Links = 0
	}
	return a, nil
}

// SetAttr empties the object, when nothing was written yet.
func (w *writer) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	w.mu.Lock()
	if s.Size != nil && *s.Size == 0 && w.size == 0 && !w.done {
		w.begun, s.Size = true, nil
	}
	size := w.size
	w.mu.Unlock()
	if s.Size != nil && *s.Size != size {
		return tree.Attr{}, w.e(api.Unsupported, "setattr", "an object's size is what was written to it")
	}
	return w.Attr(ctx)
}
