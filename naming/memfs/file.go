package memfs

import (
	"context"
	"strconv"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// file is a node, seen by one caller.
type file struct {
	fs    *FS
	n     *node
	c     api.Caller
	fence *tree.Fence
}

func (f *file) subject() string {
	if f.n.name != "" {
		return f.n.name
	}
	return "file " + strconv.FormatUint(f.n.id, 10)
}

func (f *file) e(kind api.Kind, op, text string) error {
	return api.E(kind, op, f.subject(), "%s", text)
}

// hereLocked says whether the file is there still.
func (f *file) hereLocked(op string) error {
	if f.fs.closed {
		return errClosed
	}
	if f.n.gone(f.fs) {
		return f.e(api.NotFound, op, "it was removed")
	}
	return nil
}

// dirLocked says whether the file is a directory in which the caller has rights.
func (f *file) dirLocked(op string, rights uint32) error {
	if err := f.hereLocked(op); err != nil {
		return err
	}
	if !f.n.isDir() {
		return f.e(api.NotDir, op, "it is no directory")
	}
	return f.mayLocked(op, rights)
}

func (f *file) mayLocked(op string, rights uint32) error {
	if !f.n.attr(f.fs).Allows(f.c, rights) {
		return f.e(api.Denied, op, "its mode does not allow that to "+strconv.Quote(f.c.User))
	}
	return nil
}

// with is the same caller at another node.
func (f *file) with(n *node) *file { return &file{fs: f.fs, n: n, c: f.c, fence: f.fence} }

func (f *file) Attr(context.Context) (tree.Attr, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.hereLocked("stat"); err != nil {
		return tree.Attr{}, err
	}
	return f.n.attr(f.fs), nil
}

func (f *file) SetAttr(_ context.Context, s tree.SetAttr) (tree.Attr, error) {
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.hereLocked("setattr"); err != nil {
		return tree.Attr{}, err
	}
	return f.setLocked(s, false)
}

// setLocked changes attributes; a handle that may write needs no right to the
// size.
func (f *file) setLocked(s tree.SetAttr, writer bool) (tree.Attr, error) {
	n, fs := f.n, f.fs
	owner := f.c.Operator || n.owner == f.c.User
	switch {
	case s.Perm != nil && !owner:
		return tree.Attr{}, f.e(api.Denied, "setattr", "only its owner may change the mode")
	case s.Owner != nil && *s.Owner != n.owner && !f.c.Operator:
		return tree.Attr{}, f.e(api.Denied, "setattr", "only an operator may give files away")
	}
	if (s.Size != nil && !writer) || (s.Modified != nil && !owner) {
		if err := f.mayLocked("setattr", tree.MayWrite); err != nil {
			return tree.Attr{}, err
		}
	}
	if err := f.fencedLocked("setattr"); err != nil {
		return tree.Attr{}, err
	}
	if s.Size != nil {
		if err := f.sizeLocked(*s.Size); err != nil {
			return tree.Attr{}, err
		}
	}
	if s.Perm != nil {
		n.mode = n.mode&tree.ModeType | *s.Perm&tree.ModePerm
	}
	if s.Owner != nil {
		n.owner = *s.Owner
	}
	if s.Modified != nil {
		n.modified = *s.Modified
	}
	fs.touchLocked(n, s.Size != nil && s.Modified == nil)
	return n.attr(fs), nil
}

func (f *file) sizeLocked(size int64) error {
	switch {
	case f.n.isDir():
		return f.e(api.IsDir, "truncate", "a directory has no size to set")
	case f.n.mode&tree.ModeType != tree.ModeFile:
		return f.e(api.Invalid, "truncate", "a link has no size to set")
	case size < 0:
		return f.e(api.Invalid, "truncate", "a size below zero")
	}
	if err := f.fs.roomLocked("truncate", int64(len(f.n.data)), size); err != nil {
		return err
	}
	f.fs.resizeLocked(f.n, size)
	return nil
}

func (f *file) Walk(_ context.Context, name string) (tree.File, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	e, err := f.walkLocked(name)
	if err != nil {
		return nil, err
	}
	return e, nil
}

func (f *file) walkLocked(name string) (*file, error) {
	if err := tree.CheckName("walk", name); err != nil {
		return nil, err
	}
	if err := f.dirLocked("walk", tree.MaySearch); err != nil {
		return nil, err
	}
	n := f.n.entries[name]
	if n == nil {
		return nil, api.E(api.NotFound, "walk", name, "there is no such file")
	}
	return f.with(n), nil
}

func (f *file) ReadDir(_ context.Context, after string, max int) ([]tree.Dirent, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	if err := f.dirLocked("readdir", tree.MayRead); err != nil {
		return nil, err
	}
	list := f.n.names.after(after, min(max, tree.MaxPage))
	out := make([]tree.Dirent, len(list))
	for i, name := range list {
		n := f.n.entries[name]
		out[i] = tree.Dirent{Name: name, ID: n.id, Mode: n.mode}
	}
	return out, nil
}
