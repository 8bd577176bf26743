package lab

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/vishvananda/netlink"
)

// The addresses are of the ranges that RFC 2544 set aside for benches.
var (
	cable   = [2]netip.Prefix{netip.MustParsePrefix("198.18.0.1/24"), netip.MustParsePrefix("198.18.0.2/24")}
	overlay = [2]netip.Prefix{netip.MustParsePrefix("198.19.0.1/24"), netip.MustParsePrefix("198.19.0.2/24")}
)

// Pair is two spaces joined by a cable.
type Pair struct {
	Side [2]*Space
}

// NewPair makes two spaces and a veth pair between them.
func NewPair() (*Pair, error) {
	p := new(Pair)
	err := p.make()
	if err != nil {
		p.Close()
		return nil, err
	}
	return p, nil
}

func (p *Pair) make() (err error) {
	for i := range p.Side {
		if p.Side[i], err = New(); err != nil {
			return err
		}
	}
	err = p.Side[0].Do(func() error {
		return netlink.LinkAdd(&netlink.Veth{
			LinkAttrs: netlink.LinkAttrs{Name: "cable"}, PeerName: "cable", PeerNamespace: netlink.NsFd(p.Side[1].ns),
		})
	})
	if err != nil {
		return fmt.Errorf("lab: a veth pair: %w", err)
	}
	return p.each(func(i int) error { return up("cable", cable[i]) })
}

// each runs fn in both spaces.
func (p *Pair) each(fn func(i int) error) error {
	for i, s := range p.Side {
		if err := s.Do(func() error { return fn(i) }); err != nil {
			return err
		}
	}
	return nil
}

// up gives a device of this thread's namespace its address and starts it.
func up(name string, addr netip.Prefix) error {
	l, err := netlink.LinkByName(name)
	if err == nil {
		err = netlink.AddrAdd(l, &netlink.Addr{IPNet: ipNet(addr)})
	}
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		return fmt.Errorf("lab: %s at %s: %w", name, addr, err)
	}
	return nil
}

func ipNet(p netip.Prefix) *net.IPNet {
	return &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())}
}

// Addr is where side i is reached over the cable.
func (p *Pair) Addr(i int) string { return cable[i].Addr().String() }

// Overlay lays a VXLAN over the cable and returns where side 0 and 1 are in it.
// A kernel without VXLAN gives an error.
func (p *Pair) Overlay() (addr [2]string, err error) {
	err = p.each(func(i int) error {
		under, err := netlink.LinkByName("cable")
		if err != nil {
			return err
		}
		err = netlink.LinkAdd(&netlink.Vxlan{
			LinkAttrs: netlink.LinkAttrs{Name: "overlay"}, VxlanId: 1, VtepDevIndex: under.Attrs().Index,
			SrcAddr: cable[i].Addr().AsSlice(), Group: cable[1-i].Addr().AsSlice(), Port: 4789,
		})
		if err != nil {
			return fmt.Errorf("lab: a VXLAN device: %w", err)
		}
		addr[i] = overlay[i].Addr().String()
		return up("overlay", overlay[i])
	})
	return addr, err
}

// Close gives both spaces up. Devices go when the processes in them have ended.
func (p *Pair) Close() {
	for _, s := range p.Side {
		if s != nil {
			s.Close()
		}
	}
}
