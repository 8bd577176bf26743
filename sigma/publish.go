package sigma

import (
	"context"
	"maps"
	"sync"
	"time"

	"sigmaos/api"
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
	links   map[string]Endpoint
	missing map[string]bool // of links: to be made under the lease
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
		p.links, p.missing = make(map[string]Endpoint), make(map[string]bool)
	}
	p.links[path] = ep
	p.missing[path] = p.lease != id
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

// forget is for a path that leads somewhere else now, or nowhere.
func (p *published) forget(path string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, path)
	delete(p.missing, path)
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
		for path := range p.links {
			p.missing[path] = true
		}
	}
	return nil
}

// mend makes the links that are missing.
func (p *published) mend(ctx context.Context) {
	p.mu.Lock()
	id, links := p.lease, maps.Clone(p.links)
	maps.DeleteFunc(links, func(path string, _ Endpoint) bool { return !p.missing[path] })
	p.mu.Unlock()
	for path, ep := range links {
		err := p.n.make(ctx, path, tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Exclusive: true, Target: string(ep), Lease: id})
		switch {
		case err == nil:
			p.mu.Lock()
			_, ours := p.links[path]
			if p.links[path] == ep && p.lease == id {
				delete(p.missing, path)
			}
			p.mu.Unlock()
			if !ours { // it was removed meanwhile
				p.n.remove(ctx, path, false)
			}
		case api.KindOf(err) == api.Exists && !p.stale(ctx, path, ep):
			p.forget(path)
		}
	}
}

// stale says whether what is at a path is our own link that goes with the lease
// before, or that an attempt of ours made whose answer was lost.
func (p *published) stale(ctx context.Context, path string, ep Endpoint) bool {
	i, err := p.n.Lstat(ctx, path)
	return err != nil || i.Attr.Target == string(ep)
}
