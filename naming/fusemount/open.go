package fusemount

import (
	"context"
	"io"
	"os"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"

	"sigmaos/api"
	"sigmaos/naming/tree"
	"sigmaos/naming/view"
)

// handle is an open file.
type handle struct {
	node   *node
	file   *view.Handle
	mode   tree.OpenMode
	sync   bool     // O_SYNC or O_DSYNC
	local  *os.File // the file itself, when it is on this machine and only read
	cached bool     // its reads and writes go through the page cache
	passes bool     // it counts in node.backing
	late   bool     // what is written is there when the file is closed (tree.CreateOpener)

	err error // of a piece that did not arrive, not told yet; guarded by node.mu
}

// takeErrLocked is an error that the program must hear of, once.
func (h *handle) takeErrLocked() error {
	err := h.err
	h.err = nil
	return err
}

// throughLocked says that nothing of h may be written behind: others put their
// bytes at the end too, or read past this process, or the program waits for the
// disk, or the server may refuse what is no plain writing on.
func (h *handle) throughLocked() bool {
	return h.mode.Append || h.sync || h.late || h.node.backing != nil
}

func (h *handle) takeErr() error {
	h.node.mu.Lock()
	defer h.node.mu.Unlock()
	return h.takeErrLocked()
}

func modeOf(flags uint32) tree.OpenMode {
	var m tree.OpenMode
	switch flags & syscall.O_ACCMODE {
	case syscall.O_WRONLY:
		m.Write = true
	case syscall.O_RDWR:
		m.Read, m.Write = true, true
	default:
		m.Read = true
	}
	m.Append = m.Write && flags&syscall.O_APPEND != 0
	return m
}

func (s *server) Open(cancel <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	n := s.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	if err := n.drain(ctx, s); err != nil { // so that the version is that of what was written
		return s.status(err)
	}
	m := modeOf(in.Flags)
	f, a, err := n.file.OpenFile(ctx, m)
	if api.KindOf(err) == api.TooOld && time.Since(n.seen()) < fresh {
		// The kernel has just looked; its next look may find yet another one. The
		// program gets what the name leads to now.
		f, a, err = n.file.OpenNow(ctx, m)
	}
	if err != nil {
		return s.status(err)
	}
	s.opened(ctx, n, &handle{node: n, file: f, mode: m, sync: in.Flags&syscall.O_DSYNC != 0}, a, out)
	return fuse.OK
}

// fresh is how long after a look the kernel's opening belongs to it.
const fresh = 200 * time.Millisecond

func (s *server) Create(cancel <-chan struct{}, in *fuse.CreateIn, name string, out *fuse.CreateOut) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	dir, st := s.dir(in.NodeId, name)
	if st != fuse.OK {
		return st
	}
	m := modeOf(in.Flags)
	m.Truncate = m.Write && in.Flags&syscall.O_TRUNC != 0
	since := s.writes.Load()
	f, g, a, err := dir.file.MakeFile(ctx, name, tree.NewFile{
		Mode: tree.ModeFile | in.Mode&tree.ModePerm, Exclusive: in.Flags&syscall.O_EXCL != 0,
	}, m)
	if err != nil {
		return s.status(err)
	}
	m.Truncate = false
	if st := s.enter(ctx, g, a, since, &out.EntryOut); st != fuse.OK {
		f.Close()
		return st
	}
	n := s.node(out.NodeId)
	s.opened(ctx, n, &handle{node: n, file: f, mode: m, sync: in.Flags&syscall.O_DSYNC != 0}, a, &out.OpenOut)
	return fuse.OK
}

