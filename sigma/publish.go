package sigma

import (
	"context"
	"maps"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

// published are the names that a program has made for its life: endpoint links
// under one lease, which is renewed until the program ends. Where it runs out all
// the same, since the program's node was cut off or the realm's root out of reach for
// longer, the names come back under another one, but for those that are somebody
// else's by then.
type published struct {
	n *Names

	mu      sync.Mutex
	lease   string // "" is none yet
	keeping bool   // keep runs, until the client's connection ends
	links   map[string]*link
}

// link is one name that is kept.
type link struct {
	ep      Endpoint
	missing bool // to be made under the lease
	going   int  // calls under way that take it away
}

// publish makes path lead to ep and keeps it so.
func (p *published) publish(ctx context.Context, path string, ep Endpoint) error {
	id, err := p.have(ctx)
	if err != nil {
		return err
	}
	err = p.n.Publish(ctx, path, ep, id)
	if api.KindOf(err) == api.NotFound { // the directory, or the lease
		if err := p.renew(ctx); err != nil {
			return err
		}
		if id, err = p.have(ctx); err == nil {
			err = p.n.Publish(ctx, path, ep, id)
		}
	}
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links == nil {
		p.links = make(map[string]*link)
	}
	p.links[linkKey(path)] = &link{ep: ep, missing: p.lease != id}
	if !p.keeping {
		p.keeping = true
		go p.keep()
	}
	return nil
}

// have is the lease, made when there is none.
func (p *published) have(ctx context.Context) (string, error) {
	p.mu.Lock()
	id := p.lease
	p.mu.Unlock()
	if id != "" {
		return id, nil
	}
	s, err := p.n.r0(ctx)
	if err != nil {
		return "", err
	}
	if id, err = s.c.Grant(ctx, leaseTime); err != nil {
		return "", err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease == "" { // else another call was faster, and this one runs out
		p.lease = id
	}
	return p.lease, nil
}

// linkKey is one spelling of a path.
func linkKey(path string) string {
	names, _, err := resolve.Clean(path)
	if err != nil {
		return path
	}
	return resolve.Join(names)
}

// going is for a call that takes a path away: the name is not made again meanwhile,
// and afterwards only where the call says that it is still there.
func (p *published) going(path string) (done func(gone bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.links) == 0 {
		return func(bool) {}
	}
	path = linkKey(path)
	l := p.links[path]
	if l == nil {
		return func(bool) {}
	}
	return p.hold(map[string]*link{path: l})
}

// goingBelow is going for all names in a directory, also those that are missing from
// it at the moment, which nobody finds there.
func (p *published) goingBelow(dir string) (done func(gone bool)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.links) == 0 {
		return func(bool) {}
	}
	dir = linkKey(dir) + "/"
	below := maps.Clone(p.links)
	maps.DeleteFunc(below, func(path string, _ *link) bool { return !strings.HasPrefix(path, dir) })
	return p.hold(below)
}

// hold is called with mu held.
func (p *published) hold(links map[string]*link) (done func(gone bool)) {
	for _, l := range links {
		l.going++
	}
	return func(gone bool) {
		p.mu.Lock()
		for _, l := range links {
			l.going--
		}
		p.mu.Unlock()
		if gone {
			for path, l := range links {
				p.forget(path, l)
			}
		}
	}
}

// forget is for a name that leads somewhere else now, or nowhere. One that was
// published anew meanwhile is kept.
func (p *published) forget(path string, l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.links[path] == l {
		delete(p.links, path)
	}
}

func (p *published) keep() {
	for !p.n.c.isLost() {
		time.Sleep(leaseTime / 4)
		ctx, cancel := context.WithTimeout(context.Background(), leaseTime/4)
		p.renew(ctx)
		p.mend(ctx)
		cancel()
	}
}

// renew renews the lease. One that has run out is replaced, and all links are to be
// made again; where nobody can be asked it is left as it is.
func (p *published) renew(ctx context.Context) error {
	p.mu.Lock()
	id := p.lease
	p.mu.Unlock()
	s, err := p.n.r0(ctx)
	if err != nil || id == "" {
		return err
	}
	if err = s.c.Renew(ctx, id); api.KindOf(err) != api.NotFound {
		return err
	}
	fresh, err := s.c.Grant(ctx, leaseTime)
	if err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.lease == id {
		p.lease = fresh
		for _, l := range p.links {
			l.missing = true
		}
	}
	return nil
}

// mend makes the links that are missing.
func (p *published) mend(ctx context.Context) {
	p.mu.Lock()
	id, links := p.lease, maps.Clone(p.links)
	maps.DeleteFunc(links, func(_ string, l *link) bool { return !l.missing || l.going > 0 })
	p.mu.Unlock()
	for path, l := range links {
		made, err := p.n.create(ctx, path, tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: string(l.ep), Lease: id})
		switch {
		case err == nil:
			if !p.made(path, l, id) {
				p.unmake(ctx, path, made.ID)
			}
		case api.KindOf(err) == api.Exists && !p.stale(ctx, path, l.ep):
			p.forget(path, l)
		}
	}
}

// made notes that l was made under a lease. It says no where somebody was taking the
// name away meanwhile: what was made is not to stay.
func (p *published) made(path string, l *link, lease string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := p.links[path]
	if now == nil || now.going > 0 {
		return false
	}
	if now == l && p.lease == lease {
		l.missing = false
	}
	return true
}

// unmake takes away what mend made, unless something else has its name already.
func (p *published) unmake(ctx context.Context, path string, id uint64) {
	if i, err := p.n.Lstat(ctx, path); err == nil && i.Attr.ID == id {
		p.n.remove(ctx, path, false)
	}
}

// stale says whether what is at a path is our own link that goes with the lease
// before, or that an attempt of ours made whose answer was lost.
func (p *published) stale(ctx context.Context, path string, ep Endpoint) bool {
	i, err := p.n.Lstat(ctx, path)
	return err != nil || i.Attr.Target == string(ep)
}
