package peers

import (
	"context"
	"slices"

	"sigmaos/net/port"
)

// maxGuests is how many links of one node are served at a time. It has one; more
// are leftovers of links that it took for dead.
const maxGuests = 8

// guest is an incoming link.
type guest struct{ cancel context.CancelFunc }

// serve is the port's handler.
func (p *Peers) serve(ctx context.Context, c *port.Conn) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	g := &guest{cancel}
	if !p.enter(c.Peer().Number, g) {
		c.Close()
		return
	}
	defer p.exit(c.Peer().Number, g)
	stop := context.AfterFunc(p.ctx, cancel)
	defer stop()
	if err := p.cfg.Server.ServeConn(ctx, c, c.Peer()); err != nil {
		p.cfg.Logger.Debug("peers: an incoming link ended", "peer", c.Peer(), "from", c.RemoteAddr(), "err", err)
	}
}

func (p *Peers) enter(node uint16, g *guest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	if old := p.incoming[node]; len(old) >= maxGuests {
		old[0].cancel()
		p.incoming[node] = slices.Delete(old, 0, 1)
	}
	p.incoming[node] = append(p.incoming[node], g)
	p.wg.Add(1)
	return true
}

func (p *Peers) exit(node uint16, g *guest) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.incoming[node] = slices.DeleteFunc(p.incoming[node], func(x *guest) bool { return x == g })
	if len(p.incoming[node]) == 0 {
		delete(p.incoming, node)
	}
	p.wg.Done()
}
