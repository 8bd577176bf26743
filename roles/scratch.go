package roles

import (
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
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

// publishScratch keeps a link to this node's scratch in every realm.
func (s *System) publishScratch(ctx context.Context) {
	have := make(map[string]*scratchLink)
	defer func() {
		for _, l := range have {
			l.close()
		}
	}()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for {
		live := make(map[string]bool)
		for _, r := range s.Realms.List() {
			live[r.ID] = true
			l := have[r.ID]
			if l != nil && l.alive() {
				continue
			}
			if l != nil {
				l.close()
				delete(have, r.ID)
			}
			n, err := s.linkScratch(ctx, r.ID)
			if err != nil {
				s.Log.Debug("scratch is not in the names yet", "realm", r.Name, "err", err)
				continue
			}
			have[r.ID] = n
		}
		for id, l := range have {
			if !live[id] {
				l.close()
				delete(have, id)
				s.realmGone(ctx, id)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// scratchLink is /ux/NODE in one realm: an endpoint link that goes with its
// lease, which is renewed as long as this node lives.
type scratchLink struct {
	c     *ninep.Client
	lease string
	stop  context.CancelFunc
	done  chan struct{}
}

// scratchLease is how long the link of a node that died stays.
const scratchLease = 10 * time.Second

func (s *System) linkScratch(ctx context.Context, realm string) (_ *scratchLink, err error) {
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
	if fid, _, err := root.Create(ctx, tree.NewFile{Mode: tree.ModeDir | 0o775, Exclusive: true}, "ux"); err == nil {
		fid.Forget()
	} else if api.KindOf(err) != api.Exists {
		return nil, err
	}
	lease, err := c.Grant(ctx, scratchLease)
	if err != nil {
		return nil, err
	}
	link := tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: "svc:" + uxService + "@" + s.Config.Node, Lease: lease}
	fid, _, err := root.Create(ctx, link, "ux", s.Config.Node)
	if api.KindOf(err) == api.Exists { // of our last boot, whose lease has not ended yet
		if _, err = root.Remove(ctx, false, "ux", s.Config.Node); err == nil || api.KindOf(err) == api.NotFound {
			fid, _, err = root.Create(ctx, link, "ux", s.Config.Node)
		}
	}
	if err != nil {
		return nil, err
	}
	fid.Forget()
	kctx, stop := context.WithCancel(context.Background())
	l := &scratchLink{c: c, lease: lease, stop: stop, done: make(chan struct{})}
	go l.keep(kctx)
	return l, nil
}

// keep renews the lease until close; when that fails the connection ends, and
// the link is made anew.
func (l *scratchLink) keep(ctx context.Context) {
	defer close(l.done)
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.c.Done():
			return
		case <-time.After(scratchLease / 4):
		}
		rctx, cancel := context.WithTimeout(ctx, scratchLease/2)
		err := l.c.Renew(rctx, l.lease)
		cancel()
		if err != nil && ctx.Err() == nil {
			l.c.Close()
			return
		}
	}
}

func (l *scratchLink) alive() bool {
	select {
	case <-l.done:
		return false
	default:
		return true
	}
}

func (l *scratchLink) close() {
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
	return s.ux.RemoveRealm(ctx, realm)
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
	if err := s.ux.RemoveRealm(ctx, realm); err != nil {
		s.Log.Warn("scratch of a removed realm", "realm", realm, "err", err)
	}
}
