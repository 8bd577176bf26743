package sigma

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"

	"sigmaos/api"
)

// FSys is a part of a realm's name space as an io/fs.FS, with a write side beside
// it. Names are those of io/fs: relative, without dots.
type FSys struct {
	ctx  context.Context
	n    *Names
	root string
}

var (
	_ fs.ReadFileFS = (*FSys)(nil)
	_ fs.ReadDirFS  = (*FSys)(nil)
	_ fs.StatFS     = (*FSys)(nil)
	_ fs.SubFS      = (*FSys)(nil)
)

// FS is what is below root in this proc's realm; ctx bounds each call on it.
func FS(ctx context.Context, root string) *FSys { return self().Names().FS(ctx, root) }

// FS is what is below root; ctx bounds each call on it.
func (n *Names) FS(ctx context.Context, root string) *FSys { return &FSys{ctx, n, root} }

func (f *FSys) at(op, name string) (string, error) {
	if !fs.ValidPath(name) {
		return "", &fs.PathError{Op: op, Path: name, Err: fs.ErrInvalid}
	}
	return path.Join(f.root, name), nil
}

// pathError makes an error one that io/fs's users look for.
func pathError(op, name string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	var std error
	switch api.KindOf(err) {
	case api.NotFound:
		std = fs.ErrNotExist
	case api.Exists:
		std = fs.ErrExist
	case api.Denied:
		std = fs.ErrPermission
	case api.Invalid:
		std = fs.ErrInvalid
	}
	if std != nil {
		err = errors.Join(std, err)
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

// Open opens a file or directory. Symbolic links are followed.
func (f *FSys) Open(name string) (fs.File, error) {
	p, err := f.at("open", name)
	if err != nil {
		return nil, err
	}
	i, err := f.n.Stat(f.ctx, p)
	if err == nil && i.Mode()&fs.ModeSocket != 0 {
		if d, derr := f.n.Stat(f.ctx, p+"/"); derr == nil {
			i = d
		}
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	i.name = path.Base(name)
	if i.IsDir() {
		return &openDir{f: f, name: name, path: p, info: i}, nil
	}
	h, err := f.n.Open(f.ctx, p)
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &openFile{h, name}, nil
}

// openFile gives a File the errors of io/fs.
type openFile struct {
	*File
	name string
}

func (o *openFile) Stat() (fs.FileInfo, error) {
	a, err := o.h.Attr(o.ctx)
	return Info{path.Base(o.name), a}, pathError("stat", o.name, err)
}

func (o *openFile) Read(p []byte) (int, error) {
	n, err := o.File.Read(p)
	return n, pathError("read", o.name, err)
}

// openDir is an open directory.
type openDir struct {
	f     *FSys
	name  string
	path  string
	info  Info
	after string
	end   bool
}

func (d *openDir) Stat() (fs.FileInfo, error) { return d.info, nil }
func (d *openDir) Close() error               { return nil }
func (d *openDir) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: d.name, Err: errors.New("is a directory")}
}

func (d *openDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.end {
		if n > 0 {
			return nil, io.EOF
		}
		return nil, nil
	}
	list, err := d.f.n.ReadDir(d.f.ctx, d.path, d.after, max(n, 0))
	if err != nil {
		return nil, pathError("readdir", d.name, err)
	}
	var out []fs.DirEntry
	for _, i := range list {
		out = append(out, fs.FileInfoToDirEntry(i))
		d.after = i.name
	}
	d.end = n <= 0 || len(list) < n
	if n > 0 && len(out) == 0 {
		return nil, io.EOF
	}
	return out, nil
}

// ReadFile reads the whole of a file.
func (f *FSys) ReadFile(name string) ([]byte, error) {
	p, err := f.at("read", name)
	if err != nil {
		return nil, err
	}
	b, _, err := f.n.GetFile(f.ctx, p)
	return b, pathError("read", name, err)
}

// ReadDir lists a directory.
func (f *FSys) ReadDir(name string) ([]fs.DirEntry, error) {
	p, err := f.at("readdir", name)
	if err != nil {
		return nil, err
	}
	return (&openDir{f: f, name: name, path: p}).ReadDir(-1)
}

// Stat describes a file.
func (f *FSys) Stat(name string) (fs.FileInfo, error) {
	p, err := f.at("stat", name)
	if err != nil {
		return nil, err
	}
	i, err := f.n.Stat(f.ctx, p)
	i.name = path.Base(name)
	if err != nil {
		return nil, pathError("stat", name, err)
	}
	return i, nil
}

// Sub is the part below a directory.
func (f *FSys) Sub(dir string) (fs.FS, error) {
	p, err := f.at("sub", dir)
	if err != nil {
		return nil, err
	}
	return &FSys{f.ctx, f.n, p}, nil
}

// WriteFile writes the whole of a file in one step.
func (f *FSys) WriteFile(name string, data []byte, perm fs.FileMode) error {
	return f.change("write", name, func(p string) error {
		_, err := f.n.PutFile(f.ctx, p, data, WithMode(perm))
		return err
	})
}

// Create makes or empties a file and opens it.
func (f *FSys) Create(name string) (*File, error) {
	p, err := f.at("create", name)
	if err != nil {
		return nil, err
	}
	h, err := f.n.Create(f.ctx, p)
	return h, pathError("create", name, err)
}

// Mkdir makes a directory.
func (f *FSys) Mkdir(name string, perm fs.FileMode) error {
	return f.change("mkdir", name, func(p string) error { return f.n.Mkdir(f.ctx, p, perm) })
}

// MkdirAll makes a directory and those above it.
func (f *FSys) MkdirAll(name string, perm fs.FileMode) error {
	return f.change("mkdir", name, func(p string) error { return f.n.MkdirAll(f.ctx, p, perm) })
}

// Remove takes away a file or an empty directory.
func (f *FSys) Remove(name string) error {
	return f.change("remove", name, func(p string) error { return f.n.Remove(f.ctx, p) })
}

// RemoveAll takes away what is there and below it.
func (f *FSys) RemoveAll(name string) error {
	return f.change("remove", name, func(p string) error { return f.n.RemoveAll(f.ctx, p) })
}

// Rename moves a file over what is there.
func (f *FSys) Rename(from, to string) error {
	q, err := f.at("rename", to)
	if err != nil {
		return err
	}
	return f.change("rename", from, func(p string) error { return f.n.Rename(f.ctx, p, q) })
}

// Symlink makes a symbolic link.
func (f *FSys) Symlink(target, name string) error {
	return f.change("symlink", name, func(p string) error { return f.n.Symlink(f.ctx, target, p) })
}

func (f *FSys) change(op, name string, do func(p string) error) error {
	p, err := f.at(op, name)
	if err != nil {
		return err
	}
	return pathError(op, name, do(p))
}