// opened gives a file that was opened a handle, and tells the kernel how to read
// and write it.
func (s *server) opened(ctx context.Context, n *node, h *handle, a tree.Attr, out *fuse.OpenOut) {
	if h.mode.Read && !h.mode.Write {
		h.local, _ = h.file.Descriptor()
	}
	n.mu.Lock()
	if n.handles == nil {
		n.handles = make(map[*handle]struct{})
	}
	n.handles[h] = struct{}{}
	h.late = h.mode.Write && a.Links == 0
	keep := a.Version != 0 && a.Version == n.opened
	n.opened = a.Version
	forgotten := a.Version != n.told.Version
	other := a.ID != n.number && n.id != fuse.FUSE_ROOT_ID
	s.chooseLocked(n, h, other, out)
	n.mu.Unlock()
	if h.cached && keep {
		out.OpenFlags |= fuse.FOPEN_KEEP_CACHE
	}
	if h.passes { // what was written behind until now must be in the file
		n.drain(ctx, s)
	}
	if forgotten && s.conn != nil {
		s.conn.InodeNotify(n.id, -1, 0) // attributes alone: it waits for no page
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.handles[s.last] = h
	out.Fh = s.last
}

// chooseLocked decides how h reads and writes. The kernel has one rule: while
// passthrough is used for a file nobody may use the page cache for it, and the
// other way round. other says that h is another file than n, which was replaced.
func (s *server) chooseLocked(n *node, h *handle, other bool, out *fuse.OpenOut) {
	direct := h.mode.Write && !h.mode.Read || h.mode.Append || other
	switch {
	case n.backing != nil:
		n.backing.users++
		h.passes = true
		out.BackingID = n.backing.id
		out.OpenFlags |= fuse.FOPEN_PASSTHROUGH
		if h.local == nil || !n.backing.is(h.local) {
			out.OpenFlags |= fuse.FOPEN_DIRECT_IO // its reads and writes come here; a mapping of memory does not
		}
	case direct:
		out.OpenFlags |= fuse.FOPEN_DIRECT_IO
	case h.local != nil && n.cached == 0 && s.passLocked(n, h):
		out.BackingID = n.backing.id
		out.OpenFlags |= fuse.FOPEN_PASSTHROUGH
	default:
		h.cached = true
		n.cached++
	}
}

func (s *server) Release(_ <-chan struct{}, in *fuse.ReleaseIn) {
	s.mu.Lock()
	h := s.handles[in.Fh]
	delete(s.handles, in.Fh)
	s.mu.Unlock()
	if h == nil {
		return
	}
	ctx, done := s.begin(nil, long)
	defer done()
	n := h.node
	if err := n.drain(ctx, s); err != nil {
		s.log.Warn("not all that was written has arrived", "err", err)
	}
	n.mu.Lock()
	delete(n.handles, h)
	if h.cached {
		n.cached--
	}
	if h.passes {
		s.passedLocked(n)
	}
	n.mu.Unlock()
	if h.local != nil {
		h.local.Close()
	}
	h.file.Close()
}

func (s *server) Read(cancel <-chan struct{}, in *fuse.ReadIn, buf []byte) (fuse.ReadResult, fuse.Status) {
	h := s.handle(in.Fh)
	if h == nil {
		return nil, fuse.EBADF
	}
	ctx, done := s.begin(cancel, long)
	defer done()
	if err := h.node.drain(ctx, s); err != nil {
		return nil, s.status(err)
	}
	if h.local != nil {
		return fuse.ReadResultFd(h.local.Fd(), int64(in.Offset), int(in.Size)), fuse.OK
	}
	n, err := h.file.ReadAt(ctx, buf[:min(len(buf), int(in.Size))], int64(in.Offset))
	if err != nil && err != io.EOF && n == 0 {
		return nil, s.status(err)
	}
	return fuse.ReadResultData(buf[:n]), fuse.OK
}

func (s *server) Write(cancel <-chan struct{}, in *fuse.WriteIn, data []byte) (uint32, fuse.Status) {
	h := s.handle(in.Fh)
	if h == nil {
		return 0, fuse.EBADF
	}
	ctx, done := s.begin(cancel, long)
	defer done()
	n, err := h.node.write(ctx, s, h, data, int64(in.Offset))
	if err == nil && n < len(data) {
		var k int
		k, err = s.through(ctx, h, data[n:], int64(in.Offset)+int64(n))
		n += k
	}
	if n == 0 && err != nil {
		return 0, s.status(err)
	}
	return uint32(n), fuse.OK
}

// through writes to the server.
func (s *server) through(ctx context.Context, h *handle, data []byte, off int64) (int, error) {
	if err := s.settled(ctx, h); err != nil {
		return 0, err
	}
	n, err := h.file.WriteAt(ctx, data, off)
	s.arrived(h.node)
	if err == nil && h.sync {
		err = h.file.Sync(ctx)
	}
	if err != nil && h.sync {
		n = 0
	}
	return n, err
}

// settled returns when all that was written to h's file has arrived, or the
// error of what did not.
func (s *server) settled(ctx context.Context, h *handle) error {
	if err := h.node.drain(ctx, s); err != nil {
		return err
	}
	return h.takeErr()
}

// Flush is a close(2).
func (s *server) Flush(cancel <-chan struct{}, in *fuse.FlushIn) fuse.Status {
	h := s.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	ctx, done := s.begin(cancel, long)
	defer done()
	err := s.settled(ctx, h)
	if err == nil && h.late { // close(2) tells whether it is there, release cannot
		err = h.file.Sync(ctx)
	}
	return s.status(err)
}

func (s *server) Fsync(cancel <-chan struct{}, in *fuse.FsyncIn) fuse.Status {
	h := s.handle(in.Fh)
	if h == nil {
		return fuse.EBADF
	}
	ctx, done := s.begin(cancel, long)
	defer done()
	if err := s.settled(ctx, h); err != nil {
		return s.status(err)
	}
	return s.status(h.file.Sync(ctx))
}
