package ux

import (
	"context"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// checkNew says whether such a file can be made at all.
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
	case nf.Lease != "":
		return api.E(api.Unsupported, op, name, "there are no leases in scratch space; put files that end with a proc into the realm's root")
	case nf.Published && !c.Operator:
		return api.E(api.Denied, op, name, "only an operator publishes services from outside")
	}
	return nil
}

func (f *file) Create(ctx context.Context, name string, nf tree.NewFile) (tree.File, error) {
	if err := checkNew("create", name, nf, f.c); err != nil {
		return nil, err
	}
	release, err := f.fenced(ctx, "create")
	if err != nil {
		return nil, err
	}
	defer release()
	if err := f.r.alter(); err != nil {
		return nil, err
	}
	defer f.r.altered()
	if err := f.dir("create", tree.MaySearch); err != nil {
		return nil, err
	}
	n, err := f.r.lookup("create", f.n, name)
	switch {
	case err == nil:
		return f.with(n, name), createOn(n.meta.Load(), name, nf)
	case api.KindOf(err) != api.NotFound:
		return nil, err
	}
	if err := f.may("create", mayChange); err != nil {
		return nil, err
	}
	t, err := f.r.newTemp(nf.Mode&tree.ModeType == tree.ModeDir, []byte(nf.Target))
	if err != nil {
		return nil, f.r.s.fail("create", name, err)
	}
	defer t.close()
	n, err = f.place("create", name, t, nf, 0)
	if err != nil {
		f.r.dropTemp(t)
		return nil, err
	}
	return f.with(n, name), nil
}

// createOn says whether a Create may return m, which is there.
func createOn(m *meta, name string, nf tree.NewFile) error {
	was, want := m.mode&tree.ModeType, nf.Mode&tree.ModeType
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

// temp is a file that is not in the tree yet. Whoever made it closes it, and
// drops it unless it found its place.
type temp struct {
	fd   int
	name string // in tmp
	dir  bool
	size int64
}

// newTemp makes one. ns is held.
func (r *realm) newTemp(dir bool, data []byte) (t *temp, err error) {
	t = &temp{fd: -1, name: strconv.FormatUint(r.temps.Add(1), 36), dir: dir}
	flags := forMaking
	if dir {
		if err := unix.Mkdirat(r.tmp, t.name, 0o700); err != nil {
			return nil, err
		}
		flags = asDirectory
	}
	if t.fd, err = openBeneath(r.tmp, t.name, flags); err != nil {
		return nil, err
	}
	if err := t.fill(data); err != nil {
		t.close()
		r.dropTemp(t)
		return nil, err
	}
	return t, nil
}

func (t *temp) fill(data []byte) error {
	n, err := writeAll(t.fd, data, 0)
	t.size = int64(n)
	return err
}

func (t *temp) close() {
	if t.fd >= 0 {
		unix.Close(t.fd)
	}
	t.fd = -1
}

// dropTemp removes a file that found no place. ns is held.
func (r *realm) dropTemp(t *temp) {
	flags := 0
	if t.dir {
		flags = unix.AT_REMOVEDIR
	}
	if err := unix.Unlinkat(r.tmp, t.name, flags); err != nil {
		r.s.log.Warn("a temporary file stays until the next start", "realm", r.id, "err", err)
	}
}

// place makes t the new entry name of f. ns is held for writing, and the entry
// does not exist.
func (f *file) place(op, name string, t *temp, nf tree.NewFile, put uint64) (*node, error) {
	r := f.r
	n := &node{r: r, fd: -1, target: nf.Target}
	fail := func(err error) (*node, error) { return nil, r.s.fail(op, name, err) }
	if err := f.shallow(op, name); err != nil {
		return nil, err
	}
	if err := r.fits(op, name, t.size); err != nil {
		return nil, err
	}
	if err := r.take(op, name, charge(t.size), 1); err != nil {
		return nil, err
	}
	dir, err := f.n.open(asDirectory)
	if err != nil {
		r.give(charge(t.size), 1)
		return fail(err)
	}
	defer unix.Close(dir)
	v := r.hist.begin(func() { n.parent, n.name = f.n, name })
	m := &meta{
		mode: nf.Mode & (tree.ModeType | tree.ModePerm), // no set-id bits
		id:   v, version: v, owner: f.c.User, published: nf.Published, undo: -1,
	}
	m.done = m.remember(put)
	n.meta.Store(m)
	if err = writeMeta(t.fd, m); err == nil {
		err = f.n.stamp(dir, v, func() error { return unix.Renameat2(r.tmp, t.name, dir, name, unix.RENAME_NOREPLACE) })
	}
	if err != nil {
		r.hist.end(v)
		r.give(charge(t.size), 1)
		return fail(err)
	}
	r.tab.Lock()
	f.n.adopt(name, n)
	r.tab.Unlock()
	r.hist.end(v, n.record(tree.Created))
	return n, nil
}

// shallow says whether name in f has a path that can be opened. ns is held.
func (f *file) shallow(op, name string) error {
	length := len(name)
	for at := f.n; at.parent != nil; at = at.parent {
		if length += len(at.name) + 1; length > tree.MaxPath {
			return api.E(api.TooLarge, op, name, "its path would be longer than %d bytes", tree.MaxPath)
		}
	}
	return nil
}

// stamp gives the directory n, open as fd, the version v and then does change. A
// crash between the two leaves a version too many, never one too few. ns is held
// for writing.
func (n *node) stamp(fd int, v uint64, change func() error) error {
	m := *n.meta.Load()
	m.version = v
	if err := writeMeta(fd, &m); err != nil {
		return err
	}
	if err := change(); err != nil {
		return err
	}
	n.meta.Store(&m)
	return nil
}
