package gossip

import (
	"context"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"
)

const (
	maxMissing   = 64
	missingFor   = 24 * time.Hour
	findAtOnce   = 3  // nodes asked in one round
	findSlowest  = 10 // rounds come to be this many Notice apart,
	findAlone    = 6  // or Notice through this while the node is alone
	findLookUpTo = 16 // addresses tried of one name
)

// missing is a member that failed and may come back.
type missing struct {
	addr netip.AddrPort
	at   time.Duration
}

// lost and found note who may come back. They must not wait.
func (d *delegate) lost(m Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.missing) >= maxMissing {
		for name := range d.missing { // anybody
			delete(d.missing, name)
			break
		}
	}
	d.missing[m.Name] = missing{m.Addr, d.cfg.Clock.Monotonic()}
}

func (d *delegate) found(m Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.missing, m.Name)
}

// contested notes that this node was not taken in somewhere: another one, or an
// earlier life of its own at another address, has its place. It asks again soon.
func (d *delegate) contested() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.contest = d.cfg.Clock.Monotonic()
}

func (g *Gossip) isContested() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.contest != 0 && g.cfg.Clock.Monotonic()-g.contest < 2*g.cfg.Notice
}

// findOthers asks seeds and failed members until all are there. memberlist
// itself forgets the dead, and after a partition that lasted would never ask.
func (g *Gossip) findOthers() {
	defer g.wg.Done()
	if len(g.cfg.Seeds) == 0 {
		close(g.joined)
	}
	wait, last := g.cfg.Notice, 0
	for {
		for _, s := range g.absent() {
			if g.ask(s) && !g.isJoined() {
				close(g.joined)
			}
		}
		n := len(g.Members())
		switch {
		case n < 2:
			wait = g.cfg.Notice / findAlone
		case n != last || g.isContested():
			wait = g.cfg.Notice
		default:
			wait = min(2*wait, findSlowest*g.cfg.Notice)
		}
		last = n
		timer := time.NewTimer(wait + rand.N(wait/4+1)) // nodes that started together do not ask together
		select {
		case <-timer.C:
		case <-g.ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (g *Gossip) isJoined() bool {
	select {
	case <-g.joined:
		return true
	default:
		return false
	}
}

// absent picks whom to ask: a few of those who should be there and are not, or
// anybody while this node's place is contested.
func (g *Gossip) absent() (out []Seed) {
	here := make(map[string]bool)
	for _, m := range g.Members() {
		here[m.Name], here[m.Addr.String()] = true, true
	}
	g.mu.Lock()
	for _, s := range g.cfg.Seeds {
		if s.Addr != g.cfg.Advertise.String() && !here[s.Name] && !here[s.Addr] && !here[g.reached[s.Addr]] {
			out = append(out, s)
		}
	}
	now := g.cfg.Clock.Monotonic()
	for name, m := range g.missing {
		if now-m.at > missingFor {
			delete(g.missing, name)
		} else if !here[name] {
			out = append(out, Seed{name, m.addr.String()})
		}
	}
	g.mu.Unlock()
	if g.isContested() {
		for _, m := range g.Members() {
			if m.Name != g.me.Name {
				out = append(out, Seed{m.Name, m.Addr.String()})
			}
		}
	}
	rand.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	return out[:min(len(out), findAtOnce)]
}

// ask exchanges all that is known with one node.
func (g *Gossip) ask(s Seed) bool {
	ctx, cancel := context.WithTimeout(g.ctx, g.cfg.Notice)
	defer cancel()
	addrs, err := resolve(ctx, s.Addr)
	if err != nil {
		if g.ctx.Err() == nil {
			g.log.Warn("gossip: a seed's address is no good", "seed", s.Addr, "err", err)
		}
		return false
	}
	for _, a := range addrs {
		target := a.String()
		if s.Name != "" {
			target = s.Name + "/" + target
		}
		if g.ctx.Err() != nil {
			return false
		}
		if _, err := g.list.Join([]string{target}); err == nil {
			g.mu.Lock()
			g.reached[s.Addr] = a.String()
			g.mu.Unlock()
			return true
		} else if g.ctx.Err() == nil {
			g.log.Debug("gossip: no answer", "node", target, "err", err)
		}
	}
	return false
}

// resolve looks a HOST:PORT up. memberlist's own look-up would read the
// machine's DNS configuration and speak TCP to its servers.
func resolve(ctx context.Context, addr string) ([]netip.AddrPort, error) {
	if a, err := netip.ParseAddrPort(addr); err == nil {
		return []netip.AddrPort{a}, nil
	}
	host, service, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", service)
	if err != nil {
		return nil, err
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, err
	}
	var out []netip.AddrPort
	for _, ip := range ips[:min(len(ips), findLookUpTo)] {
		out = append(out, netip.AddrPortFrom(ip.Unmap(), uint16(n)))
	}
	return out, nil
}
