package sigma

import (
	"context"
	"crypto/rand"
	"io"
	"io/fs"
	"os"
	"path"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

var errNoDescriptor = api.E(api.Busy, "connection", "", "its descriptor did not arrive; are this proc's descriptors used up?")

// Info describes a file; it is an fs.FileInfo, whose Sys is the tree.Attr.
type Info struct {
	name string
	tree.Attr
}

var _ fs.FileInfo = Info{}

func (i Info) Name() string       { return i.name }
func (i Info) Size() int64        { return i.Attr.Size }
func (i Info) Mode() fs.FileMode  { return fileMode(i.Attr.Mode) }
func (i Info) ModTime() time.Time { return i.Modified }
func (i Info) Sys() any           { return i.Attr }

func fileMode(m uint32) fs.FileMode {
	f := fs.FileMode(m & tree.ModePerm)
	switch m & tree.ModeType {
	case tree.ModeDir:
		f |= fs.ModeDir
	case tree.ModeSymlink:
		f |= fs.ModeSymlink
	case tree.ModeEndpoint:
		f |= fs.ModeSocket
	}
	return f
}

func infoOf(p string, a tree.Attr) Info { return Info{path.Base(path.Clean("/" + p)), a} }

// Stat describes what is at path; symbolic links are followed, endpoint links
// only by a path that ends with a slash.
func (n *Names) Stat(ctx context.Context, path string) (Info, error) {
	follow, err := followed(path)
	if err != nil {
		return Info{}, err
	}
	return n.stat(ctx, path, follow)
}

// followed tells which links at the end of a path are followed: symbolic ones, and
// endpoint links where a slash says that a directory is meant.
func followed(path string) (func(tree.Attr) bool, error) {
	_, dir, err := resolve.Clean(path)
	return func(a tree.Attr) bool {
		return a.Mode&tree.ModeType == tree.ModeSymlink || dir && a.Mode&tree.ModeType == tree.ModeEndpoint
	}, err
}

// Lstat describes what is at path, a link itself.
func (n *Names) Lstat(ctx context.Context, path string) (Info, error) {
	return n.stat(ctx, path, func(tree.Attr) bool { return false })
}

func (n *Names) stat(ctx context.Context, path string, follow func(tree.Attr) bool) (i Info, err error) {
	err = n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		w, err := s.Root.Stat(ctx, names...)
		if err == nil && !w.Link {
			if len(names) > 0 && follow(w.Attr) {
				w.Link, w.Names = true, len(names)
				return w, nil
			}
			i = infoOf(path, w.Attr)
		}
		return w, err
	})
	return i, err
}

const (
	maxWhole = 1 << 20  // whole files are read and written in one round trip up to this size
	maxGet   = 64 << 20 // and read at all up to this one
)

// GetFile returns a file's content and its description, both of one version.
// Files over 64 MiB are for Open.
func (n *Names) GetFile(ctx context.Context, path string) (data []byte, i Info, err error) {
	err = n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		b, w, err := s.Root.Get(ctx, maxGet, names...)
		data, i = b, infoOf(path, w.Attr)
		return w, err
	})
	return data, i, err
}

// PutOption changes how PutFile writes.
type PutOption func(*tree.Put)

// Exclusive makes a new file; an existing one is an error of kind Exists.
func Exclusive() PutOption { return func(p *tree.Put) { p.Exclusive = true } }

// IfVersion writes only when the file has this version (kind Conflict
// otherwise); 0 only when it is not there.
func IfVersion(v uint64) PutOption { return func(p *tree.Put) { p.If = &v } }

// Append writes behind what is there.
func Append() PutOption { return func(p *tree.Put) { p.Append = true } }

// Existing writes only to a file that is there.
func Existing() PutOption { return func(p *tree.Put) { p.Create = false } }

// WithMode gives a new file these permission bits; 0o644 without it.
func WithMode(perm fs.FileMode) PutOption {
	return func(p *tree.Put) { p.Mode = tree.ModeFile | uint32(perm.Perm()) }
}

// WithLease makes a new file ephemeral: it goes with the lease.
func WithLease(lease string) PutOption { return func(p *tree.Put) { p.Lease = lease } }

// PutFile writes the whole of a file in one step, which others see whole or not
// at all, and returns its new description. The file is made when it is not there.
// Up to 1 MiB it is one round trip.
func (n *Names) PutFile(ctx context.Context, path string, data []byte, opts ...PutOption) (i Info, err error) {
	p := tree.Put{Create: true, Data: data, NoReplay: rand.Text()}
	p.Mode = tree.ModeFile | 0o644
	for _, o := range opts {
		o(&p)
	}
	if len(data) > maxWhole {
		return n.putLarge(ctx, path, p)
	}
	err = n.do(ctx, path, true, func(ctx context.Context, s *server, names []string) (ninep.Walked, error) {
		w, err := s.Root.Put(ctx, p, names...)
		i = infoOf(path, w.Attr)
		return w, err
	})
	return i, err
}

