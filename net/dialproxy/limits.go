package dialproxy

import (
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// Limits bound what one realm can use of a node's proxy; 0 is the default.
type Limits struct {
	Endpoints   int     // of a realm; default 16,384
	Backlog     int     // connections that wait for one listener; default 256
	Pending     int     // connections of a realm that wait; default 2,048
	NodePending int     // of all realms; default a quarter of the descriptors
	Dials       float64 // a second, of a realm; default 20,000
	Burst       float64 // default a quarter second of Dials
}

func (l *Limits) fill() {
	def := func(v *int, d int) {
		if *v == 0 {
			*v = d
		}
	}
	def(&l.Endpoints, 16384)
	def(&l.Backlog, 256)
	def(&l.Pending, 2048)
	if l.NodePending == 0 {
		var r unix.Rlimit
		unix.Getrlimit(unix.RLIMIT_NOFILE, &r)
		l.NodePending = int(min(r.Cur/4, 1<<16))
	}
	if l.Dials == 0 {
		l.Dials = 20_000
	}
	if l.Burst == 0 {
		l.Burst = l.Dials / 4
	}
}

// quota is what a realm uses. Proxy.mu guards what is not atomic.
type quota struct {
	endpoints int
	pending   atomic.Int64
	tokens    float64
	last      time.Time
}

func (p *Proxy) quotaLocked(realm string) *quota {
	q := p.realms[realm]
	if q == nil {
		q = &quota{tokens: p.cfg.Limits.Burst, last: time.Now()}
		p.realms[realm] = q
	}
	return q
}

// mayDial takes one dial from the realm's rate.
func (p *Proxy) mayDial(realm string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return api.E(api.Unavailable, "dial", "", "this sigmad is stopping")
	}
	q := p.quotaLocked(realm)
	now := time.Now()
	l := p.cfg.Limits
	q.tokens = min(l.Burst, q.tokens+l.Dials*now.Sub(q.last).Seconds())
	q.last = now
	if q.tokens < 1 {
		return api.E(api.Busy, "dial", "", "the realm dials more than %.0f times a second on this node; keep connections, or wait", l.Dials)
	}
	q.tokens--
	return nil
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
