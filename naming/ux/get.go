package ux

import (
	"context"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Get returns attributes and content of one version; of more than max bytes,
// attributes alone.
func (f *file) Get(_ context.Context, max int) (tree.Attr, []byte, error) {
	if err := f.r.enter(); err != nil {
		return tree.Attr{}, nil, err
	}
	defer f.r.leave()
	return f.get(max)
}

// get is Get with ns held.
func (f *file) get(max int) (tree.Attr, []byte, error) {
	if err := f.mayOpen("get", tree.OpenMode{Read: true}); err != nil {
		return tree.Attr{}, nil, err
	}
	n := f.n
	n.content.RLock()
	defer n.content.RUnlock()
	fd := n.fd
	if fd < 0 {
		var err error
		if fd, err = n.open(forReading); err != nil {
			return tree.Attr{}, nil, f.r.s.fail("get", f.name, err)
		}
		defer unix.Close(fd)
	}
	return f.read(fd, max)
}

// read gets the file, which is open as fd. content is held, or nobody else knows it.
func (f *file) read(fd, max int) (tree.Attr, []byte, error) {
	fail := func(err error) (tree.Attr, []byte, error) {
		return tree.Attr{}, nil, f.r.s.fail("get", f.name, err)
	}
	st, err := fstat(fd)
	if err != nil {
		return fail(err)
	}
	a := f.n.attrOf(&st)
	if a.Size > int64(max) {
		return a, nil, nil
	}
	data := make([]byte, a.Size)
	got, err := readAll(fd, data, 0)
	if err != nil {
		return fail(err)
	}
	return a, data[:got], nil
}

// GetEntry implements tree.EntryGetter. Most files are read once, by who knows nothing
// of them: such a one is opened once, and read from what told its meaning, and nothing
// is kept of it.
func (f *file) GetEntry(_ context.Context, name string, max int) (tree.Attr, []byte, error) {
	if err := tree.CheckName("get", name); err != nil {
		return tree.Attr{}, nil, err
	}
	if err := f.r.enter(); err != nil {
		return tree.Attr{}, nil, err
	}
	defer f.r.leave()
	if err := f.dir("get", tree.MaySearch); err != nil {
		return tree.Attr{}, nil, err
	}
	if a, data, done, err := f.getUnknown(name, max); done || err != nil {
		return a, data, err
	}
	n, err := f.r.lookup("get", f.n, name)
	if err != nil {
		return tree.Attr{}, nil, err
	}
	return f.with(n, name).get(max)
}

// getUnknown gets an entry that nobody knows; not done where somebody does. While it
// holds the gate nobody comes to know it, and with ns held nobody renames or removes
// it. ns is held.
func (f *file) getUnknown(name string, max int) (a tree.Attr, data []byte, done bool, err error) {
	gate := f.r.gate(f.n, name)
	gate.Lock()
	defer gate.Unlock()
	f.r.tab.Lock()
	known := f.n.known(name) != nil
	f.r.tab.Unlock()
	if known {
		return a, nil, false, nil
	}
	n := &node{r: f.r, parent: f.n, name: name, fd: -1}
	fd, err := n.open(forReading)
	if err != nil {
		return a, nil, false, f.r.s.fail("get", name, err)
	}
	defer unix.Close(fd)
	m, err := n.settle(fd)
	if err != nil {
		return a, nil, false, f.r.s.fail("get", name, err)
	}
	n.meta.Store(m)
	at := f.with(n, name)
	if err := at.mayOpen("get", tree.OpenMode{Read: true}); err != nil {
		return a, nil, false, err
	}
	a, data, err = at.read(fd, max)
	return a, data, true, err
}

// Space is what the realm may use here, and what is left of it and of the disk.
func (f *file) Space(context.Context) (tree.Space, error) {
	if err := f.r.enter(); err != nil {
		return tree.Space{}, err
	}
	defer f.r.leave()
	limit, used := f.r.ledger.read()
	free, err := f.r.s.disk.free()
	if err != nil {
		return tree.Space{}, api.AsError("space", err)
	}
	return tree.Space{
		Bytes: limit.Bytes, FreeBytes: max(0, min(limit.Bytes-used.Bytes, free)),
		Files: limit.Inodes, FreeFiles: max(0, limit.Inodes-used.Inodes),
	}, nil
}
