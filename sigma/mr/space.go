package mr

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"sync"

	"sigmaos/api"
	"sigmaos/sigma"
)

// space is where files are: the realm's name space, or a disk, for the plain
// program and for tests.
type space interface {
	Stat(ctx context.Context, path string) (entry, error)
	List(ctx context.Context, dir string) ([]entry, error)
	Open(ctx context.Context, path string) (input, error)
	Whole(ctx context.Context, path string) (input, error)   // Open of a small file
	Create(ctx context.Context, path string) (output, error) // a new file
	MkdirAll(ctx context.Context, path string) error
	RemoveAll(ctx context.Context, path string) error
}

type entry struct {
	name string
	size int64
	dir  bool
}

type input interface {
	io.ReaderAt
	io.Closer
}

// output is a file that is being written. Abandon ends it as a file that nobody
// wants.
type output interface {
	io.Writer
	Close() error
	Abandon() error
}

// realm is the name space of a proc's realm.
type realm struct {
	n    *sigma.Names
	dirs *sync.Map // *sigma.Dir by path: where files are that were opened
}

func newRealm(n *sigma.Names) realm { return realm{n, new(sync.Map)} }

// in is the directory of a file, found once for all files in it.
func (r realm) in(file string) (dir *sigma.Dir, name string) {
	at, name := path.Split(file)
	d, ok := r.dirs.Load(at)
	if !ok {
		d, _ = r.dirs.LoadOrStore(at, r.n.Dir(at))
	}
	return d.(*sigma.Dir), name
}

func (r realm) Stat(ctx context.Context, path string) (entry, error) {
	i, err := r.n.Stat(ctx, path+"/") // through an endpoint link at its end
	if k := api.KindOf(err); k == api.NotDir || k == api.Unsupported {
		i, err = r.n.Stat(ctx, path)
	}
	return entry{i.Name(), i.Size(), i.IsDir()}, err
}

func (r realm) List(ctx context.Context, dir string) (out []entry, err error) {
	list, err := r.n.ReadDir(ctx, dir, "", 0)
	for _, i := range list {
		e := entry{i.Name(), i.Size(), i.IsDir()}
		if i.Mode()&fs.ModeSymlink != 0 {
			if e, err = r.Stat(ctx, dir+"/"+i.Name()); err != nil {
				return nil, err
			}
			e.name = i.Name()
		}
		out = append(out, e)
	}
	return out, err
}

func (r realm) Open(ctx context.Context, path string) (input, error) {
	d, name := r.in(path)
	f, err := d.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (r realm) Whole(ctx context.Context, path string) (input, error) {
	d, name := r.in(path)
	b, _, err := d.GetFile(ctx, name)
	if err != nil {
		return nil, err
	}
	return content{bytes.NewReader(b)}, nil
}

// content is a file that was read.
type content struct{ *bytes.Reader }

func (content) Close() error { return nil }

func (r realm) Create(ctx context.Context, path string) (output, error) {
	f, err := r.n.OpenFile(ctx, path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return f, nil
}

func (r realm) MkdirAll(ctx context.Context, path string) error {
	return r.n.MkdirAll(ctx, path, 0o775)
}

func (r realm) RemoveAll(ctx context.Context, path string) error { return r.n.RemoveAll(ctx, path) }

// disk is the file system of the machine.
type disk struct{}

func (disk) Stat(_ context.Context, path string) (entry, error) {
	i, err := os.Stat(path)
	if err != nil {
		return entry{}, err
	}
	return entry{i.Name(), i.Size(), i.IsDir()}, nil
}

func (d disk) List(ctx context.Context, dir string) (out []entry, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, l := range list {
		e, err := d.Stat(ctx, filepath.Join(dir, l.Name()))
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (disk) Open(_ context.Context, path string) (input, error)      { return os.Open(path) }
func (d disk) Whole(ctx context.Context, path string) (input, error) { return d.Open(ctx, path) }

func (disk) Create(_ context.Context, path string) (output, error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return nil, err
	}
	return onDisk{f}, nil
}

func (disk) MkdirAll(_ context.Context, path string) error  { return os.MkdirAll(path, 0o755) }
func (disk) RemoveAll(_ context.Context, path string) error { return os.RemoveAll(path) }

type onDisk struct{ *os.File }

func (f onDisk) Abandon() error {
	f.Close()
	return os.Remove(f.Name())
}
