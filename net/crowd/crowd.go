// Package crowd bounds how many are there at once, in all and of each kind: the
// connections of a listener, of each address; those of a realm.
package crowd

import (
	"net"
	"net/netip"
	"sync"
)

// Crowd counts who is there.
type Crowd struct {
	all, each int

	mu sync.Mutex
	n  int
	of map[string]int
}

// New makes a Crowd of at most all, and each of one kind.
func New(all, each int) *Crowd { return &Crowd{all: all, each: each, of: make(map[string]int)} }

// Enter reports whether there is room for one more; Leave makes it again.
func (c *Crowd) Enter(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= c.all || c.of[kind] >= c.each {
		return false
	}
	c.n++
	c.of[kind]++
	return true
}

// Leave is for one that entered.
func (c *Crowd) Leave(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.of[kind]--; c.of[kind] == 0 {
		delete(c.of, kind)
	}
}

// Count is how many are there in all.
func (c *Crowd) Count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// AddressOf is whom a connection counts for: its address, or the /64 that one
// machine usually has of IPv6.
func AddressOf(c net.Conn) string {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return ""
	}
	a := ap.Addr().Unmap().WithZone("")
	if a.Is6() {
		if p, err := a.Prefix(64); err == nil {
			return p.String()
		}
	}
	return a.String()
}
