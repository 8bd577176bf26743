package memfs

import (
	"bytes"
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Get returns attributes and content of one version.
func (f *file) Get(_ context.Context, max int) (tree.Attr, []byte, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	return f.getLocked(max)
}

// GetEntry is Get of an entry, at the moment in which it has the name.
func (f *file) GetEntry(_ context.Context, name string, max int) (tree.Attr, []byte, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	e, err := f.walkLocked(name)
	if err != nil {
		return tree.Attr{}, nil, err
	}
	return e.getLocked(max)
}

func (f *file) getLocked(max int) (tree.Attr, []byte, error) {
	if err := f.hereLocked("get"); err != nil {
		return tree.Attr{}, nil, err
	}
	switch {
	case f.n.isDir():
		return tree.Attr{}, nil, f.e(api.IsDir, "get", "it is a directory")
	case f.n.mode&tree.ModeType != tree.ModeFile:
		return tree.Attr{}, nil, f.e(api.Invalid, "get", "it is a link")
	}
	if err := f.mayLocked("get", tree.MayRead); err != nil {
		return tree.Attr{}, nil, err
	}
	a := f.n.attr(f.fs)
	if len(f.n.data) > max {
		return a, nil, nil
	}
	return a, bytes.Clone(f.n.data), nil
}

// Space says how full the tree is.
func (f *file) Space(context.Context) (tree.Space, error) {
	f.fs.mu.RLock()
	defer f.fs.mu.RUnlock()
	o := &f.fs.o
	return tree.Space{
		Bytes: o.MaxBytes, FreeBytes: o.MaxBytes - f.fs.bytes,
		Files: int64(o.MaxFiles), FreeFiles: int64(o.MaxFiles - f.fs.files),
	}, nil
}
