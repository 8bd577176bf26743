package fusemount

import (
	"context"
	"sync"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"sigmaos/api"
	"sigmaos/naming/tree"
	"sigmaos/naming/view"
)

// node is a file that the kernel knows.
type node struct {
	id      uint64 // the kernel's number
	number  uint64 // the file's
	file    *view.File
	lookups uint64 // times that the kernel was told of it; guarded by server.mu

	mu      sync.Mutex
	handles map[*handle]struct{}
	looked  time.Time // when the kernel was last told that its name leads here
	told    tree.Attr // the last attributes that the kernel was given
	opened  uint64    // version at the last open: that of the kernel's pages, or older
	cached  int       // handles that use the page cache
	backing *backing  // of the handles that use passthrough
	pieces
}

// enter tells the kernel of a file and its attributes. since is what s.writes was
// before the server was asked.
func (s *server) enter(ctx context.Context, f *view.File, a tree.Attr, since uint64, out *fuse.EntryOut) fuse.Status {
	n := s.known(f, a)
	if n.changedSince(since) {
		if b, err := s.attr(ctx, n); err == nil {
			a = b
		}
	}
	out.NodeId, out.Generation = n.id, 1
	out.SetEntryTimeout(ttl)
	out.SetAttrTimeout(ttl)
	s.fill(n, a, &out.Attr)
	return fuse.OK
}

// known is the node of a file, counted once more.
func (s *server) known(f *view.File, a tree.Attr) *node {
	s.mu.Lock()
	n := s.byNumber[a.ID]
	if n == nil {
		s.last++
		n = &node{id: s.last, number: a.ID, file: f}
		s.nodes[n.id], s.byNumber[a.ID] = n, n
	}
	n.lookups++
	s.mu.Unlock()
	if n.file != f {
		n.file.Moved(f)
	}
	n.mu.Lock()
	n.looked = time.Now()
	n.mu.Unlock()
	return n
}

// seen is when the kernel was last told that the name leads to n.
func (n *node) seen() time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.looked
}

// Forget is the kernel's word that it has forgotten a node count times.
func (s *server) Forget(id, count uint64) {
	s.mu.Lock()
	n := s.nodes[id]
	if n == nil || id == fuse.FUSE_ROOT_ID {
		s.mu.Unlock()
		return
	}
	n.lookups -= min(count, n.lookups)
	gone := n.lookups == 0
	if gone {
		delete(s.nodes, id)
		if s.byNumber[n.number] == n {
			delete(s.byNumber, n.number)
		}
	}
	s.mu.Unlock()
	if gone {
		n.file.Forget()
	}
}

// attr asks for the attributes of a node, by an open handle where its name does
// not lead to it any more.
func (s *server) attr(ctx context.Context, n *node) (tree.Attr, error) {
	if err := n.drain(ctx, s); err != nil {
		s.log.Debug("what was written before a stat has not arrived", "err", err) // the writer is told
	}
	a, err := n.file.Attr(ctx)
	if k := api.KindOf(err); k == api.NotFound || k == api.TooOld {
		for _, h := range n.open() {
			if b, herr := h.file.Attr(ctx); herr == nil {
				return b, nil
			}
		}
	}
	return a, err
}

func (n *node) open() (list []*handle) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for h := range n.handles {
		list = append(list, h)
	}
	return list
}

const blockSize = 128 << 10 // st_blksize: what programs read and write at a time

// fill makes attributes the kernel's.
func (s *server) fill(n *node, a tree.Attr, out *fuse.Attr) {
	if a.Mode&tree.ModeType == tree.ModeSymlink {
		a.Size = int64(len(s.target(n.file, a.Target)))
	}
	sec, nsec := uint64(a.Modified.Unix()), uint32(a.Modified.Nanosecond())
	*out = fuse.Attr{
		Ino: a.ID, Size: uint64(a.Size), Blocks: (uint64(a.Size) + 511) / 512, Blksize: blockSize,
		Atime: sec, Mtime: sec, Ctime: sec, Atimensec: nsec, Mtimensec: nsec, Ctimensec: nsec,
		Mode: a.Mode & (tree.ModeType | tree.ModePerm), Nlink: a.Links, Owner: fuse.Owner{Uid: s.uid, Gid: s.gid},
	}
	if n.tell(a) {
		s.notice(func() { s.conn.InodeNotify(n.id, 0, 0) })
	}
}

