package memfs

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (f *file) Rename(_ context.Context, name string, to tree.File, newName string) error {
	dst, ok := to.(*file)
	if !ok || dst.fs != f.fs {
		return api.E(api.Unsupported, "rename", name, "it cannot move to another tree; copy it")
	}
	for _, n := range []string{name, newName} {
		if err := tree.CheckName("rename", n); err != nil {
			return err
		}
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.entryLocked("rename", name)
	if err != nil {
		return err
	}
	if err := dst.dirLocked("rename", mayChange); err != nil {
		return err
	}
	for p := dst.n; p != nil; p = p.parent {
		if p == n {
			return api.E(api.Invalid, "rename", name, "a directory cannot move into itself")
		}
	}
	old := dst.n.entries[newName]
	if old == n {
		return nil
	}
	if old != nil {
		if err := dst.mineLocked("rename", old); err != nil {
			return err
		}
		if err := removableLocked("rename", old, n.isDir()); err != nil {
			return err
		}
	}
	f.fs.moveLocked(n, dst.n, newName, old)
	return nil
}

// moveLocked puts n over old, which may be nil; watches see one version.
func (fs *FS) moveLocked(n, dir *node, name string, old *node) {
	var rs []record
	if old != nil {
		rs = append(rs, old.record(tree.Removed))
		fs.unlinkLocked(old)
		fs.forgetLocked(old)
	}
	from := n.parent
	rs = append(rs, n.record(tree.Renamed))
	fs.unlinkLocked(n)
	fs.linkLocked(dir, name, n)
	rs = append(rs, n.record(tree.Created))
	from.version = fs.changeLocked(rs...)
	dir.version = from.version
	from.modified = fs.o.Now()
	dir.modified = from.modified
}
