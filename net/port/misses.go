package port

import (
	"net/netip"
	"sync"
	"time"

	"sigmaos/internal/clock"
)

const (
	missesFree  = 5 // wrong tokens that one source may send at once
	missesEvery = 10 * time.Second
	missesMost  = 1024 // sources remembered
)

// misses counts wrong tokens by source. A secret of 256 bits is not found by
// trying; this keeps those who try anyway from costing anything.
type misses struct {
	clk clock.Clock

	mu sync.Mutex
	by map[netip.Prefix]miss
}

type miss struct {
	n  int
	at time.Duration // of the last whole step in which one was forgiven
}

func newMisses(clk clock.Clock) *misses {
	return &misses{clk: clk, by: make(map[netip.Prefix]miss)}
}

// nowLocked forgives what is long ago.
func (m *misses) nowLocked(s netip.Prefix) miss {
	now := m.clk.Monotonic()
	e, ok := m.by[s]
	if !ok {
		return miss{at: now}
	}
	forgiven := int((now - e.at) / missesEvery)
	e.n = max(0, e.n-forgiven)
	e.at += time.Duration(forgiven) * missesEvery
	return e
}

func (m *misses) may(s netip.Prefix) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.nowLocked(s).n < missesFree
}

func (m *misses) note(s netip.Prefix) {
	m.mu.Lock()
	defer m.mu.Unlock()
	e := m.nowLocked(s)
	e.n++
	if _, ok := m.by[s]; !ok && len(m.by) >= missesMost {
		m.forgetLocked()
	}
	m.by[s] = e
}

// forgetLocked makes room: those who are forgiven go, else anybody.
func (m *misses) forgetLocked() {
	for s := range m.by {
		if m.nowLocked(s).n == 0 {
			delete(m.by, s)
		}
	}
	for s := range m.by {
		if len(m.by) < missesMost {
			return
		}
		delete(m.by, s)
	}
}
