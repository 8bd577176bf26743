package fusemount

import (
	"context"
	"syscall"

	"github.com/hanwen/go-fuse/v2/fuse"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (s *server) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	dir, st := s.dir(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	since := s.writes.Load()
	f, a, err := dir.file.Look(ctx, name)
	if err != nil {
		return s.status(err)
	}
	return s.enter(ctx, f, a, since, out)
}

// dir is the directory of a request about one of its entries.
func (s *server) dir(id uint64, name string) (*node, fuse.Status) {
	if st := badName(name); st != fuse.OK {
		return nil, st
	}
	if n := s.node(id); n != nil {
		return n, fuse.OK
	}
	return nil, fuse.ENOENT
}

// make makes an entry that is not opened.
func (s *server) make(cancel <-chan struct{}, dir uint64, name string, n tree.NewFile, out *fuse.EntryOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	d, st := s.dir(dir, name)
	if st != fuse.OK {
		return st
	}
	n.Exclusive = true
	since := s.writes.Load()
	f, a, err := d.file.Make(ctx, name, n)
	if err != nil {
		return s.status(err)
	}
	return s.enter(ctx, f, a, since, out)
}

func (s *server) Mkdir(cancel <-chan struct{}, in *fuse.MkdirIn, name string, out *fuse.EntryOut) fuse.Status {
	return s.make(cancel, in.NodeId, name, tree.NewFile{Mode: tree.ModeDir | in.Mode&tree.ModePerm}, out)
}

func (s *server) Mknod(cancel <-chan struct{}, in *fuse.MknodIn, name string, out *fuse.EntryOut) fuse.Status {
	if in.Mode&syscall.S_IFMT != syscall.S_IFREG {
		return fuse.EPERM // there are no devices, pipes or sockets
	}
	return s.make(cancel, in.NodeId, name, tree.NewFile{Mode: tree.ModeFile | in.Mode&tree.ModePerm}, out)
}

func (s *server) Symlink(cancel <-chan struct{}, in *fuse.InHeader, target, name string, out *fuse.EntryOut) fuse.Status {
	return s.make(cancel, in.NodeId, name, tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: s.stored(target)}, out)
}

// Link: EPERM is what file systems without hard links say; git, rsync and cp then
// do without.
func (s *server) Link(<-chan struct{}, *fuse.LinkIn, string, *fuse.EntryOut) fuse.Status {
	return fuse.EPERM
}

func (s *server) Readlink(cancel <-chan struct{}, in *fuse.InHeader) ([]byte, fuse.Status) {
	ctx, done := s.begin(cancel, short)
	defer done()
	n := s.node(in.NodeId)
	if n == nil {
		return nil, fuse.ENOENT
	}
	a, err := n.file.Attr(ctx)
	if err != nil {
		return nil, s.status(err)
	}
	if a.Mode&tree.ModeType != tree.ModeSymlink {
		return nil, fuse.EINVAL
	}
	return []byte(s.target(n.file, a.Target)), fuse.OK
}

func (s *server) Unlink(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return s.remove(cancel, in, name, false)
}

func (s *server) Rmdir(cancel <-chan struct{}, in *fuse.InHeader, name string) fuse.Status {
	return s.remove(cancel, in, name, true)
}

func (s *server) remove(cancel <-chan struct{}, in *fuse.InHeader, name string, dir bool) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	d, st := s.dir(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	return s.status(d.file.Remove(ctx, name, dir))
}

func (s *server) Rename(cancel <-chan struct{}, in *fuse.RenameIn, name, newName string) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	if in.Flags != 0 {
		return fuse.EINVAL // to exchange, or not to replace; mv does it another way
	}
	from, st := s.dir(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	to, st := s.dir(in.Newdir, newName)
	if st != fuse.OK {
		return st
	}
	err := from.file.Rename(ctx, name, to.file, newName)
	if api.KindOf(err) == api.Unsupported {
		return fuse.EXDEV // mv copies
	}
	if err != nil {
		return s.status(err)
	}
	s.follow(ctx, to, newName)
	return fuse.OK
}

// follow tells the node of a file that was renamed where it is now.
func (s *server) follow(ctx context.Context, dir *node, name string) {
	f, a, err := dir.file.Look(ctx, name)
	if err != nil {
		return // the kernel will look for itself
	}
	s.mu.Lock()
	n := s.byNumber[a.ID]
	s.mu.Unlock()
	if n != nil {
		n.file.Moved(f)
	}
}
