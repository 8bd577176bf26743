package roles

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
	"sigmaos/naming/ux"
	"sigmaos/net/control"
	"sigmaos/net/fdpass"
)

// root connects with a realm's root as σOS itself.
func (s *System) root(ctx context.Context, c api.Caller) (*ninep.Client, *ninep.Fid, error) {
	p, err := s.Proxy.Dial(ctx, c, api.Target{Service: namedService})
	if err != nil {
		return nil, nil, err
	}
	conn, err := connOf(p)
	if err != nil {
		return nil, nil, err
	}
	cl, err := ninep.NewClient(ctx, conn)
	if err != nil {
		return nil, nil, err
	}
	root, _, err := cl.Attach(ctx, "", nil)
	if err != nil {
		cl.Close()
		return nil, nil, err
	}
	return cl, root, nil
}

// connOf makes a connection of what Dial gave.
func connOf(p control.Passed) (*fdpass.Conn, error) { return fdpass.New(p.FD) }

// links is what this node shows in every realm: directories of the root, each
// with an entry for each node that serves it.
type links struct {
	wake   chan struct{} // holds one: there is something to show
	passed chan struct{} // holds one: the loop has looked at every realm
	whole  atomic.Int64  // services that every realm has, as of then

	mu   sync.Mutex
	list []shownService
}

func (l *links) init() { l.wake, l.passed = make(chan struct{}, 1), make(chan struct{}, 1) }

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

type shownService struct{ dir, service string }

// publish has a service of this node shown as /DIR/NODE in every realm.
func (s *System) publish(dir, service string) {
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	s.shown.list = append(s.shown.list, shownService{dir, service})
	signal(s.shown.wake)
}

// shownTime bounds how long a node's start waits for its links: a realm's leader
// may have died, and be there again after its lease only.
const shownTime = time.Second

// awaitShown returns when every realm has this node's links, or after a while
// without.
func (s *System) awaitShown(ctx context.Context) {
	late := time.NewTimer(shownTime)
	defer late.Stop()
	for s.shown.whole.Load() < int64(len(s.published())) {
		select {
		case <-s.shown.passed:
		case <-late.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

func (s *System) published() []shownService {
	s.shown.mu.Lock()
	defer s.shown.mu.Unlock()
	return slices.Clone(s.shown.list)
}

// publishLinks keeps the links to this node's services in every realm.
func (s *System) publishLinks(ctx context.Context) {
	have := make(map[string]*nodeLinks)
	defer func() {
		for _, l := range have {
			l.close()
		}
	}()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		live := make(map[string]bool)
		whole := len(s.published())
		for _, r := range s.Realms.List() {
			live[r.ID] = true
			l := have[r.ID]
			if l != nil && l.alive() {
				s.extend(ctx, r.ID, l)
				whole = min(whole, l.n)
				continue
			}
			if l != nil {
				l.close()
				delete(have, r.ID)
			}
			if q := r.Quota.Scratch; q > 0 {
				if err := s.ux.SetQuota(r.ID, ux.Quota{Bytes: q}); err != nil {
					s.Log.Warn("a realm's quota of scratch", "realm", r.Name, "err", err)
				}
			}
			n, err := s.linkNode(ctx, r.ID)
			if err != nil {
				s.Log.Debug("this node is not in the names yet", "realm", r.Name, "err", err)
				whole = 0
				continue
			}
			have[r.ID] = n
			whole = min(whole, n.n)
		}
		for id, l := range have {
			if !live[id] {
				l.close()
				delete(have, id)
				s.realmGone(ctx, id)
			}
		}
		s.shown.whole.Store(int64(whole))
		signal(s.shown.passed)
		select {
		case <-ctx.Done():
			return
		case <-s.shown.wake:
		case <-tick.C:
		}
	}
}

// nodeLinks is /ux/NODE and the like in one realm: endpoint links that go with
// their lease, which is renewed as long as this node lives.
type nodeLinks struct {
	c     *ninep.Client
	root  *ninep.Fid
	n     int // links that are there, of those published
	lease string
	stop  context.CancelFunc
	done  chan struct{}
}

// linkLease is how long the links of a node that died stay.
const linkLease = 10 * time.Second

func (s *System) linkNode(ctx context.Context, realm string) (_ *nodeLinks, err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	c, root, err := s.root(ctx, s.system(realm))
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			c.Close()
		}
	}()
	lease, err := c.Grant(ctx, linkLease)
	if err != nil {
		return nil, err
	}
	kctx, stop := context.WithCancel(context.Background())
	l := &nodeLinks{c: c, root: root, lease: lease, stop: stop, done: make(chan struct{})}
	if err := s.addLinks(ctx, realm, l); err != nil {
		stop()
		return nil, err
	}
	go l.keep(kctx)
	return l, nil
}

