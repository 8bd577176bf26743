package memfs

import (
	"context"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

const mayChange = tree.MayWrite | tree.MaySearch // entries of a directory

func checkNew(op, name string, nf tree.NewFile, c api.Caller) error {
	if err := tree.CheckName(op, name); err != nil {
		return err
	}
	link := false
	switch nf.Mode & tree.ModeType {
	case tree.ModeFile, tree.ModeDir:
	case tree.ModeSymlink, tree.ModeEndpoint:
		link = true
	default:
		return api.E(api.Unsupported, op, name, "type %o: there are files, directories and links only", nf.Mode&tree.ModeType)
	}
	switch {
	case link != (nf.Target != "") || strings.ContainsRune(nf.Target, 0):
		return api.E(api.Invalid, op, name, "a link needs a target, nothing else has one")
	case len(nf.Target) > tree.MaxPath:
		return api.E(api.TooLarge, op, name, "a target of %d bytes; the limit is %d", len(nf.Target), tree.MaxPath)
	case nf.Lease != "" && nf.Mode&tree.ModeType == tree.ModeDir:
		return api.E(api.Invalid, op, name, "a directory cannot go with a lease")
	case nf.Published && !c.Operator:
		return api.E(api.Denied, op, name, "only an operator publishes services from outside")
	}
	return nil
}

// addLocked makes a new entry of which all but rights and room is checked.
func (f *file) addLocked(op, name string, nf tree.NewFile, size int64) (*node, error) {
	fs := f.fs
	if err := f.mayLocked(op, mayChange); err != nil {
		return nil, err
	}
	if fs.files >= fs.o.MaxFiles {
		return nil, api.E(api.Busy, op, name, "the tree is full: it holds %d files at most; remove something", fs.o.MaxFiles)
	}
	if err := fs.roomLocked(op, 0, size+int64(len(nf.Target))); err != nil {
		return nil, err
	}
	var l *lease
	if nf.Lease != "" {
		var err error
		if l, err = fs.leaseLocked(op, f.c, nf.Lease); err != nil {
			return nil, err
		}
	}
	n := fs.newNodeLocked(nf, f.c.User)
	if l != nil {
		n.lease = l
		l.nodes[n] = struct{}{}
	}
	fs.linkLocked(f.n, name, n)
	return n, nil
}

// addedLocked records that n came into f.
func (f *file) addedLocked(n *node) {
	n.version = f.fs.changeLocked(n.record(tree.Created))
	f.n.version, f.n.modified = n.version, n.modified
}

func (f *file) Create(_ context.Context, name string, nf tree.NewFile) (tree.File, error) {
	if err := checkNew("create", name, nf, f.c); err != nil {
		return nil, err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	if err := f.dirLocked("create", tree.MaySearch); err != nil {
		return nil, err
	}
	if err := f.fencedLocked("create"); err != nil {
		return nil, err
	}
	if n := f.n.entries[name]; n != nil {
		return f.with(n), createOn(n, name, nf)
	}
	n, err := f.addLocked("create", name, nf, 0)
	if err != nil {
		return nil, err
	}
	f.addedLocked(n)
	return f.with(n), nil
}

// createOn says whether a Create may return n, which is there.
func createOn(n *node, name string, nf tree.NewFile) error {
	was, want := n.mode&tree.ModeType, nf.Mode&tree.ModeType
	switch {
	case nf.Exclusive || nf.Target != "":
		return api.E(api.Exists, "create", name, "it exists")
	case was == want:
		return nil
	case was == tree.ModeDir:
		return api.E(api.IsDir, "create", name, "a directory of this name exists")
	}
	return api.E(api.Exists, "create", name, "something else of this name exists")
}

// mineLocked says whether the caller may remove, move or replace the entry n.
func (f *file) mineLocked(op string, n *node) error {
	if n.lease != nil && n.lease.user != f.c.User && !f.c.Operator {
		return api.E(api.Denied, op, n.name, "it goes with a lease of another user")
	}
	return nil
}

// removableLocked says whether n may go as a directory or as none.
func removableLocked(op string, n *node, dir bool) error {
	switch {
	case dir && !n.isDir():
		return api.E(api.NotDir, op, n.name, "it is no directory")
	case !dir && n.isDir():
		return api.E(api.IsDir, op, n.name, "it is a directory")
	case len(n.entries) > 0:
		return api.E(api.NotEmpty, op, n.name, "the directory has entries")
	}
	return nil
}

func (f *file) Remove(_ context.Context, name string, dir bool) error {
	if err := tree.CheckName("remove", name); err != nil {
		return err
	}
	f.fs.mu.Lock()
	defer f.fs.mu.Unlock()
	n, err := f.entryLocked("remove", name)
	if err != nil {
		return err
	}
	if err := removableLocked("remove", n, dir); err != nil {
		return err
	}
	f.fs.removeLocked(n)
	return nil
}

// entryLocked returns the entry name, which the caller may take away.
func (f *file) entryLocked(op, name string) (*node, error) {
	if err := f.dirLocked(op, tree.MaySearch); err != nil {
		return nil, err
	}
	n := f.n.entries[name]
	if n == nil {
		return nil, api.E(api.NotFound, op, name, "there is no such file")
	}
	if err := f.mayLocked(op, mayChange); err != nil {
		return nil, err
	}
	if err := f.mineLocked(op, n); err != nil {
		return nil, err
	}
	return n, f.fencedLocked(op)
}

func (fs *FS) removeLocked(n *node) {
	dir, r := n.parent, n.record(tree.Removed)
	fs.unlinkLocked(n)
	fs.forgetLocked(n)
	dir.version, dir.modified = fs.changeLocked(r), fs.o.Now()
}
