package dialproxy

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// Limits bound what one realm can use of a node's proxy; 0 is the default.
// Those of the node bound all realms together, so that sigmad always has
// descriptors for its own work; a realm's are a part of them, so that one realm
// leaves something to the others. D is the process's limit of descriptors.
type Limits struct {
	Endpoints int // of a realm; default 16,384
	Backlog   int // connections that wait for one listener; default 256
	// Connections that wait for listeners: of a realm, by default 2,048 or a
	// quarter of the node's; of the node, D/8 and at most 65,536.
	Pending, NodePending int
	// Dials under way that hold a descriptor: to other nodes, outside, and
	// through names. Of a realm, by default a quarter of the node's; of the node, D/32.
	Connecting, NodeConnecting int
	// Open connections with parts of σOS: of a realm, by default half of the
	// node's; of the node, D/8.
	Services, NodeServices int
	Dials                  float64 // a second, of a realm; default 20,000
	Burst                  float64 // default a quarter second of Dials
}

func (l *Limits) fill() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = max(d, 1)
		}
	}
	var r unix.Rlimit
	unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
	fds := int(min(r.Cur, 1<<30))
	def(&l.Endpoints, 16384)
	def(&l.Backlog, 256)
	def(&l.NodePending, min(fds/8, 1<<16))
	def(&l.Pending, min(2048, l.NodePending/4))
	def(&l.NodeConnecting, fds/32)
	def(&l.Connecting, l.NodeConnecting/4)
	def(&l.NodeServices, fds/8)
	def(&l.Services, l.NodeServices/2)
	if l.Dials == 0 {
		l.Dials = 20_000
	}
	if l.Burst == 0 {
		l.Burst = l.Dials / 4
	}
}

// quota is what a realm uses. Proxy.mu guards what is not atomic.
type quota struct {
	endpoints  int
	pending    atomic.Int64
	connecting atomic.Int64
	services   atomic.Int64
	tokens     float64
	last       time.Time
}

// sweepAt is how many realms' quotas are kept before those that say nothing are
// looked for.
const sweepAt = 1024

func (p *Proxy) quotaLocked(realm string) *quota {
	q := p.realms[realm]
	if q == nil {
		if len(p.realms) >= p.sweep {
			p.sweepLocked()
		}
		q = &quota{tokens: p.cfg.Limits.Burst, last: time.Now()}
		p.realms[realm] = q
	}
	return q
}

// sweepLocked forgets realms that use nothing and have their whole burst.
func (p *Proxy) sweepLocked() {
	l := p.cfg.Limits
	for realm, q := range p.realms {
		if q.endpoints == 0 && q.pending.Load() == 0 && q.connecting.Load() == 0 && q.services.Load() == 0 &&
			q.tokens+l.Dials*time.Since(q.last).Seconds() >= l.Burst {
			delete(p.realms, realm)
		}
	}
	p.sweep = max(sweepAt, 2*len(p.realms))
}

// mayDial takes one dial from the realm's rate.
func (p *Proxy) mayDial(realm string) (*quota, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, api.E(api.Unavailable, "dial", "", "this sigmad is stopping")
	}
	q := p.quotaLocked(realm)
	now := time.Now()
	l := p.cfg.Limits
	q.tokens = min(l.Burst, q.tokens+l.Dials*now.Sub(q.last).Seconds())
	q.last = now
	if q.tokens < 1 {
		return nil, api.E(api.Busy, "dial", "", "the realm dials more than %.0f times a second on this node; keep connections, or wait", l.Dials)
	}
	q.tokens--
	return q, nil
}

// take counts one more of what a realm and the node have at most so many of.
func take(of, all *atomic.Int64, realm, node int) bool {
	if of.Add(1) > int64(realm) {
		of.Add(-1)
		return false
	}
	if all.Add(1) > int64(node) {
		all.Add(-1)
		of.Add(-1)
		return false
	}
	return true
}

// give is the end of what take counted.
func give(of, all *atomic.Int64) {
	of.Add(-1)
	all.Add(-1)
}

// hold counts a dial that needs a descriptor of this process until it is done.
func (p *Proxy) hold(q *quota) (done func(), err error) {
	l := p.cfg.Limits
	if !take(&q.connecting, &p.connecting, l.Connecting, l.NodeConnecting) {
		return nil, api.E(api.Busy, "dial", "", "%d dials of the realm to other nodes, outside or through names are under way on this node; wait for some", q.connecting.Load())
	}
	return func() { give(&q.connecting, &p.connecting) }, nil
}

// RemoveRealm closes everything of a realm.
func (p *Proxy) RemoveRealm(realm string) {
	p.mu.Lock()
	var list []*endpoint
	for _, e := range p.endpoints {
		if e.owner.Realm == realm {
			list = append(list, e)
		}
	}
	p.mu.Unlock()
	for _, e := range list {
		p.closeEndpoint(e)
	}
	p.mu.Lock()
	delete(p.realms, realm)
	p.mu.Unlock()
}
