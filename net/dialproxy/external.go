package dialproxy

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"syscall"

	"sigmaos/api"
	"sigmaos/net/control"
)

// External says what "outside" is.
type External struct {
	// Denied are the provider's own ranges, beyond those that nobody may reach.
	Denied []netip.Prefix
	// Allowed are exceptions, for a provider whose procs may reach a private
	// range; loopback, link-local and metadata addresses are never among them.
	Allowed []netip.Prefix
	// Own are the addresses of this machine and of the cluster's nodes, asked at
	// each dial; nil is none.
	Own func() []netip.Addr
	// Resolve looks a name up; net.DefaultResolver's when nil.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// never are ranges that no proc reaches, whatever is configured: IANA's special
// purpose registries, and what embeds other addresses in ways not unwrapped below.
var never = prefixes(
	"0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24",
	"203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"::/128", "::1/128", "100::/64", "2001:db8::/32", "3fff::/20", "5f00::/16", "fe80::/10", "fec0::/10", "ff00::/8",
)

// private ranges are reached only where they are allowed.
var private = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")

func prefixes(list ...string) (out []netip.Prefix) {
	for _, s := range list {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func hosts(list []netip.Addr) (out []netip.Prefix) {
	for _, a := range list {
		a = a.Unmap().WithZone("")
		out = append(out, netip.PrefixFrom(a, a.BitLen()))
	}
	return out
}

func within(a netip.Addr, list []netip.Prefix) bool {
	for _, p := range list {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// embedded returns the IPv4 address that an IPv6 one carries, by every scheme
// by which the network might unwrap it.
func embedded(a netip.Addr) (out []netip.Addr) {
	if !a.Is6() || a.Is4In6() {
		return nil
	}
	b := a.As16()
	v4 := func(i int) netip.Addr { return netip.AddrFrom4([4]byte(b[i : i+4])) }
	switch {
	case netip.MustParsePrefix("::/96").Contains(a): // IPv4-compatible
		out = append(out, v4(12))
	case netip.MustParsePrefix("64:ff9b::/96").Contains(a): // NAT64
		out = append(out, v4(12))
	case netip.MustParsePrefix("64:ff9b:1::/48").Contains(a): // NAT64, local
		out = append(out, v4(12), netip.AddrFrom4([4]byte{b[6], b[7], b[9], b[10]}))
	case netip.MustParsePrefix("2002::/16").Contains(a): // 6to4
		out = append(out, v4(2))
	case netip.MustParsePrefix("2001::/32").Contains(a): // Teredo: server, and the client inverted
		client := binary.BigEndian.Uint32(b[12:]) ^ 0xffffffff
		out = append(out, v4(4), netip.AddrFrom4([4]byte(binary.BigEndian.AppendUint32(nil, client))))
	case b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe: // ISATAP
		out = append(out, v4(12))
	case netip.MustParsePrefix("::ffff:0:0:0/96").Contains(a): // SIIT
		out = append(out, v4(12))
	}
	return out
}

// outside reports whether a proc may connect to a.
func (x External) outside(a netip.Addr) bool {
	if a.Zone() != "" {
		return false
	}
	a = a.Unmap()
	if !a.IsValid() || within(a, never) || !a.IsGlobalUnicast() || within(a, x.Denied) {
		return false
	}
	if within(a, private) && !within(a, x.Allowed) {
		return false
	}
	for _, in := range embedded(a) {
		if !x.outside(in) {
			return false
		}
	}
	return true
}

func (x External) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	if x.Resolve != nil {
		return x.Resolve(ctx, host)
	}
	return net.DefaultResolver.LookupNetIP(ctx, "ip", host)
}

// dialExternal connects with the outside world. A name is looked up once, each
// of its addresses must be outside, and the address that was checked is the one
// that is dialled. published says that an operator wrote the address.
func (p *Proxy) dialExternal(ctx context.Context, c api.Caller, target string, published bool) (control.Passed, error) {
	none := control.Passed{FD: -1}
	host, port, err := net.SplitHostPort(target)
	if err != nil || host == "" || len(target) > 300 {
		return none, api.E(api.Invalid, "dial", "", "an external address is host:port, or [v6]:port (%v)", err)
	}
	x := p.cfg.External
	if x.Own != nil {
		x.Denied = append(slices.Clip(x.Denied), hosts(x.Own())...)
	}
	dctx, cancel := context.WithTimeout(ctx, 2*p.step)
	defer cancel()
	no, err := net.DefaultResolver.LookupPort(dctx, "tcp", port)
	if err != nil || no <= 0 || no > 65535 {
		return none, api.E(api.Invalid, "dial", target, "port %q is none", port)
	}
	addrs, err := x.lookup(dctx, host)
	if err != nil {
		return none, externalError(ctx, target, api.NotFound, fmt.Errorf("the name cannot be resolved: %w", err))
	}
	for _, a := range addrs {
		if !published && !x.outside(a) {
			return none, notOutside(target)
		}
	}
	d := net.Dialer{Timeout: p.step, Control: func(network, address string, rc syscall.RawConn) error {
		if ap, err := netip.ParseAddrPort(address); !published && (err != nil || !x.outside(ap.Addr())) {
			return notOutside(target)
		}
		if mark := p.mark(c.Class); mark != nil {
			return mark(network, address, rc)
		}
		return nil
	}}
	err = api.E(api.NotFound, "dial", target, "the name has no address")
	for _, a := range addrs {
		conn, derr := d.DialContext(dctx, "tcp", netip.AddrPortFrom(a.Unmap(), uint16(no)).String())
		if derr != nil {
			err = externalError(ctx, target, api.Unavailable, derr)
			continue
		}
		remote := conn.RemoteAddr().String()
		fd, rerr := release(conn.(*net.TCPConn))
		if rerr != nil {
			return none, outOf(rerr)
		}
		if p.cfg.Outside != nil {
			p.cfg.Outside(c, target, remote)
		}
		return control.Passed{FD: fd, Peer: api.Peer{Realm: c.Realm, Address: remote}}, nil
	}
	return none, err
}

func notOutside(target string) error {
	return api.E(api.Denied, "dial", target, "it is not outside: the address belongs to the provider, to a private network or to nobody; an operator can publish such a service (sigmactl ep publish)")
}

// externalError says whose fault it was: the caller's, the machine's, or that
// of the world outside, which is of kind.
func externalError(ctx context.Context, target string, kind api.Kind, err error) error {
	switch {
	case isOut(err):
		return outOf(err)
	case ctx.Err() != nil:
		return api.E(api.Canceled, "dial", target, "the caller stopped waiting")
	}
	return api.E(kind, "dial", target, "%v", err)
}
