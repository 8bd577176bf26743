package ux

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// watch is one call of Watch. It keeps a place in the history and no queue of
// its own; when the history has moved on over it, it ends.
//
// Writes through one handle one after the other may be told as one change; it
// has the last version.
type watch struct {
	wake chan struct{}
	id   uint64
	at   uint64 // told up to here; guarded by history.mu, written by Watch alone
	lost bool   // the history has moved on over it; guarded by history.mu
}

const maxTold = 1024 // events of one call, unless one version has more

func (f *file) Watch(ctx context.Context, version uint64, fn func(uint64, []tree.Event) error) error {
	w, err := f.startWatch(version)
	if err != nil {
		return err
	}
	h := f.r.hist
	defer h.unwatch(w)
	if version == 0 {
		if err := fn(w.at, nil); err != nil {
			return err
		}
	}
	for {
		ev, more, err := h.next(w)
		if err != nil {
			return err
		}
		if len(ev) > 0 {
			if err := fn(w.at, ev); err != nil {
				return err
			}
			if last := ev[len(ev)-1]; last.Kind == tree.Removed && last.Name == "" {
				return f.e(api.NotFound, "watch", "it was removed")
			}
		}
		if more && ctx.Err() == nil {
			continue
		}
		select {
		case <-w.wake:
		case <-ctx.Done():
			return ctx.Err()
		case <-f.r.done:
			return f.r.why()
		}
	}
}

func (f *file) startWatch(version uint64) (*watch, error) {
	if err := f.r.enter(); err != nil {
		return nil, err
	}
	defer f.r.leave()
	if err := f.here("watch"); err != nil {
		return nil, err
	}
	if err := f.may("watch", tree.MayRead); err != nil {
		return nil, err
	}
	h := f.r.hist
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.count >= f.r.s.cfg.Watches {
		return nil, f.e(api.Busy, "watch", "the realm has %d watches on node %s, as many as it may; end some", h.count, f.r.s.cfg.Node)
	}
	if version == 0 {
		version = h.settled()
	}
	if version < h.forgot || version > h.last {
		return nil, f.e(api.TooOld, "watch", "the changes since version %d are not known any more; watch from now on, and list again", version)
	}
	w := &watch{wake: make(chan struct{}, 1), id: f.n.id(), at: version}
	if h.watches[w.id] == nil {
		h.watches[w.id] = make(map[*watch]struct{})
	}
	h.watches[w.id][w] = struct{}{}
	h.count++
	return w, nil
}

func (h *history) unwatch(w *watch) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.count--
	if delete(h.watches[w.id], w); len(h.watches[w.id]) == 0 {
		delete(h.watches, w.id)
	}
}

// next returns what is to be told; more says that there is more already.
func (h *history) next(w *watch) (ev []tree.Event, more bool, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if w.lost {
		return nil, false, api.E(api.TooOld, "watch", "", "it was too slow: %d changes came meanwhile; list again", h.limit)
	}
	for i := h.after(w.at); i < len(h.ring); i++ {
		r := h.at(i)
		if len(ev) >= maxTold && r.version != w.at {
			return ev, true, nil
		}
		w.at = max(w.at, r.version)
		if e, ok := r.event(w.id); ok {
			ev = append(ev, e)
		}
	}
	w.at = max(w.at, h.settled())
	return ev, false, nil
}
