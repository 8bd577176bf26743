package gateway

import (
	"net"
	"net/netip"
	"sync"
)

// crowd bounds how many are there, in all and of each kind.
type crowd struct {
	all, each int

	mu sync.Mutex
	n  int
	of map[string]int
}

func newCrowd(all, each int) *crowd { return &crowd{all: all, each: each, of: make(map[string]int)} }

// enter reports whether there is room for one more; leave makes it again.
func (c *crowd) enter(kind string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.n >= c.all || c.of[kind] >= c.each {
		return false
	}
	c.n++
	c.of[kind]++
	return true
}

func (c *crowd) leave(kind string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n--
	if c.of[kind]--; c.of[kind] == 0 {
		delete(c.of, kind)
	}
}

// addressOf is whom a connection counts for: its address, or the /64 that one
// machine usually has of IPv6.
func addressOf(c net.Conn) string {
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
