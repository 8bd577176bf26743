package memfs

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (f *file) Put(_ context.Context, name string, p tree.Put) (tree.Attr, error) {
	if p.Mode&tree.ModeType == 0 {
		p.Mode |= tree.ModeFile
	}
	if t := p.Mode & tree.ModeType; t != tree.ModeFile {
		return tree.Attr{}, api.E(api.Invalid, "put", name, "type %o: only files are put", t)
	}
	if err := checkNew("put", name, p.NewFile, f.c); err != nil {
		return tree.Attr{}, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.dirLocked("put", tree.MaySearch); err != nil {
		return tree.Attr{}, err
	}
	if err := f.fencedLocked("put"); err != nil {
		return tree.Attr{}, err
	}
	if a, done := f.fs.replays.seen(f.c, p.NoReplay); done {
		return a, nil
	}
	a, err := f.putLocked(name, p)
	if err == nil {
		f.fs.replays.add(f.c, p.NoReplay, a)
	}
	return a, err
}

func (f *file) putLocked(name string, p tree.Put) (tree.Attr, error) {
	n := f.n.entries[name]
	if err := conditionLocked(n, name, p); err != nil {
		return tree.Attr{}, err
	}
	if n == nil {
		n, err := f.addLocked("put", name, p.NewFile, int64(len(p.Data)))
		if err != nil {
			return tree.Attr{}, err
		}
		n.data = append([]byte(nil), p.Data...)
		f.fs.bytes += int64(len(p.Data))
		f.addedLocked(n)
		return n.attr(f.fs), nil
	}
	if err := f.with(n).mayLocked("put", tree.MayWrite); err != nil {
		return tree.Attr{}, err
	}
	at := int64(0)
	if p.Append {
		at = int64(len(n.data))
	}
	size := at + int64(len(p.Data))
	if err := f.fs.roomLocked("put", int64(len(n.data)), size); err != nil {
		return tree.Attr{}, err
	}
	f.fs.resizeLocked(n, size)
	copy(n.data[at:], p.Data)
	f.fs.touchLocked(n, true)
	return n.attr(f.fs), nil
}

// conditionLocked says whether p may be done on n, the entry name or nil.
func conditionLocked(n *node, name string, p tree.Put) error {
	switch {
	case n == nil && p.If != nil && *p.If != 0:
		return api.E(api.Conflict, "put", name, "it is not there, let alone at version %d", *p.If)
	case n == nil && !p.Create:
		return api.E(api.NotFound, "put", name, "there is no such file")
	case n == nil:
		return nil
	case n.isDir():
		return api.E(api.IsDir, "put", name, "it is a directory")
	case p.Exclusive:
		return api.E(api.Exists, "put", name, "it exists")
	case n.mode&tree.ModeType != tree.ModeFile:
		return api.E(api.Invalid, "put", name, "it is a link")
	case p.If != nil && *p.If != n.version:
		return api.E(api.Conflict, "put", name, "it has version %d, not %d; read it again", n.version, *p.If)
	}
	return nil
}

// replays remembers the latest writes that have an id.
type replays struct {
	done  map[replay]tree.Attr
	order []replay
	next  int
}

type replay struct{ user, id string }

const maxReplays = 1024

func (r *replays) seen(c api.Caller, id string) (tree.Attr, bool) {
	a, ok := r.done[replay{c.User, id}]
	return a, ok && id != ""
}

func (r *replays) add(c api.Caller, id string, a tree.Attr) {
	if id == "" {
		return
	}
	if r.done == nil {
		r.done = make(map[replay]tree.Attr)
	}
	k := replay{c.User, id}
	if len(r.order) < maxReplays {
		r.order = append(r.order, k)
	} else {
		delete(r.done, r.order[r.next])
		r.order[r.next] = k
		r.next = (r.next + 1) % maxReplays
	}
	r.done[k] = a
}
