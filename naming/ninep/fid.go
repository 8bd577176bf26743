package ninep

import (
	"context"
	"sync/atomic"
	"syscall"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// fid is a number that the peer gave to a place, and to what it has open there.
type fid struct {
	num   uint32
	queue queue

	// Of the request that has its turn; place is nil before it is made and after
	// its end.
	place   *place
	handle  tree.Handle // of an open file
	listing *listing    // of an open directory
	key     uint64      // of handle among the server's opens
}

// use is what a request does with a fid.
type use struct {
	num uint32
	how uint8
}

const (
	none   = iota
	shares // beside others
	owns   // alone
	makes  // alone; it is not there yet
	ends   // alone; it is gone for those that come behind
)

type uses [2]use

func share(num uint32) uses { return uses{{num, shares}} }

// joinLocked finds the fids of r and queues it for them.
func (r *request) joinLocked() error {
	us := r.m.fids()
	for i, u := range us {
		f := r.s.fids[u.num]
		switch {
		case u.how == none:
			continue
		case u.how == makes:
			var err error
			if f, err = r.s.freshLocked(u.num, f); err != nil {
				return err
			}
			r.fresh = f
		case f == nil:
			return badFid("request", u.num, "is not in use")
		case i == 1 && f == r.fid[0]:
			continue
		}
		r.fid[i] = f
	}
	for i, f := range r.fid {
		if f == nil {
			continue
		}
		if us[i].how == shares {
			r.turns[i] = f.queue.shareLocked()
		} else {
			r.turns[i] = f.queue.ownLocked()
		}
		switch us[i].how {
		case makes:
			r.s.fids[f.num] = f
		case ends:
			delete(r.s.fids, f.num)
		}
	}
	return nil
}

func (s *server) freshLocked(num uint32, old *fid) (*fid, error) {
	switch {
	case old != nil:
		return nil, badFid("request", num, "is in use")
	case num == noFid:
		return nil, badFid("request", num, "cannot be used")
	case len(s.fids) >= s.opts.Fids:
		return nil, api.E(api.Busy, "request", "", "this connection has %d fids already; clunk some", len(s.fids))
	}
	return &fid{num: num}, nil
}

// close ends what is open at f and lets its place go.
func (s *server) close(f *fid) error {
	err := s.closeHandle(f)
	f.place.drop()
	f.place = nil
	return err
}

// closeHandle ends what is open at f, with what was written to it.
func (s *server) closeHandle(f *fid) error {
	if h := s.takeHandle(f); h != nil {
		return h.Close()
	}
	return nil
}

// abandon ends what is open at f. A file that comes to be when it is closed does
// not.
func (s *server) abandon(f *fid) error {
	h := s.takeHandle(f)
	if a, ok := h.(tree.Aborter); ok {
		a.Abort()
		return nil
	}
	if h != nil {
		return h.Close()
	}
	return nil
}

// takeHandle takes from f what is open there; nil: a directory, or nothing.
func (s *server) takeHandle(f *fid) tree.Handle {
	if !f.open() {
		return nil
	}
	s.mu.Lock()
	s.handles--
	if f.listing != nil {
		s.listed -= f.listing.budget
	}
	if s.opens[f.key] == f {
		delete(s.opens, f.key)
	}
	s.mu.Unlock()
	h := f.handle
	f.handle, f.listing = nil, nil
	return h
}

// dropFids ends all; no request runs. Who did not close a file did not finish it.
func (s *server) dropFids() {
	for _, f := range s.fids {
		if f.place != nil {
			s.abandon(f)
			s.close(f)
		}
	}
	clear(s.fids)
}

// roomForHandle counts one more open file or directory.
func (s *server) roomForHandle() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.handles >= s.opts.Handles {
		return &numbered{err: api.E(api.Busy, "open", "", "this connection has %d files open already", s.handles), errno: syscall.EMFILE}
	}
	s.handles++
	return nil
}

func (s *server) handleGone() {
	s.mu.Lock()
	s.handles--
	s.mu.Unlock()
}

// place is a file and the way to it, for "..", rename and remove of a fid. Fids
// and places below share it; the last one to drop it lets the file go.
type place struct {
	file   tree.File
	id     uint64 // of the file; 0: not looked at
	parent *place // nil at the root of an attach
	name   string
	salt   uint64 // of file numbers in this tree
	depth  int
	refs   atomic.Int32
}

const maxDepth = tree.MaxPath / 2

// below makes the place of an entry of p. The new place holds p.
func (p *place) below(name string, file tree.File, a tree.Attr) *place {
	p.refs.Add(1)
	q := &place{file: file, id: a.ID, parent: p, name: name, salt: p.salt, depth: p.depth + 1}
	q.refs.Store(1)
	return q
}

func (p *place) hold() *place {
	p.refs.Add(1)
	return p
}

func (p *place) drop() {
	for p != nil && p.refs.Add(-1) == 0 {
		forget(p.file)
		p = p.parent
	}
}

func forget(f tree.File) {
	if f, ok := f.(tree.Forgetter); ok {
		f.Forget()
	}
}

// same says whether p's name still means p's file: somebody may have renamed it.
func (p *place) same(ctx context.Context, op string) error {
	f, err := p.parent.file.Walk(ctx, p.name)
	if err != nil {
		return err
	}
	defer forget(f)
	a, err := f.Attr(ctx)
	if err != nil {
		return err
	}
	if a.ID != p.id {
		return api.E(api.NotFound, op, p.name, "another file has this name by now")
	}
	return nil
}
