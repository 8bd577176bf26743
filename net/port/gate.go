package port

import (
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// past is a deadline that ends whatever waits on a connection.
var past = time.Unix(1, 0)

// gate counts the connections whose other side is not known yet. When they are
// too many, the oldest one loses its place: its deadline passes, which ends
// whoever reads from it.
type gate struct {
	max, perSource int

	mu       sync.Mutex
	closed   bool
	waiting  []*ticket // oldest first
	accepted uint64
	evicted  uint64
	shed     uint64
}

// ticket is the place of one connection.
type ticket struct {
	gate   *gate
	conn   *net.TCPConn
	source netip.Prefix
	lost   bool // guarded by gate.mu
}

// sourceOf is what counts as one address: with IPv6 a whole /64, which is what
// anybody gets.
func sourceOf(a net.Addr) netip.Prefix {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	bits := 64
	if ip.Is4() {
		bits = 32
	}
	p, _ := ip.Prefix(bits)
	return p
}

// enter gives c a place; nil when the gate is closed.
func (g *gate) enter(c *net.TCPConn) *ticket {
	t := &ticket{gate: g, conn: c, source: sourceOf(c.RemoteAddr())}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return nil
	}
	g.accepted++
	same, first := 0, -1
	for i, w := range g.waiting {
		if w.source == t.source {
			if same++; same == 1 {
				first = i
			}
		}
	}
	switch {
	case same >= g.perSource:
		g.evictLocked(first)
	case len(g.waiting) >= g.max:
		g.evictLocked(0)
	}
	g.waiting = append(g.waiting, t)
	return t
}

func (g *gate) evictLocked(i int) {
	t := g.waiting[i]
	g.waiting = slices.Delete(g.waiting, i, i+1)
	t.lost = true
	g.evicted++
	t.conn.SetDeadline(past)
}

// leave gives the place back; false says that it was lost before, and the
// connection with it.
func (t *ticket) leave() bool {
	g := t.gate
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.waiting, t); i >= 0 {
		g.waiting = slices.Delete(g.waiting, i, i+1)
		return true
	}
	return !t.lost
}

func (g *gate) countShed() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.shed++
}

// close lets nobody in any more and ends those who wait.
func (g *gate) close() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = true
	for _, t := range g.waiting {
		t.lost = true
		t.conn.SetDeadline(past)
	}
	g.waiting = nil
}

func (g *gate) stats() Stats {
	g.mu.Lock()
	defer g.mu.Unlock()
	return Stats{Pending: len(g.waiting), Accepted: g.accepted, Evicted: g.evicted, Shed: g.shed}
}
