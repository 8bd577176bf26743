package ux

import (
	"context"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (f *file) Remove(ctx context.Context, name string, dir bool) error {
	if err := tree.CheckName("remove", name); err != nil {
		return err
	}
	release, err := f.fenced(ctx, "remove")
	if err != nil {
		return err
	}
	defer release()
	late := temp{fd: -1}
	defer late.close() // without a lock: freeing a large file takes long
	if err := f.r.alter(); err != nil {
		return err
	}
	defer f.r.altered()
	n, err := f.entry("remove", name)
	if err == nil {
		err = removable("remove", name, n, dir)
	}
	if err == nil {
		err = f.unlink(n, &late)
	}
	if err != nil {
		return f.r.s.fail("remove", name, err)
	}
	return nil
}

// entry returns the entry name, which the caller may take away. ns is held.
func (f *file) entry(op, name string) (*node, error) {
	if err := f.dir(op, tree.MaySearch); err != nil {
		return nil, err
	}
	n, err := f.r.lookup(op, f.n, name)
	if err != nil {
		return nil, err
	}
	return n, f.may(op, mayChange)
}

// removable says whether n may go as a directory or as none. The kernel says
// whether a directory is empty.
func removable(op, name string, n *node, dir bool) error {
	switch m := n.meta.Load(); {
	case dir && !m.isDir():
		return api.E(api.NotDir, op, name, "it is no directory")
	case !dir && m.isDir():
		return api.E(api.IsDir, op, name, "it is a directory")
	}
	return nil
}

// unlink takes the entry n of f away; late is closed when no lock is held.
func (f *file) unlink(n *node, late *temp) error {
	r := f.r
	n.content.Lock()
	defer n.content.Unlock()
	dir, err := f.n.open(asDirectory)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	if err := n.hold(late); err != nil {
		return err
	}
	flags := 0
	if n.meta.Load().isDir() {
		flags = unix.AT_REMOVEDIR
	}
	removed := n.record(tree.Removed)
	v := r.hist.begin(nil)
	if err := f.n.stamp(dir, v, func() error { return unix.Unlinkat(dir, n.name, flags) }); err != nil {
		r.hist.end(v)
		return err
	}
	r.lost(n, late)
	r.hist.end(v, removed)
	return nil
}

// hold keeps a file that is about to go, and is not open, until late is closed.
// content is held.
func (n *node) hold(late *temp) error {
	if n.fd >= 0 || n.meta.Load().isDir() {
		return nil
	}
	old, err := n.oldContent()
	if err == nil {
		*late = *old
	}
	return err
}

// lost is told that n has no entry any more. ns for writing, and content, are
// held.
func (r *realm) lost(n *node, late *temp) {
	r.tab.Lock()
	delete(n.parent.children, n.name)
	r.tab.Unlock()
	r.hist.place(func() { n.parent, n.gone = nil, true })
	if n.fd < 0 {
		r.give(charge(late.size), 1) // zero for a directory
	}
}

func (f *file) Rename(ctx context.Context, name string, to tree.File, newName string) error {
	dst, ok := to.(*file)
	if !ok || dst.r != f.r {
		return api.E(api.Unsupported, "rename", name, "it cannot move to another tree; copy it")
	}
	for _, n := range []string{name, newName} {
		if err := tree.CheckName("rename", n); err != nil {
			return err
		}
	}
	release, err := f.fenced(ctx, "rename")
	if err != nil {
		return err
	}
	defer release()
	late := temp{fd: -1}
	defer late.close()
	if err := f.r.alter(); err != nil {
		return err
	}
	defer f.r.altered()
	n, old, err := f.mayMove(name, dst, newName)
	if err != nil || n == old {
		return err
	}
	if old != nil {
		old.content.Lock()
		defer old.content.Unlock()
		if err := old.hold(&late); err != nil {
			return f.r.s.fail("rename", newName, err)
		}
	}
	if err := f.move(n, dst.n, newName, old, &late); err != nil {
		return f.r.s.fail("rename", name, err)
	}
	return nil
}

// mayMove checks a rename; old is what it replaces, or nil. ns is held.
func (f *file) mayMove(name string, dst *file, newName string) (n, old *node, err error) {
	if n, err = f.entry("rename", name); err != nil {
		return nil, nil, err
	}
	if err := dst.dir("rename", mayChange); err != nil {
		return nil, nil, err
	}
	for at := dst.n; at != nil; at = at.parent {
		if at == n {
			return nil, nil, api.E(api.Invalid, "rename", name, "a directory cannot move into itself")
		}
	}
	if err := dst.shallow("rename", newName); err != nil {
		return nil, nil, err
	}
	old, err = f.r.lookup("rename", dst.n, newName)
	switch {
	case api.KindOf(err) == api.NotFound:
		return n, nil, nil
	case err != nil:
		return nil, nil, err
	case old == n:
		return n, n, nil
	}
	return n, old, removable("rename", newName, old, n.meta.Load().isDir())
}

// move renames n over old, which may be nil, in one step; watches see one
// version. ns is held for writing, and old's content.
func (f *file) move(n, to *node, name string, old *node, late *temp) error {
	r := f.r
	from, err := f.n.open(asDirectory)
	if err != nil {
		return err
	}
	defer unix.Close(from)
	dir, err := to.open(asDirectory)
	if err != nil {
		return err
	}
	defer unix.Close(dir)
	was, records := n.name, []record(nil)
	if old != nil {
		records = append(records, old.record(tree.Removed))
	}
	records = append(records, n.record(tree.Renamed))
	v := r.hist.begin(func() { n.parent, n.name = to, name })
	change := func() error { return unix.Renameat2(from, was, dir, name, 0) }
	if f.n != to {
		inner := change
		change = func() error { return to.stamp(dir, v, inner) }
	}
	if err := f.n.stamp(from, v, change); err != nil {
		r.hist.place(func() { n.parent, n.name = f.n, was })
		r.hist.end(v)
		return err
	}
	if old != nil {
		r.lost(old, late)
	}
	r.tab.Lock()
	delete(f.n.children, was)
	to.adopt(name, n)
	r.tab.Unlock()
	r.hist.end(v, append(records, n.record(tree.Created))...)
	return nil
}