// tell notes what the kernel is told; stale says that it cannot see that content
// changed, since neither time nor size did.
func (n *node) tell(a tree.Attr) (stale bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	old := n.told
	n.told = a
	return old.Version != 0 && old.Version != a.Version && old.Size == a.Size && old.Modified.Equal(a.Modified) && !a.IsDir()
}

// notice tells the kernel something about its cache, which may wait for pages
// that requests under way have locked.
func (s *server) notice(fn func()) {
	if s.conn == nil {
		return
	}
	s.wg.Go(fn)
}

func (s *server) GetAttr(cancel <-chan struct{}, in *fuse.GetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	n := s.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	a, err := s.attr(ctx, n)
	if err != nil {
		return s.status(err)
	}
	out.SetTimeout(ttl)
	s.fill(n, a, &out.Attr)
	return fuse.OK
}

func (s *server) SetAttr(cancel <-chan struct{}, in *fuse.SetAttrIn, out *fuse.AttrOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	n := s.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	set, any := wanted(in)
	if err := n.drain(ctx, s); err != nil && set.Size != nil {
		return s.status(err)
	}
	var a tree.Attr
	var err error
	if any {
		a, err = s.change(ctx, n, in, set)
	} else { // owners and times of access are not kept here
		a, err = s.attr(ctx, n)
	}
	if err != nil {
		return s.status(err)
	}
	out.SetTimeout(ttl)
	s.fill(n, a, &out.Attr)
	return fuse.OK
}

// wanted is what a SETATTR asks for of what is kept.
func wanted(in *fuse.SetAttrIn) (set tree.SetAttr, any bool) {
	if m, ok := in.GetMode(); ok {
		perm := m & tree.ModePerm
		set.Perm, any = &perm, true
	}
	if n, ok := in.GetSize(); ok {
		size := int64(min(n, 1<<63-1))
		set.Size, any = &size, true
	}
	if t, ok := in.GetMTime(); ok {
		t = t.Round(time.Nanosecond)
		set.Modified, any = &t, true
	}
	return set, any
}

// change sets attributes, through a handle where that is the only way to the
// file, or the one that the program has.
func (s *server) change(ctx context.Context, n *node, in *fuse.SetAttrIn, set tree.SetAttr) (tree.Attr, error) {
	if fh, ok := in.GetFh(); ok {
		if h := s.handle(fh); h != nil {
			return h.file.SetAttr(ctx, set)
		}
	}
	a, err := n.file.SetAttr(ctx, set)
	if k := api.KindOf(err); k == api.NotFound || k == api.TooOld {
		for _, h := range n.open() {
			if b, herr := h.file.SetAttr(ctx, set); herr == nil {
				return b, nil
			}
		}
	}
	return a, err
}

// Access answers access(2) from the mode bits; what may really be done, the
// server says when it is tried.
func (s *server) Access(cancel <-chan struct{}, in *fuse.AccessIn) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	n := s.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	a, err := s.attr(ctx, n)
	if err != nil {
		return s.status(err)
	}
	bits := (a.Mode>>6 | a.Mode>>3) & 7
	if in.Mask&7&^bits != 0 {
		return fuse.EACCES
	}
	return fuse.OK
}

func (s *server) StatFs(cancel <-chan struct{}, in *fuse.InHeader, out *fuse.StatfsOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	n := s.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	sp, err := n.file.Space(ctx)
	if err != nil {
		return s.status(err)
	}
	const block = 4096
	free := uint64(max(0, sp.FreeBytes)) / block
	*out = fuse.StatfsOut{
		Blocks: uint64(max(0, sp.Bytes)) / block, Bfree: free, Bavail: free,
		Files: uint64(max(0, sp.Files)), Ffree: uint64(max(0, sp.FreeFiles)), Bsize: block, Frsize: block, NameLen: tree.MaxName,
	}
	return fuse.OK
}