// putLarge writes what no message holds: aside, and then in its place; at once in
// its place where a file is seen when it is closed.
func (n *Names) putLarge(ctx context.Context, path string, p tree.Put) (i Info, err error) {
	if p.If != nil || p.Exclusive || p.Append || !p.Create {
		return i, api.E(api.Unsupported, "put", path, "%d bytes with a condition; conditions are for up to %d bytes", len(p.Data), maxWhole)
	}
	aside := path + ".put-" + p.NoReplay[:8]
	f, err := n.OpenFile(ctx, aside, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(p.Mode&tree.ModePerm))
	if err != nil {
		return i, err
	}
	if st, serr := f.Stat(); serr == nil && st.Sys().(tree.Attr).Links == 0 {
		f.Abandon()
		return n.putClosed(ctx, path, p)
	}
	_, err = f.Write(p.Data)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = n.Rename(ctx, aside, path)
	}
	if err != nil {
		n.remove(context.WithoutCancel(ctx), aside, false)
		return i, err
	}
	return n.Stat(ctx, path)
}

// putClosed writes a file that is seen when it is closed.
func (n *Names) putClosed(ctx context.Context, path string, p tree.Put) (i Info, err error) {
	f, err := n.OpenFile(ctx, path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, fs.FileMode(p.Mode&tree.ModePerm))
	if err != nil {
		return i, err
	}
	if _, err := f.Write(p.Data); err != nil {
		f.Abandon()
		return i, err
	}
	if err := f.Close(); err != nil {
		return i, err
	}
	return n.Stat(ctx, path)
}

// File is an open file. It is not safe for concurrent use, but for ReadAt and
// WriteAt.
type File struct {
	path string
	h    *ninep.Handle
	ctx  context.Context

	mu  sync.Mutex
	off int64
	app bool
}

// Open opens a file for reading.
func (n *Names) Open(ctx context.Context, path string) (*File, error) {
	return n.OpenFile(ctx, path, os.O_RDONLY, 0)
}

// Create makes or empties a file and opens it.
func (n *Names) Create(ctx context.Context, path string) (*File, error) {
	return n.OpenFile(ctx, path, os.O_RDWR|os.O_CREATE|os.O_TRUNC, 0o644)
}

// OpenFile opens a file with the flags of package os. ctx bounds the opening;
// what the File does later is bounded by the connection to its server.
func (n *Names) OpenFile(ctx context.Context, path string, flag int, perm fs.FileMode) (*File, error) {
	m := tree.OpenMode{Append: flag&os.O_APPEND != 0, Truncate: flag&os.O_TRUNC != 0}
	switch flag & (os.O_RDONLY | os.O_WRONLY | os.O_RDWR) {
	case os.O_RDONLY:
		m.Read = true
	case os.O_WRONLY:
		m.Write = true
	default:
		m.Read, m.Write = true, true
	}
	f := &File{path: path, app: m.Append, ctx: context.WithoutCancel(ctx)}
	again := flag&(os.O_CREATE|os.O_EXCL) != os.O_CREATE|os.O_EXCL
	err := n.do(ctx, path, again, func(ctx context.Context, s *server, names []string) (w ninep.Walked, err error) {
		if flag&os.O_CREATE != 0 && len(names) > 0 {
			f.h, w, err = s.Root.CreateOpen(ctx, tree.NewFile{Mode: tree.ModeFile | uint32(perm.Perm()), Exclusive: flag&os.O_EXCL != 0}, m, names...)
		} else {
			f.h, w, err = s.Root.Open(ctx, m, names...)
		}
		return w, err
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// Name is the path that was opened.
func (f *File) Name() string { return f.path }

// Stat describes the open file, also when its entry is gone.
func (f *File) Stat() (fs.FileInfo, error) {
	a, err := f.h.Attr(f.ctx)
	if err != nil {
		return nil, err
	}
	return infoOf(f.path, a), nil
}

func (f *File) Read(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.h.ReadAt(f.ctx, p, f.off)
	f.off += int64(n)
	if n > 0 && err == io.EOF {
		err = nil
	}
	return n, err
}

func (f *File) Write(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := f.h.WriteAt(f.ctx, p, f.off)
	if !f.app {
		f.off += int64(n)
	}
	return n, err
}

// ReadAt reads len(p) bytes at off, or up to the end and returns io.EOF.
func (f *File) ReadAt(p []byte, off int64) (int, error) { return f.h.ReadAt(f.ctx, p, off) }

// WriteAt writes p at off.
func (f *File) WriteAt(p []byte, off int64) (int, error) { return f.h.WriteAt(f.ctx, p, off) }

// Seek moves where Read and Write go on: Lseek of the paper.
func (f *File) Seek(off int64, whence int) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		off += f.off
	case io.SeekEnd:
		a, err := f.h.Attr(f.ctx)
		if err != nil {
			return 0, err
		}
		off += a.Size
	default:
		return 0, api.E(api.Invalid, "seek", f.path, "whence %d", whence)
	}
	if off < 0 {
		return 0, api.E(api.Invalid, "seek", f.path, "to %d, before the beginning", off)
	}
	f.off = off
	return off, nil
}

// Truncate changes the size.
func (f *File) Truncate(size int64) error {
	_, err := f.h.SetAttr(f.ctx, tree.SetAttr{Size: &size})
	return err
}

// Sync returns when what was written is as safe as its server makes it.
func (f *File) Sync() error { return f.h.Sync(f.ctx) }

// Close ends the open file. An object of /s3 is there, whole, when Close returns no
// error, and not before.
func (f *File) Close() error { return f.h.Close() }

// Abandon ends a file that is not to be finished. Of an object of /s3 nothing
// comes; elsewhere what was written stays.
func (f *File) Abandon() error { return f.h.Abandon() }
