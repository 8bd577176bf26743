package ux

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/cleanup"
	"sigmaos/naming/tree"
)

// Server is the scratch space of one node.
type Server struct {
	cfg  Config
	log  *slog.Logger
	lock *os.File // held locked while the server lives

	realmsDir, trashDir int
	disk                disk
	hands               bool // descriptors may be handed out: it can be told when they are closed

	stop context.CancelFunc // ends wg's goroutines
	ctx  context.Context
	wg   sync.WaitGroup

	purging chan struct{} // a token: one goroutine at a time empties the trash

	mu      sync.Mutex
	closed  bool
	realms  map[string]*opening
	removed map[string]bool // realms, for good: an id is not given out twice
	quotas  map[string]Quota
	epoch   uint64 // given out last
	reserve uint64 // epochs below it are on the disk as given out
}

// opening is a realm that is open or about to be.
type opening struct {
	create bool          // also when there is nothing yet
	done   chan struct{} // closed when the rest is set
	r      *realm
	err    error
}

// Open serves cfg.Dir, which no other server may be serving. The caller closes
// the server.
func Open(cfg Config) (*Server, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	s := &Server{
		cfg: cfg, log: cfg.Logger, realms: make(map[string]*opening), removed: make(map[string]bool), quotas: make(map[string]Quota),
		purging: make(chan struct{}, 1), realmsDir: -1, trashDir: -1,
	}
	s.ctx, s.stop = context.WithCancel(context.Background())
	undo := cleanup.Make(s.closeDirs)
	defer undo.Clean()
	if err := s.openDirs(); err != nil {
		return nil, err
	}
	if err := s.probe(); err != nil {
		return nil, err
	}
	if err := s.disk.measure(cfg.KeepFree); err != nil {
		return nil, s.fail("ux", cfg.Dir, err)
	}
	if err := s.readEpoch(); err != nil {
		return nil, err
	}
	undo.Release()
	s.wg.Go(func() {
		if err := s.purge(s.ctx, ""); err != nil && s.ctx.Err() == nil {
			s.log.Error("what is left of removed realms cannot be removed", "err", err)
		}
	})
	return s, nil
}

func (s *Server) openDirs() (err error) {
	for _, d := range []string{"", "realms", "trash"} {
		if err := os.MkdirAll(filepath.Join(s.cfg.Dir, d), 0o700); err != nil {
			return api.E(api.Unavailable, "ux", s.cfg.Dir, "%v", err)
		}
	}
	if err := os.Chmod(s.cfg.Dir, 0o700); err != nil {
		return api.E(api.Unavailable, "ux", s.cfg.Dir, "%v", err)
	}
	if s.lock, err = os.OpenFile(filepath.Join(s.cfg.Dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600); err != nil {
		return api.E(api.Unavailable, "ux", s.cfg.Dir, "%v", err)
	}
	if err := unix.Flock(int(s.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		return api.E(api.Busy, "ux", s.cfg.Dir, "another server uses this directory; stop it, or configure another one")
	}
	for _, d := range []struct {
		name string
		fd   *int
	}{{"realms", &s.realmsDir}, {"trash", &s.trashDir}} {
		if *d.fd, err = unix.Open(filepath.Join(s.cfg.Dir, d.name), asDirectory|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0); err != nil {
			return api.E(api.Unavailable, "ux", s.cfg.Dir, "%s: %v", d.name, err)
		}
	}
	s.disk.fd = s.realmsDir
	return nil
}

func (s *Server) closeDirs() {
	for _, fd := range []int{s.realmsDir, s.trashDir} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
	if s.lock != nil {
		s.lock.Close()
	}
}

// probe says whether kernel and file system can do what is built upon.
func (s *Server) probe() error {
	fd, err := openBeneath(s.realmsDir, ".", asDirectory)
	if err != nil {
		return api.E(api.Unsupported, "ux", s.cfg.Dir, "this kernel has no openat2 (%v); Linux 5.6 or later is needed", err)
	}
	defer unix.Close(fd)
	err = retry(func() error { return unix.Fsetxattr(fd, metaAttr+".probe", []byte{1}, 0) })
	if err == nil {
		err = unix.Fremovexattr(fd, metaAttr+".probe")
	}
	if err != nil {
		return api.E(api.Unsupported, "ux", s.cfg.Dir, "its file system keeps no user attributes (%v); use ext4, xfs, btrfs, or tmpfs since Linux 6.6", err)
	}
	if s.hands = !heldElsewhere(int(s.lock.Fd())); !s.hands {
		s.log.Warn("this file system has no leases: procs read scratch files through sigmad", "dir", s.cfg.Dir)
	}
	return nil
}

// Close ends every watch, handle and File.
func (s *Server) Close() error {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil
	}
	s.closed = true
	realms := s.realms
	s.realms = nil
	s.mu.Unlock()
	s.stop()
	s.wg.Wait()
	for _, o := range realms {
		if <-o.done; o.r != nil {
			o.r.shut(s.errClosed())
		}
	}
	s.closeDirs()
	return nil
}

func (s *Server) errClosed() error {
	return api.E(api.Unavailable, "ux", "", "the scratch space of node %s is closed", s.cfg.Node)
}

// realm returns an open realm, which is opened first where need be: that takes
// a second for each few hundred thousand files.
func (s *Server) realm(ctx context.Context, id string, make bool) (*realm, error) {
	if err := checkRealm("realm", id); err != nil {
		return nil, err
	}
	for {
		o, err := s.opening(id, make)
		if err != nil {
			return nil, err
		}
		select {
		case <-o.done:
		case <-ctx.Done():
			return nil, api.E(api.Deadline, "realm", id, "its files are being counted: %v", ctx.Err())
		}
		// Who only looked, and found nothing, decides nothing for who makes it.
		if make && !o.create && api.KindOf(o.err) == api.NotFound {
			continue
		}
		return o.r, o.err
	}
}

func (s *Server) opening(id string, create bool) (*opening, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, s.errClosed()
	}
	if s.removed[id] {
		return nil, errRemoved(id)
	}
	if o := s.realms[id]; o != nil {
		return o, nil
	}
	o := &opening{create: create, done: make(chan struct{})}
	s.realms[id] = o
	s.wg.Go(func() {
		o.r, o.err = s.openRealm(s.ctx, id, create)
		if o.err != nil { // the next one tries again
			s.mu.Lock()
			if s.realms[id] == o {
				delete(s.realms, id)
			}
			s.mu.Unlock()
		}
		close(o.done)
	})
	return o, nil
}

