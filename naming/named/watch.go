package named

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

const watchPage = 512 // events in one call of fn

// Watch implements tree.File.
func (f *file) Watch(ctx context.Context, version uint64, fn func(at uint64, ev []tree.Event) error) error {
	r := f.req("watch")
	w := &watcher{id: f.id, cursor: version, wake: make(chan struct{}, 1)}
	t := f.term
	if err := t.awaitHistory(ctx, r, version); err != nil {
		return err
	}
	if err := t.register(ctx, r, w, version); err != nil {
		return err
	}
	defer t.unwatch(w)
	return t.follow(ctx, r, w, version == 0, fn)
}

// register makes w known and checks that it misses nothing from its version on.
func (t *term) register(ctx context.Context, r *req, w *watcher, version uint64) error {
	added := false
	err := t.update(ctx, func(st *state) (err error) {
		n := st.nodes[w.id]
		if n == nil {
			return r.err(api.NotFound, "", "it was removed")
		}
		if err := r.allow(&n.inode, "", tree.MayRead); err != nil {
			return err
		}
		w.dir = n.isDir()
		switch {
		case version == 0:
			w.cursor = st.version
		case version < t.ring.oldest():
			return r.err(api.TooOld, "", "version %d is forgotten (the oldest that is known is %d); list again", version, t.ring.oldest())
		case version > st.version:
			return r.err(api.TooOld, "", "version %d is ahead of the tree, which is at %d; list again", version, st.version)
		}
		w.from = st.version
		err = t.hub.add(w)
		added = err == nil
		return err
	})
	if err != nil && added { // the term's lease has run out meanwhile
		t.unwatch(w)
	}
	return err
}

func (t *term) unwatch(w *watcher) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.hub.remove(w)
}

// follow tells fn what happens until something ends it.
func (t *term) follow(ctx context.Context, r *req, w *watcher, first bool, fn func(uint64, []tree.Event) error) error {
	told := w.cursor
	if first {
		if err := fn(told, nil); err != nil {
			return err
		}
	}
	for {
		at, ev, more, err := t.collect(r, w)
		if err != nil {
			return err
		}
		if len(ev) > 0 || at >= told+progressEvery {
			if err := fn(at, ev); err != nil {
				return err
			}
			told = at
		}
		if n := len(ev); n > 0 && ev[n-1].Kind == tree.Removed && ev[n-1].Name == "" {
			return r.err(api.NotFound, "", "it was removed")
		}
		if more {
			if ctx.Err() != nil {
				return r.ended(ctx)
			}
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return r.ended(ctx)
		case <-t.ended:
			return t.endErr
		}
	}
}

// collect takes what w is to be told next.
func (t *term) collect(r *req, w *watcher) (at uint64, out []tree.Event, more bool, err error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if w.cursor < t.ring.base || w.pending.Load() > int64(t.limits.Pending) {
		return 0, nil, false, r.err(api.Busy, "", "you read too slowly: more than %d changes are waiting; watch again from version %d", t.limits.Pending, w.cursor)
	}
	at = t.st.version
	for _, e := range t.ring.after(w.cursor) {
		te, ok := w.sees(&e)
		if !ok {
			continue
		}
		if e.version > w.from {
			w.pending.Add(-1)
		}
		out = append(out, te)
		if len(out) == watchPage || te.Name == "" && te.Kind == tree.Removed {
			at, more = e.version, true
			break
		}
	}
	w.cursor = at
	return at, out, more, nil
}

// ended is the error of a call whose context is over.
func (r *req) ended(ctx context.Context) error {
	if ctx.Err() == context.DeadlineExceeded {
		return r.err(api.Deadline, "", "the caller's time ran out")
	}
	return r.err(api.Canceled, "", "the caller gave up")
}
