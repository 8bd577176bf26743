package dialproxy

import (
	"context"
	"sort"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
)

// endpoint is where connections wait for one listener.
type endpoint struct {
	p       *Proxy
	token   api.Endpoint
	id      api.EndpointID
	owner   api.Caller
	quota   *quota
	created time.Time

	mu       sync.Mutex
	closed   bool
	backlog  []control.Passed
	claimed  int                   // places for connections on their way
	waiters  []chan control.Passed // each has room for one
	accepted int64
	refused  int64
}

// NewEndpoint makes an endpoint of the caller, which is the only one that can
// accept on it. It ends with the caller's proc.
func (p *Proxy) NewEndpoint(c api.Caller) (api.Endpoint, error) {
	if c.Realm == "" {
		return "", api.E(api.Invalid, "endpoint", "", "no realm chosen; use --realm or SIGMA_REALM")
	}
	if c.Proc == "" {
		return "", api.E(api.Denied, "endpoint", "", "only a proc can listen; an operator publishes what runs outside (sigmactl ep publish)")
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return "", api.E(api.Unavailable, "endpoint", "", "this sigmad is stopping")
	}
	q := p.quotaLocked(c.Realm)
	if q.endpoints >= p.cfg.Limits.Endpoints {
		return "", api.E(api.Busy, "endpoint", "", "the realm has its %d endpoints on this node; close some", p.cfg.Limits.Endpoints)
	}
	q.endpoints++
	e := &endpoint{p: p, owner: c, quota: q, created: time.Now()}
	e.token, e.id = api.NewEndpoint(p.cfg.Node, p.cfg.Boot)
	p.endpoints[e.id] = e
	if p.procs[c.Proc] == nil {
		p.procs[c.Proc] = make(map[*endpoint]bool)
	}
	p.procs[c.Proc][e] = true
	return e.token, nil
}

// lookup finds an endpoint of the realm; another realm's is none.
func (p *Proxy) lookup(realm string, id api.EndpointID) *endpoint {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e := p.endpoints[id]; e != nil && e.owner.Realm == realm {
		return e
	}
	return nil
}

// own finds an endpoint on which the caller may act.
func (p *Proxy) own(c api.Caller, op string, ep api.Endpoint) (*endpoint, error) {
	node, boot, id, ok := ep.Parse()
	if ok && node == p.cfg.Node && boot == p.cfg.Boot {
		if e := p.lookup(c.Realm, id); e != nil && e.owner.Proc == c.Proc {
			return e, nil
		}
	}
	return nil, api.E(api.NotFound, op, ep.Short(), "this proc has no such endpoint, or it was closed")
}

// Accept waits for the next connection.
func (p *Proxy) Accept(ctx context.Context, c api.Caller, ep api.Endpoint) (control.Passed, error) {
	e, err := p.own(c, "accept", ep)
	if err != nil {
		return control.Passed{FD: -1}, err
	}
	e.mu.Lock()
	if e.closed {
		e.mu.Unlock()
		return control.Passed{FD: -1}, e.errClosed()
	}
	if len(e.backlog) > 0 {
		pass := e.backlog[0]
		e.backlog = append(e.backlog[:0], e.backlog[1:]...)
		e.accepted++
		e.mu.Unlock()
		e.release()
		return pass, nil
	}
	w := make(chan control.Passed, 1)
	e.waiters = append(e.waiters, w)
	e.mu.Unlock()
	select {
	case pass, ok := <-w:
		if !ok {
			return control.Passed{FD: -1}, e.errClosed()
		}
		return pass, nil
	case <-ctx.Done():
	}
	e.mu.Lock()
	for i, x := range e.waiters {
		if x == w {
			e.waiters = append(e.waiters[:i], e.waiters[i+1:]...)
			break
		}
	}
	e.mu.Unlock()
	// What came in the same moment belongs to the next who accepts.
	select {
	case pass, ok := <-w:
		if ok {
			e.giveBack(pass)
		}
	default:
	}
	return control.Passed{FD: -1}, api.E(api.Canceled, "accept", ep.Short(), "the caller stopped waiting")
}

func (e *endpoint) errClosed() error {
	return api.E(api.NotFound, "accept", e.token.Short(), "the endpoint was closed")
}

func (e *endpoint) peer() api.Peer { return peerOf(e.owner, e.token) }

// CloseEndpoint ends an endpoint of the caller: waiting accepts end, waiting
// connections are closed, dials are refused.
func (p *Proxy) CloseEndpoint(c api.Caller, ep api.Endpoint) error {
	e, err := p.own(c, "close", ep)
	if err != nil {
		return err
	}
	p.closeEndpoint(e)
	return nil
}

func (p *Proxy) closeEndpoint(e *endpoint) {
	p.mu.Lock()
	if p.endpoints[e.id] != e {
		p.mu.Unlock()
		return
	}
	delete(p.endpoints, e.id)
	if set := p.procs[e.owner.Proc]; set != nil {
		delete(set, e)
		if len(set) == 0 {
			delete(p.procs, e.owner.Proc)
		}
	}
	e.quota.endpoints--
	p.mu.Unlock()

	e.mu.Lock()
	e.closed = true
	waiters, backlog := e.waiters, e.backlog
	e.waiters, e.backlog = nil, nil
	e.mu.Unlock()
	for _, w := range waiters {
		close(w)
	}
	for _, pass := range backlog {
		unix.Close(pass.FD)
		e.release()
	}
}

// ProcEnded closes what a proc listened on.
func (p *Proxy) ProcEnded(id api.ProcID) {
	p.mu.Lock()
	var list []*endpoint
	for e := range p.procs[id] {
		list = append(list, e)
	}
	realm, used := p.users[id]
	delete(p.users, id)
	if used = used && p.cfg.Ended != nil && !p.closed; used {
		p.wg.Add(1)
	}
	p.mu.Unlock()
	if used {
		go func() {
			defer p.wg.Done()
			p.cfg.Ended(realm, id)
		}()
	}
	for _, e := range list {
		p.closeEndpoint(e)
	}
}

// List returns the endpoints of a realm on this node, oldest first; "" is every
// realm.
func (p *Proxy) List(realm string) []api.EndpointInfo {
	p.mu.Lock()
	out := []api.EndpointInfo{}
	for _, e := range p.endpoints {
		if realm != "" && e.owner.Realm != realm {
			continue
		}
		e.mu.Lock()
		out = append(out, api.EndpointInfo{
			Endpoint: e.token, Realm: e.owner.Realm, Node: p.cfg.Name, Proc: e.owner.Proc, User: e.owner.User, Created: e.created,
			Accepted: e.accepted, Waiting: len(e.backlog), Refused: e.refused,
		})
		e.mu.Unlock()
	}
	p.mu.Unlock()
	sort.Slice(out, func(i, j int) bool { return out[i].Created.Before(out[j].Created) })
	return out
}
