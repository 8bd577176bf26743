package memfs

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// watch is one call of Watch. It keeps a place in the history and no queue of
// its own; when the history moves on over it, it ends.
type watch struct {
	wake chan struct{}
	id   uint64
	at   uint64 // told up to here; of the goroutine in Watch alone
}

const maxTold = 1024 // events of one call, unless one version has more

func (f *file) Watch(ctx context.Context, version uint64, fn func(uint64, []tree.Event) error) error {
	w, err := f.startWatch(version)
	if err != nil {
		return err
	}
	defer f.fs.endWatch(w)
	if version == 0 {
		if err := fn(w.at, nil); err != nil {
			return err
		}
	}
	for {
		ev, more, err := f.fs.next(w)
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
		case <-f.fs.done:
			return errClosed
		}
	}
}

func (f *file) startWatch(version uint64) (*watch, error) {
	fs := f.fs
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if err := f.hereLocked("watch"); err != nil {
		return nil, err
	}
	if err := f.mayLocked("watch", tree.MayRead); err != nil {
		return nil, err
	}
	if fs.nwatch >= fs.o.Watches {
		return nil, f.e(api.Busy, "watch", "the tree has all the watches that it may have")
	}
	if version == 0 {
		version = fs.history.version
	}
	if version < fs.history.forgot || version > fs.history.version {
		return nil, f.e(api.TooOld, "watch", "the changes since that version are not known any more; list again and watch from there")
	}
	w := &watch{wake: make(chan struct{}, 1), id: f.n.id, at: version}
	if fs.watches[w.id] == nil {
		fs.watches[w.id] = make(map[*watch]struct{})
	}
	fs.watches[w.id][w] = struct{}{}
	fs.nwatch++
	return w, nil
}

func (fs *FS) endWatch(w *watch) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	fs.nwatch--
	if delete(fs.watches[w.id], w); len(fs.watches[w.id]) == 0 {
		delete(fs.watches, w.id)
	}
}

// next returns what is to be told; more says that there is more already.
func (fs *FS) next(w *watch) (ev []tree.Event, more bool, err error) {
	fs.mu.RLock()
	defer fs.mu.RUnlock()
	h := &fs.history
	if w.at < h.forgot {
		return nil, false, api.E(api.TooOld, "watch", "", "it was too slow: %d changes came meanwhile; list again", h.limit)
	}
	for i := h.after(w.at); i < len(h.ring); i++ {
		r := h.at(i)
		if len(ev) >= maxTold && r.version != w.at {
			return ev, true, nil
		}
		w.at = r.version
		if e, ok := r.event(w.id); ok {
			ev = append(ev, e)
		}
	}
	return ev, false, nil
}
