package ux

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/cleanup"
	"sigmaos/naming/tree"
)

// realm is one tenant's tree.
type realm struct {
	s  *Server
	id string

	home, tree, tmp int // directories; closed by shut
	temps           atomic.Uint64

	// ns guards the places of files: held for reading by who goes by a path, for
	// writing by who makes, moves or removes an entry. Content is not written
	// under it.
	ns     sync.RWMutex
	closed error // set for good by shut
	done   chan struct{}
	root   *node

	tab   sync.Mutex // see node.children
	gates [32]sync.Mutex

	hist    *history
	ledger  ledger
	table   table
	fences  fences
	replays replays
	lists   listings
	puts    chan struct{} // holds a token for each Put with data under way
}

// openRealm opens the directory of a realm; with make, also a new one.
func (s *Server) openRealm(ctx context.Context, id string, make bool) (_ *realm, err error) {
	home := filepath.Join(s.cfg.Dir, "realms", id)
	if make {
		if err := os.Mkdir(home, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return nil, s.fail("realm", id, err)
		}
	}
	epoch, err := s.nextEpoch()
	if err != nil {
		return nil, s.fail("realm", id, err)
	}
	r := s.newRealm(id, epoch)
	undo := cleanup.Make(r.closeDirs)
	defer undo.Clean()
	if err := r.openDirs(); err != nil {
		if errors.Is(err, unix.ENOENT) {
			return nil, api.E(api.NotFound, "realm", id, "it has no files on node %s", s.cfg.Node)
		}
		return nil, s.fail("realm", id, err)
	}
	began := time.Now()
	if err := r.recover(ctx); err != nil {
		return nil, s.fail("realm", id, err)
	}
	undo.Release()
	_, used := r.ledger.read()
	s.log.Info("realm opened", "realm", id, "bytes", used.Bytes, "files", used.Inodes, "took", time.Since(began).Round(time.Millisecond))
	return r, nil
}

func (s *Server) newRealm(id string, epoch uint64) *realm {
	r := &realm{
		s: s, id: id, home: -1, tree: -1, tmp: -1, done: make(chan struct{}),
		hist: newHistory(epoch<<40, s.cfg.History), puts: make(chan struct{}, maxPuts),
	}
	r.ledger.limit = s.quota(id)
	r.table.open = make(map[*node]struct{})
	r.table.handed = make(map[*node]struct{})
	return r
}

func (r *realm) openDirs() (err error) {
	if r.home, err = openBeneath(r.s.realmsDir, r.id, asDirectory); err != nil {
		return err
	}
	for _, d := range []struct {
		name string
		fd   *int
	}{{"tree", &r.tree}, {"tmp", &r.tmp}} {
		if err := unix.Mkdirat(r.home, d.name, 0o700); err != nil && err != unix.EEXIST {
			return err
		}
		if *d.fd, err = openBeneath(r.home, d.name, asDirectory); err != nil {
			return err
		}
	}
	return nil
}

func (r *realm) closeDirs() {
	for _, fd := range []*int{&r.tree, &r.tmp, &r.home} {
		if *fd >= 0 {
			unix.Close(*fd)
		}
		*fd = -1
	}
}

// recover clears what a crash left, counts what there is, and finds the root.
func (r *realm) recover(ctx context.Context) error {
	if err := emptyDir(ctx, r.tmp); err != nil {
		return err
	}
	used, err := count(ctx, r.tree)
	if err != nil {
		return err
	}
	r.ledger.used = used
	if err := r.fences.load(r.home); err != nil {
		return err
	}
	if m, err := readMeta(r.tree); err != nil {
		return err
	} else if m == nil {
		v := r.fresh()
		if err := writeMeta(r.tree, &meta{mode: tree.ModeDir | 0o775, id: v, version: v, undo: -1}); err != nil {
			return err
		}
	}
	r.root, err = r.load(nil, "")
	return err
}

// shut ends the realm: whoever still uses it gets why. All versions are on the
// disk afterwards.
func (r *realm) shut(why error) {
	r.ns.Lock()
	if r.closed != nil {
		r.ns.Unlock()
		return
	}
	r.closed = why
	close(r.done) // ends watches
	r.ns.Unlock()
	r.closeFiles()
	// Nobody goes by a path any more: those who did held ns.
	r.closeDirs()
}

// enter begins an operation that goes by a path; leave ends it.
func (r *realm) enter() error {
	r.ns.RLock()
	if r.closed != nil {
		r.ns.RUnlock()
		return r.closed
	}
	return nil
}

// why is the reason for which handles do not work any more.
func (r *realm) why() error {
	<-r.done // set before any file is closed
	return r.closed
}

func (r *realm) leave() { r.ns.RUnlock() }

// alter begins an operation that changes the tree's shape; altered ends it.
func (r *realm) alter() error {
	r.ns.Lock()
	if r.closed != nil {
		r.ns.Unlock()
		return r.closed
	}
	return nil
}

func (r *realm) altered() { r.ns.Unlock() }

// attach walks to aname for a caller.
func (r *realm) attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	switch {
	case len(aname) > tree.MaxPath:
		return nil, api.E(api.TooLarge, "attach", "", "the path has %d bytes; the limit is %d", len(aname), tree.MaxPath)
	case len(c.User) > maxUser:
		return nil, api.E(api.TooLarge, "attach", "", "the user's name has %d bytes; the limit is %d", len(c.User), maxUser)
	}
	f := &file{r: r, n: r.root, c: c}
	if fence != nil {
		f.fence = &tree.Fence{Path: fence.Path, Epoch: fence.Epoch}
		if err := r.sawTerm(ctx, *fence); err != nil {
			return nil, err
		}
	}
	var at tree.File = f
	for name := range strings.SplitSeq(aname, "/") {
		if name == "" {
			continue
		}
		var err error
		if at, err = at.Walk(ctx, name); err != nil {
			return nil, err
		}
	}
	return at, nil
}
