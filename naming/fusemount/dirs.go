package fusemount

import (
	"context"
	"sort"
	"sync"

	"github.com/hanwen/go-fuse/v2/fuse"

	"sigmaos/naming/tree"
	"sigmaos/naming/view"
)

// listing is an open directory. The kernel reads on from a cookie, the number of
// the last entry that it was given; servers read on from a name. The latest page
// is kept, and where each one began: who seeks back further is counted from there.
type listing struct {
	node *node

	mu    sync.Mutex
	marks []mark // pages, by the number of their first entry
	page  []view.Listed
	first uint64 // the number of page[0]
	end   bool   // page is the last one
	since uint64 // what server.writes was before it was read
}

type mark struct {
	first uint64 // entry of a page
	after string // the name before it
}

const (
	dots     = 2    // "." and ".." are the first entries
	pageSize = 1024 // entries that a server is asked for
)

func (s *server) OpenDir(_ <-chan struct{}, in *fuse.OpenIn, out *fuse.OpenOut) fuse.Status {
	n := s.node(in.NodeId)
	if n == nil {
		return fuse.ENOENT
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	s.dirs[s.last] = &listing{node: n}
	out.Fh = s.last
	return fuse.OK
}

func (s *server) ReleaseDir(in *fuse.ReleaseIn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.dirs, in.Fh)
}

func (s *server) FsyncDir(<-chan struct{}, *fuse.FsyncIn) fuse.Status { return fuse.OK }

func (s *server) ReadDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.readDir(cancel, in, out, func(_ context.Context, _ *listing, e fuse.DirEntry, _ view.Listed) bool { return out.AddDirEntry(e) })
}

func (s *server) ReadDirPlus(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList) fuse.Status {
	return s.readDir(cancel, in, out, func(ctx context.Context, l *listing, e fuse.DirEntry, have view.Listed) bool {
		to := out.AddDirLookupEntry(e)
		if to != nil && have.Attr != nil && have.Mode&tree.ModeType != tree.ModeEndpoint {
			s.enterListed(ctx, l, have, to)
		}
		return to != nil
	})
}

// enterListed is enter for an entry of a listing; what may not be true any more
// is left for the kernel to look at.
func (s *server) enterListed(ctx context.Context, l *listing, e view.Listed, out *fuse.EntryOut) {
	f, a, err := l.node.file.Entry(ctx, e.Name, *e.Attr)
	if err != nil {
		return
	}
	s.mu.Lock()
	n := s.byNumber[a.ID]
	s.mu.Unlock()
	if n != nil && n.changedSince(l.since) {
		return
	}
	s.enter(ctx, f, a, l.since, out)
}

// readDir gives the kernel entries for as long as add takes them, of one page at
// most.
func (s *server) readDir(cancel <-chan struct{}, in *fuse.ReadIn, out *fuse.DirEntryList,
	add func(context.Context, *listing, fuse.DirEntry, view.Listed) bool) fuse.Status {
	ctx, done := s.begin(cancel, short)
	defer done()
	l := s.listing(in.Fh)
	if l == nil {
		return fuse.EBADF
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	at := in.Offset
	for ; at < dots; at++ {
		e := fuse.DirEntry{Name: ".."[:at+1], Mode: tree.ModeDir, Off: at + 1}
		if at == 0 {
			e.Ino = l.node.file.Number()
		}
		if !add(ctx, l, e, view.Listed{}) {
			return fuse.OK
		}
	}
	list, err := l.from(ctx, s, at-dots)
	if err != nil {
		if at > in.Offset { // the dots first
			return fuse.OK
		}
		return s.status(err)
	}
	for _, e := range list {
		at++
		d := fuse.DirEntry{Name: e.Name, Ino: l.node.file.NumberOf(e.ID), Mode: l.node.file.TypeOf(e), Off: at}
		if !add(ctx, l, d, e) {
			break
		}
	}
	return fuse.OK
}

// from returns entries beginning with number i; none: that is the end.
func (l *listing) from(ctx context.Context, s *server, i uint64) ([]view.Listed, error) {
	if i == 0 || l.marks == nil { // from the beginning is anew
		l.marks, l.page = []mark{{}}, nil
	}
	for {
		if n := uint64(len(l.page)); l.page != nil {
			switch next := l.first + n; {
			case i >= l.first && i < next:
				return l.page[i-l.first:], nil
			case i >= l.first && l.end:
				return nil, nil
			case i >= next: // what was given behind it before is void
				k := sort.Search(len(l.marks), func(k int) bool { return l.marks[k].first >= next })
				l.marks = append(l.marks[:k], mark{next, l.page[n-1].Name})
			}
		}
		k := sort.Search(len(l.marks), func(k int) bool { return l.marks[k].first > i })
		if err := l.read(ctx, s, l.marks[k-1]); err != nil {
			return nil, err
		}
	}
}

// read gets the page that begins at m.
func (l *listing) read(ctx context.Context, s *server, m mark) error {
	since := s.writes.Load()
	list, end, err := l.node.file.List(ctx, m.after, pageSize)
	if err != nil {
		return err
	}
	if list == nil {
		list = []view.Listed{}
	}
	l.page, l.first, l.end, l.since = list, m.first, end, since
	return nil
}
