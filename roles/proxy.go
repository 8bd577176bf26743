package roles

import (
	"context"
	"net"
	"net/netip"

	"sigmaos/net/dialproxy"
	"sigmaos/net/qos"
)

func startProxy(_ context.Context, s *System) (func(context.Context) error, error) {
	denied, allowed, err := s.Config.Ranges()
	if err != nil {
		return nil, err
	}
	cfg := dialproxy.Config{
		Node: s.nodeNum, Name: s.Config.Node, Boot: s.boot,
		External: dialproxy.External{Denied: denied, Allowed: allowed, Own: s.addresses},
		Locate:   map[string]dialproxy.Locator{namedService: s.locateNamed},
		Resolve:  s.resolvePath, Ended: s.procEnded, Outside: s.dialledOutside,
		Logger: s.Log.With("role", "proxy"),
	}
	if s.Gossip != nil {
		cfg.Nodes = others{s}
	}
	stopQos := func() error { return nil }
	if s.Config.QosDevice != "" {
		d, err := qos.Open(s.Config.QosDevice, uint64(s.Config.QosRate))
		if err != nil {
			return nil, err
		}
		cfg.Priority, stopQos = d.Priority, d.Close
	}
	s.Proxy = dialproxy.New(cfg)
	s.proxying.Store(s.Proxy)
	return func(context.Context) error {
		s.proxying.Store(nil)
		s.Proxy.Close()
		return stopQos()
	}, nil
}

// ownAddresses are those of this machine, as they are now.
func ownAddresses() (out []netip.Addr) {
	list, err := net.InterfaceAddrs()
	if err != nil {
		return nil
	}
	for _, a := range list {
		if p, err := netip.ParsePrefix(a.String()); err == nil {
			out = append(out, p.Addr())
		}
	}
	return out
}