// extend adds what was published since.
func (s *System) extend(ctx context.Context, realm string, l *nodeLinks) {
	if l.n == len(s.published()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	if err := s.addLinks(ctx, realm, l); err != nil {
		s.Log.Debug("this node is not all in the names yet", "realm", realm, "err", err)
	}
}

// addLinks makes the links that are not there yet, under the one lease.
func (s *System) addLinks(ctx context.Context, realm string, l *nodeLinks) error {
	for _, p := range s.published()[l.n:] {
		err := s.linkOne(ctx, l.root, p, l.lease)
		switch api.KindOf(err) {
		case "":
		case api.NotDir, api.Invalid, api.Exists: // the realm has something else there
			s.Log.Debug("a link has no place", "realm", realm, "dir", p.dir, "err", err)
		default:
			return err
		}
		l.n++
	}
	return nil
}

// linkOne makes one link, and its directory where that is not there.
func (s *System) linkOne(ctx context.Context, root *ninep.Fid, l shownService, lease string) error {
	if fid, _, err := root.Create(ctx, tree.NewFile{Mode: tree.ModeDir | 0o775, Exclusive: true}, l.dir); err == nil {
		fid.Forget()
	} else if api.KindOf(err) != api.Exists {
		return err
	}
	link := tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: "svc:" + l.service + "@" + s.Config.Node, Lease: lease}
	fid, _, err := root.Create(ctx, link, l.dir, s.Config.Node)
	if api.KindOf(err) == api.Exists { // of our last boot, whose lease has not ended yet
		if _, err = root.Remove(ctx, false, l.dir, s.Config.Node); err == nil || api.KindOf(err) == api.NotFound {
			fid, _, err = root.Create(ctx, link, l.dir, s.Config.Node)
		}
	}
	if err == nil {
		fid.Forget()
	}
	return err
}

// keep renews the lease until close; when that fails the connection ends, and
// the link is made anew.
func (l *nodeLinks) keep(ctx context.Context) {
	defer close(l.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.c.Done():
			return
		case <-time.After(linkLease / 4):
		}
		rctx, cancel := context.WithTimeout(ctx, linkLease/2)
		err := l.c.Renew(rctx, l.lease)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.c.Close()
			return
		}
	}
}

func (l *nodeLinks) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

func (l *nodeLinks) close() {
	l.stop()
	<-l.done
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	select {
	case <-l.c.Done():
	default:
		l.c.Revoke(ctx, l.lease)
	}
	l.c.Close()
}

// dropNames removes a realm's names and this node's scratch of it.
func (s *System) dropNames(ctx context.Context, realm string) error {
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		err := s.Trees.DropRealm(ctx, realm)
		if err == nil {
			break
		}
		if k := api.KindOf(err); k != api.Busy && k != api.Unavailable || time.Now().After(end) || ctx.Err() != nil {
			return err
		}
	}
	s.events.Drop(realm)
	return errors.Join(s.ux.RemoveRealm(ctx, realm), s.dropBuckets(realm), s.dropDatabase(realm))
}

// realmGone ends what a realm that was removed elsewhere still has here.
func (s *System) realmGone(ctx context.Context, realm string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if d := s.running.Load(); d != nil {
		if err := d.EndRealm(ctx, api.Realm{ID: realm, Name: realm}); err != nil {
			s.Log.Warn("a removed realm", "realm", realm, "err", err)
		}
	}
	if err := s.dropDatabase(realm); err != nil {
		s.Log.Warn("the database of a removed realm", "realm", realm, "err", err)
	}
	if err := s.dropBuckets(realm); err != nil {
		s.Log.Warn("buckets of a removed realm", "realm", realm, "err", err)
	}
	s.events.Drop(realm)
	if err := s.ux.RemoveRealm(ctx, realm); err != nil {
		s.Log.Warn("scratch of a removed realm", "realm", realm, "err", err)
	}
}
