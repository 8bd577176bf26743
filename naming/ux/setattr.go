package ux

import (
	"context"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (f *file) SetAttr(ctx context.Context, s tree.SetAttr) (tree.Attr, error) {
	release, err := f.fenced(ctx, "setattr")
	if err != nil {
		return tree.Attr{}, err
	}
	defer release()
	// A directory's attribute is changed by who changes its entries.
	begin, end := f.r.enter, f.r.leave
	if f.n.meta.Load().isDir() {
		begin, end = f.r.alter, f.r.altered
	}
	if err := begin(); err != nil {
		return tree.Attr{}, err
	}
	defer end()
	if err := f.here("setattr"); err != nil {
		return tree.Attr{}, err
	}
	if err := f.maySet(s, false); err != nil {
		return tree.Attr{}, err
	}
	f.n.content.Lock()
	defer f.n.content.Unlock()
	if f.n.fd >= 0 && (s.Size == nil || f.n.writable) {
		return f.set(f.n.fd, s)
	}
	flags := forReading
	if s.Size != nil {
		flags = forWriting
	}
	fd, err := f.n.open(flags)
	if err != nil {
		return tree.Attr{}, f.r.s.fail("setattr", f.name, err)
	}
	defer unix.Close(fd)
	return f.set(fd, s)
}

// maySet checks a SetAttr; who has a handle for writing needs no right to the
// size.
func (f *file) maySet(s tree.SetAttr, writer bool) error {
	m := f.n.meta.Load()
	// Nobody owns the root: its owner is no user's name.
	owner := f.c.Operator || m.owner == f.c.User && f.n != f.r.root
	switch {
	case s.Perm != nil && !owner:
		return f.e(api.Denied, "setattr", "only its owner %q may change the mode", m.owner)
	case s.Owner != nil && *s.Owner != m.owner && !f.c.Operator:
		return f.e(api.Denied, "setattr", "only an operator may give files away")
	case s.Owner != nil && len(*s.Owner) > maxUser:
		return f.e(api.TooLarge, "setattr", "an owner's name of %d bytes; the limit is %d", len(*s.Owner), maxUser)
	case s.Size != nil && m.isDir():
		return f.e(api.IsDir, "setattr", "a directory has no size to set")
	case s.Size != nil && !m.isFile():
		return f.e(api.Invalid, "setattr", "a link has no size to set")
	case s.Size != nil && *s.Size < 0:
		return f.e(api.Invalid, "setattr", "a size of %d", *s.Size)
	}
	if s.Size != nil && !writer || s.Modified != nil && !owner {
		return f.may("setattr", tree.MayWrite)
	}
	return nil
}

// set changes attributes of the file, open as fd. content is held; of
// directories ns for writing. The version is on the disk before the change is.
func (f *file) set(fd int, s tree.SetAttr) (tree.Attr, error) {
	n, r := f.n, f.r
	fail := func(err error) (tree.Attr, error) { return tree.Attr{}, r.s.fail("setattr", f.name, err) }
	st, err := fstat(fd)
	if err != nil {
		return fail(err)
	}
	grows := int64(0)
	if s.Size != nil {
		if grows, err = n.room("setattr", f.name, st.Size, *s.Size); err != nil {
			return fail(err)
		}
	}
	v := r.hist.begin(nil)
	m := *n.meta.Load()
	m.version = v
	if s.Perm != nil {
		m.mode = m.mode&tree.ModeType | *s.Perm&tree.ModePerm // no set-id bits, no other type
	}
	if s.Owner != nil {
		m.owner = *s.Owner
	}
	if err := writeMeta(fd, &m); err != nil {
		r.give(max(grows, 0), 0)
		r.hist.end(v)
		return fail(err)
	}
	n.meta.Store(&m)
	defer r.hist.endChange(v, n)
	if s.Size != nil {
		if err := retry(func() error { return unix.Ftruncate(fd, *s.Size) }); err != nil {
			r.give(max(grows, 0), 0)
			return fail(err)
		}
		n.size = *s.Size
		r.give(max(-grows, 0), 0)
	}
	if s.Modified != nil {
		if err := setModified(fd, *s.Modified); err != nil {
			return fail(err)
		}
	}
	if st, err = fstat(fd); err != nil {
		return fail(err)
	}
	return n.attrOf(&st), nil
}

// room takes what a file of old bytes needs to have want of them, and returns
// by how much its charge grows. What is below zero the caller gives back when
// the disk has it.
func (n *node) room(op, subject string, old, want int64) (int64, error) {
	grows := charge(want) - charge(old)
	if grows <= 0 {
		return grows, nil
	}
	if err := n.r.fits(op, subject, want); err != nil {
		return 0, err
	}
	return grows, n.r.take(op, subject, grows, 0)
}
