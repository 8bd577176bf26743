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
	if err := f.mayOpen("get", tree.OpenMode{Read: true}); err != nil {
		return tree.Attr{}, nil, err
	}
	n := f.n
	n.content.RLock()
	defer n.content.RUnlock()
	fail := func(err error) (tree.Attr, []byte, error) {
		return tree.Attr{}, nil, f.r.s.fail("get", f.name, err)
	}
	fd := n.fd
	if fd < 0 {
		var err error
		if fd, err = n.open(forReading); err != nil {
			return fail(err)
		}
		defer unix.Close(fd)
	}
	st, err := fstat(fd)
	if err != nil {
		return fail(err)
	}
	a := n.attrOf(&st)
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
