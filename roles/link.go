package roles

import (
	"context"
	"net"
	"net/netip"
	"slices"

	"sigmaos/api"
	"sigmaos/net/dialproxy"
	"sigmaos/net/gossip"
	"sigmaos/net/peers"
	"sigmaos/net/pki"
	"sigmaos/net/rpc"
)

// link lets other nodes call this one, and this one them.
func (s *System) link(undo *undoStack) error {
	opts := peers.Beats(rpc.Options{MaxCalls: maxCalls})
	server := rpc.NewServer(opts)
	server.HandleInline(dialproxy.MethodKey, func(_ context.Context, r *rpc.Request) ([]byte, error) {
		p, err := s.proxyNow()
		if err != nil {
			return nil, err
		}
		return p.GiveKey(r.Peer.(pki.Peer).Number, r.Body)
	})
	server.Handle(methodSign, s.sign)
	s.serveLeader(server)
	s.servePrograms(server)
	s.servePlacement(server)
	s.servePeers(server)
	server.Handle(methodEvents, s.serveEvents)
	server.Handle(methodDrain, s.serveDrain)
	server.Handle(methodEndpoints, s.serveEndpoints)
	links, err := peers.Start(peers.Config{Port: s.Port, Directory: s.Gossip, Server: server, Options: opts, Refuses: s.refuses, Logger: s.Log.With("role", "links")})
	if err != nil {
		return err
	}
	s.Peers = links
	undo.add(links.Close)
	stop, err := s.Port.HandleSetup(func(_ context.Context, c *net.TCPConn) {
		if p, err := s.proxyNow(); err == nil {
			p.ServeSetup(c)
			return
		}
		c.Close()
	})
	if err == nil {
		undo.add(func() error { stop(); return nil })
	}
	return err
}

// proxyNow is the proxy, which comes after the links.
func (s *System) proxyNow() (*dialproxy.Proxy, error) {
	if p := s.proxying.Load(); p != nil {
		return p, nil
	}
	return nil, s.starting()
}

// starting is what a node says that others ask too early.
func (s *System) starting() error {
	return api.E(api.Unavailable, "link", s.Config.Node, "the node is starting")
}

// others is the cluster as the proxy needs it.
type others struct{ *System }

func (o others) Address(node uint16) (addr string, boot uint32, ok bool) {
	m, ok := o.Gossip.Lookup(node)
	return m.Addr.String(), m.Boot, ok
}

func (o others) Number(name string) (uint16, bool) {
	m, ok := o.Gossip.Named(name)
	return m.Number, ok
}

func (o others) Name(node uint16) string {
	m, ok := o.Gossip.Lookup(node)
	if !ok {
		return "that is gone"
	}
	return m.Name
}

func (o others) Call(ctx context.Context, node uint16, method string, req []byte) ([]byte, error) {
	c, err := o.Peers.Link(ctx, node)
	if err != nil {
		return nil, err
	}
	return c.Call(ctx, method, req)
}

// addresses of this machine and of the cluster's nodes: no proc dials them.
func (s *System) addresses() []netip.Addr {
	out := ownAddresses()
	if s.Gossip != nil {
		for _, m := range s.Gossip.Members() {
			out = append(out, m.Addr.Addr())
		}
	}
	return out
}

func offers(roles []string, role string) bool { return slices.Contains(roles, role) }

func seedOf(m gossip.Member) gossip.Seed { return gossip.Seed{Name: m.Name, Addr: m.Addr.String()} }
