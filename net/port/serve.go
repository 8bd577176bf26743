package port

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/net/pki"
)

// Handler serves one connection of a node. It runs in a goroutine of the port's
// and owns c: it closes it, or gives it to somebody who does, and returns soon
// after ctx has ended.
type Handler func(ctx context.Context, c *Conn)

// SetupHandler serves one connection between procs, of which the byte FirstSetup
// has been read and no other. It owns c. Until it returns, the connection counts
// as a stranger's: it has the deadline of one (which the handler takes away when
// it knows enough) and may lose its place, so the handler should hand it on and
// return.
type SetupHandler func(ctx context.Context, c *net.TCPConn)

// Handle registers a service under its ALPN name until stop is called.
// Connections that stand are the handler's and stay.
func (p *Port) Handle(alpn string, h Handler) (stop func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if alpn == "" || alpn == JoinALPN || p.handlers[alpn] != nil {
		return nil, api.E(api.Exists, "port handle", alpn, "the name is in use")
	}
	p.handlers[alpn] = h
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.handlers, alpn)
	}, nil
}

// HandleSetup registers who serves connections between procs, until stop is
// called.
func (p *Port) HandleSetup(h SetupHandler) (stop func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.setup != nil {
		return nil, api.E(api.Exists, "port handle", "setup", "there is a handler")
	}
	p.setup = h
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.setup = nil
	}, nil
}

// Refuse turns nodes away that the cluster has removed, as removed says of each
// that connects.
func (p *Port) Refuse(removed func(pki.Peer) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.removed = removed
}

// serve finds out what a connection is. It has its deadline already.
func (p *Port) serve(t *ticket) {
	var first [1]byte // reads one byte and not more
	if _, err := t.conn.Read(first[:]); err != nil {
		first[0] = 0
	}
	switch first[0] {
	case FirstTLS:
		p.serveTLS(t)
	case FirstSetup:
		p.mu.RLock()
		h := p.setup
		p.mu.RUnlock()
		if h == nil {
			t.conn.Close()
		} else {
			h(p.ctx, t.conn)
		}
		t.leave()
	default:
		t.conn.Close()
		t.leave()
	}
}

func (p *Port) serveTLS(t *ticket) {
	defer t.leave()
	c := tls.Server(&rewound{TCPConn: t.conn, first: true}, p.tls)
	if err := c.Handshake(); err != nil {
		p.log.Info("port: a connection was refused", "from", t.conn.RemoteAddr(), "err", err)
		t.conn.Close()
		return
	}
	state := c.ConnectionState()
	p.mu.RLock()
	h, join := p.handlers[state.NegotiatedProtocol], p.join
	p.mu.RUnlock()
	switch {
	case state.NegotiatedProtocol == JoinALPN && join != nil:
		join.serve(p, t, c)
	case h != nil:
		p.letIn(t, c, h)
	default: // it was there when the handshake began
		t.conn.Close()
	}
}

// letIn makes the connection of a known node its handler's.
func (p *Port) letIn(t *ticket, c *tls.Conn, h Handler) {
	peer, err := pki.PeerOf(c.ConnectionState())
	conn := &Conn{Conn: c, peer: peer, set: &p.open}
	if err != nil || !t.leave() || !p.open.add(conn) {
		p.log.Warn("port: a node was turned away", "peer", peer, "from", t.conn.RemoteAddr(), "open", p.open.len(), "limit", p.cfg.Open, "err", err)
		t.conn.Close()
		return
	}
	p.mu.RLock()
	removed := p.removed
	p.mu.RUnlock()
	if removed != nil && removed(peer) {
		p.log.Warn("port: a node that was removed from the cluster was turned away", "peer", peer, "from", t.conn.RemoteAddr())
		c.Write([]byte{expelled})
		conn.Close()
		return
	}
	if _, err := c.Write([]byte{welcome}); err != nil {
		conn.Close()
		return
	}
	t.conn.SetDeadline(time.Time{})
	h(p.ctx, conn)
}

// configFor chooses by the protocols that the other side offers. Who wants
// anything but to join shows a certificate.
func (p *Port) configFor(hello *tls.ClientHelloInfo) (*tls.Config, error) {
	p.mu.RLock()
	defer p.mu.RUnlock()
	if p.join != nil && slices.Equal(hello.SupportedProtos, []string{JoinALPN}) {
		return p.cfg.Identity.Open(JoinALPN), nil
	}
	if len(hello.SupportedProtos) == 0 {
		return nil, api.E(api.Invalid, "port", "", "it names no protocol")
	}
	names := []string{"sigma"} // never empty, else TLS would accept any
	for name := range p.handlers {
		names = append(names, name)
	}
	return p.cfg.Identity.Server(names...), nil
}