func errRemoved(id string) error {
	return api.E(api.NotFound, "realm", id, "there is no such realm")
}

// FS is the tree of whoever attaches.
func (s *Server) FS() tree.FS { return view{s, ""} }

// Realm is the tree of one realm; callers of others find nothing there.
func (s *Server) Realm(id string) tree.FS { return view{s, id} }

type view struct {
	s  *Server
	id string
}

func (v view) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	id := v.id
	switch {
	case id == "" && c.Realm == "":
		return nil, api.E(api.Invalid, "attach", aname, "no realm is chosen")
	case id == "":
		id = c.Realm
	case c.Realm != id && !(c.Operator && c.Realm == ""):
		return nil, api.E(api.NotFound, "attach", aname, "there is no such file")
	}
	r, err := v.s.realm(ctx, id, true)
	if err != nil {
		return nil, err
	}
	return r.attach(ctx, c, aname, fence)
}

// SetQuota changes the room of a realm, now and for the life of this server. A
// zero field is the default. What is over a smaller quota stays. It waits for a
// realm that is being opened.
func (s *Server) SetQuota(id string, q Quota) error {
	if err := checkRealm("quota", id); err != nil {
		return err
	}
	if q.Bytes < 0 || q.Inodes < 0 {
		return api.E(api.Invalid, "quota", id, "a quota below zero")
	}
	def(&q.Bytes, s.cfg.Quota.Bytes)
	def(&q.Inodes, s.cfg.Quota.Inodes)
	s.mu.Lock()
	s.quotas[id] = q
	o := s.realms[id]
	s.mu.Unlock()
	if o == nil {
		return nil
	}
	if <-o.done; o.r != nil {
		o.r.ledger.setLimit(q)
	}
	return nil
}

func (s *Server) quota(id string) Quota {
	s.mu.Lock()
	defer s.mu.Unlock()
	if q, ok := s.quotas[id]; ok {
		return q
	}
	return s.cfg.Quota
}

// Usage tells what a realm uses on this node.
func (s *Server) Usage(ctx context.Context, id string) (Usage, error) {
	r, err := s.realm(ctx, id, false)
	if err != nil {
		return Usage{}, err
	}
	r.sweep()
	var u Usage
	u.Quota, u.Used = r.ledger.read()
	u.Open, u.Handed = r.table.count()
	return u, nil
}
