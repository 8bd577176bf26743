package ux

import (
	"context"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// file is a node, seen by one caller.
type file struct {
	r     *realm
	n     *node
	name  string // under which it was found
	c     api.Caller
	fence *tree.Fence
}

const mayChange = tree.MayWrite | tree.MaySearch // entries of a directory

func (f *file) e(kind api.Kind, op, format string, args ...any) error {
	return api.E(kind, op, f.name, format, args...)
}

// with is the same caller at another node, found as name.
func (f *file) with(n *node, name string) *file {
	return &file{r: f.r, n: n, name: name, c: f.c, fence: f.fence}
}

// here says whether the file is there still. ns is held.
func (f *file) here(op string) error {
	if f.n.gone {
		return f.e(api.NotFound, op, "it was removed")
	}
	return nil
}

// may says whether the caller has rights.
func (f *file) may(op string, rights uint32) error {
	m := f.n.meta.Load()
	if (tree.Attr{Mode: m.mode, Owner: m.owner}).Allows(f.c, rights) {
		return nil
	}
	return f.e(api.Denied, op, "mode %04o and owner %q do not allow that to %q", m.mode&tree.ModePerm, m.owner, f.c.User)
}

// dir says whether the file is a directory in which the caller has rights. ns
// is held.
func (f *file) dir(op string, rights uint32) error {
	if err := f.here(op); err != nil {
		return err
	}
	if !f.n.meta.Load().isDir() {
		return f.e(api.NotDir, op, "it is no directory")
	}
	return f.may(op, rights)
}

func (f *file) Walk(ctx context.Context, name string) (tree.File, error) {
	if err := tree.CheckName("walk", name); err != nil {
		return nil, err
	}
	if err := f.r.enter(); err != nil {
		return nil, err
	}
	defer f.r.leave()
	if err := f.dir("walk", tree.MaySearch); err != nil {
		return nil, err
	}
	n, err := f.r.lookup("walk", f.n, name)
	if err != nil {
		return nil, err
	}
	return f.with(n, name), nil
}

func (f *file) Attr(context.Context) (tree.Attr, error) {
	if err := f.r.enter(); err != nil {
		return tree.Attr{}, err
	}
	defer f.r.leave()
	if err := f.here("stat"); err != nil {
		return tree.Attr{}, err
	}
	f.n.content.RLock()
	defer f.n.content.RUnlock()
	return f.n.attr("stat", f.name)
}

// attr describes n. ns and content are held; content alone will do when n is
// open.
func (n *node) attr(op, subject string) (tree.Attr, error) {
	fd := n.fd
	if fd < 0 {
		var err error
		if fd, err = n.open(asPlace); err != nil {
			return tree.Attr{}, n.r.s.fail(op, subject, err)
		}
		defer unix.Close(fd)
	}
	st, err := fstat(fd)
	if err != nil {
		return tree.Attr{}, n.r.s.fail(op, subject, err)
	}
	return n.attrOf(&st), nil
}

// attrOf describes n, of which the disk says st.
func (n *node) attrOf(st *unix.Stat_t) tree.Attr {
	m := n.meta.Load()
	a := tree.Attr{
		ID: m.id, Version: m.version, Mode: m.mode, Owner: m.owner, Links: 1,
		Modified: time.Unix(st.Mtim.Unix()), Target: n.target, Published: m.published,
	}
	if !m.isDir() {
		a.Size = st.Size
	}
	if n.gone {
		a.Links = 0
	}
	return a
}
