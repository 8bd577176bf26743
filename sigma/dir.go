package sigma

import (
	"context"
	"os"
	"strings"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// Dir is a directory that is found once. What is asked for in it goes to its server
// alone, without the way there from the realm's root: one round trip for a file.
// Where that fails, because the server was lost or the way leads elsewhere now, the
// directory is looked for anew. A Dir holds nothing.
type Dir struct {
	n    *Names
	path string

	mu    sync.Mutex
	s     *server
	names []string // of the directory, at s
}

// Dir is the directory at path; whether it is there turns out later.
func (n *Names) Dir(path string) *Dir { return &Dir{n: n, path: strings.TrimRight(path, "/")} }

// Open opens a file of the directory for reading.
func (d *Dir) Open(ctx context.Context, name string) (f *File, err error) {
	f = &File{path: d.path + "/" + name, ctx: context.WithoutCancel(ctx)}
	found, err := d.try(ctx, name, func(s *server, names []string) (w ninep.Walked, err error) {
		f.h, w, err = s.Root.Open(ctx, tree.OpenMode{Read: true}, names...)
		return w, err
	})
	if found {
		return f, err
	}
	return d.n.OpenFile(ctx, d.path+"/"+name, os.O_RDONLY, 0)
}

// GetFile returns the content of a file of the directory, as [Names.GetFile] does.
func (d *Dir) GetFile(ctx context.Context, name string) (data []byte, i Info, err error) {
	found, err := d.try(ctx, name, func(s *server, names []string) (ninep.Walked, error) {
		b, w, err := s.Root.Get(ctx, maxGet, names...)
		data, i = b, infoOf(name, w.Attr)
		return w, err
	})
	if found {
		return data, i, err
	}
	return d.n.GetFile(ctx, d.path+"/"+name)
}

// try does fn where the directory is. found says that this was the right place to
// ask, whatever came of it.
func (d *Dir) try(ctx context.Context, name string, fn func(*server, []string) (ninep.Walked, error)) (found bool, err error) {
	s, names, err := d.where(ctx)
	if err != nil || strings.Contains(name, "/") {
		return false, nil
	}
	w, err := fn(s, append(names[:len(names):len(names)], name))
	if k := api.KindOf(err); err == nil && !w.Link || err != nil && k != api.Unavailable && k != api.NotFound {
		return true, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.s == s {
		d.s = nil
	}
	return false, nil
}

// where finds the directory, if that was not done.
func (d *Dir) where(ctx context.Context) (*server, []string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.s != nil {
		return d.s, d.names, nil
	}
	follow, err := followed(d.path + "/")
	if err != nil {
		return nil, nil, err
	}
	err = d.n.do(ctx, d.path+"/", true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		w, err := s.Root.Stat(ctx, names...)
		if err == nil && !w.Link {
			if len(names) > 0 && follow(w.Attr) {
				w.Link, w.Names = true, len(names)
				return w, nil
			}
			d.s, d.names = s, append([]string(nil), names...)
		}
		return w, err
	})
	return d.s, d.names, err
}
