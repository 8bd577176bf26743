package ux

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"slices"
	"sync"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// fences are the latest terms of the elections that a realm's files know. They
// are on the disk before the first write of a term is.
type fences struct {
	mu    sync.Mutex
	terms map[string]*term // by the election's path
	order []*term          // longest unchanged first
}

// term is the latest of one election. A fenced write holds mu for reading until
// it is done, so that once a later term has written, no earlier one does.
type term struct {
	path  string
	mu    sync.RWMutex
	epoch uint64 // written with fences.mu held too
	dead  bool   // it was forgotten, and may be known again by another value
}

// storedFences is the file fences.
type storedFences struct {
	Version int           `json:"version"`
	Terms   []storedFence `json:"terms"` // longest unchanged first
}

type storedFence struct {
	Path  string `json:"path"`
	Epoch uint64 `json:"epoch"`
}

const fencesMax = maxFences * (6*tree.MaxPath + 64) // bytes of the file at most

// load reads the file, if there is one.
func (f *fences) load(home int) error {
	f.terms = make(map[string]*term)
	fd, err := openBeneath(home, "fences", forReading)
	if err == unix.ENOENT {
		return nil
	}
	if err != nil {
		return err
	}
	file := os.NewFile(uintptr(fd), "fences")
	defer file.Close()
	b, err := io.ReadAll(io.LimitReader(file, fencesMax))
	if err != nil {
		return err
	}
	var s storedFences
	if err := json.Unmarshal(b, &s); err != nil || s.Version != 1 {
		return errors.New("the file fences is damaged or of a later version; remove it if no leader of an earlier term can be alive")
	}
	for _, t := range s.Terms {
		n := &term{path: t.Path, epoch: t.Epoch}
		f.terms[t.Path] = n
		f.order = append(f.order, n)
	}
	return nil
}

// term returns the term of an election. The one that changed longest ago is
// forgotten for it, if need be: what is left of it then is CheckFence.
func (f *fences) term(path string) *term {
	f.mu.Lock()
	defer f.mu.Unlock()
	if t := f.terms[path]; t != nil {
		return t
	}
	for i := 0; i < len(f.order) && len(f.order) >= maxFences; i++ {
		if old := f.order[i]; old.mu.TryLock() {
			old.dead = true
			old.mu.Unlock()
			delete(f.terms, old.path)
			f.order = slices.Delete(f.order, i, i+1)
		}
	}
	t := &term{path: path}
	f.terms[path] = t
	f.order = append(f.order, t)
	return t
}

// raise makes epoch the latest of t, on the disk first. t.mu is held.
func (r *realm) raise(t *term, epoch uint64) error {
	f := &r.fences
	f.mu.Lock()
	defer f.mu.Unlock()
	if i := slices.Index(f.order, t); i >= 0 {
		f.order = append(slices.Delete(f.order, i, i+1), t)
	}
	s := storedFences{Version: 1}
	for _, o := range f.order {
		e := storedFence{o.path, o.epoch}
		if o == t {
			e.Epoch = epoch
		}
		if e.Epoch > 0 {
			s.Terms = append(s.Terms, e)
		}
	}
	b, err := json.Marshal(s)
	if err == nil {
		err = r.replaceFences(b)
	}
	if err == nil {
		t.epoch = epoch
	}
	return err
}

// replaceFences writes the file so that it is the old or the new one.
func (r *realm) replaceFences(b []byte) error {
	if err := r.enter(); err != nil {
		return err
	}
	defer r.leave()
	fd, err := openBeneath(r.home, "fences.new", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = writeAll(fd, b, 0)
	if err == nil {
		err = retry(func() error { return unix.Fsync(fd) })
	}
	unix.Close(fd)
	if err == nil {
		err = unix.Renameat2(r.home, "fences.new", r.home, "fences", 0)
	}
	if err == nil {
		err = retry(func() error { return unix.Fsync(r.home) })
	}
	return err
}

// check asks whether a term still holds.
func (r *realm) check(ctx context.Context, f tree.Fence) error {
	if r.s.cfg.CheckFence == nil {
		return nil
	}
	return r.s.cfg.CheckFence(ctx, r.id, f)
}

var noRelease = func() {}

// fenced admits a write with a fence; release, never nil, follows it. No lock
// is held.
func (f *file) fenced(ctx context.Context, op string) (release func(), err error) {
	if f.fence == nil {
		return noRelease, nil
	}
	if err := f.r.check(ctx, *f.fence); err != nil {
		return noRelease, err
	}
	for {
		t := f.r.fences.term(f.fence.Path)
		t.mu.RLock()
		switch {
		case t.dead:
			t.mu.RUnlock()
		case t.epoch == f.fence.Epoch:
			return t.mu.RUnlock, nil
		case t.epoch > f.fence.Epoch:
			t.mu.RUnlock()
			return noRelease, api.E(api.Conflict, op, f.fence.Path, "term %d of this election is over: term %d has written here", f.fence.Epoch, t.epoch)
		default:
			t.mu.RUnlock()
			if err := f.r.advance(op, t, f.fence.Epoch); err != nil {
				return noRelease, err
			}
		}
	}
}

// advance waits for writes of earlier terms, then shuts them out.
func (r *realm) advance(op string, t *term, epoch uint64) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dead || t.epoch >= epoch {
		return nil
	}
	if err := r.raise(t, epoch); err != nil {
		return r.s.fail(op, t.path, err)
	}
	return nil
}

// sawTerm is told of whoever attaches with a fence: a new leader shuts out its
// predecessors even before it writes, if its term holds.
func (r *realm) sawTerm(ctx context.Context, f tree.Fence) error {
	switch {
	case len(f.Path) == 0 || len(f.Path) > tree.MaxPath:
		return api.E(api.Invalid, "attach", "", "the path of the fence's election has %d bytes", len(f.Path))
	case f.Epoch == 0:
		return api.E(api.Invalid, "attach", f.Path, "a fence of no term")
	case r.check(ctx, f) != nil:
		return nil // it can read, and is told why when it writes
	}
	for {
		t := r.fences.term(f.Path)
		if err := r.advance("attach", t, f.Epoch); err != nil {
			return err
		}
		t.mu.RLock()
		dead := t.dead
		t.mu.RUnlock()
		if !dead {
			return nil
		}
	}
}
