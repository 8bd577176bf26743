package gateway

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
)

// The PROXY protocol, version 2 (haproxy's proxy-protocol.txt, section 2.2): a
// load-balancer says in front of a connection where it came from.
const (
	proxySignature = "\r\n\r\n\x00\r\nQUIT\n"
	proxyHead      = 16
	maxProxyBody   = 2048
)

var errProxy = errors.New("gateway: not a PROXY header of version 2")

// readProxy reads exactly one header. ok is false for the load-balancer's own
// health check (LOCAL), which is nobody's connection.
func readProxy(r io.Reader) (client netip.AddrPort, ok bool, err error) {
	var h [proxyHead]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return client, false, err
	}
	n := int(binary.BigEndian.Uint16(h[14:]))
	if string(h[:12]) != proxySignature || h[12]>>4 != 2 || n > maxProxyBody {
		return client, false, errProxy
	}
	body := make([]byte, n)
	if _, err := io.ReadFull(r, body); err != nil {
		return client, false, err
	}
	switch h[12] & 15 {
	case 0: // LOCAL
		return client, false, nil
	case 1: // PROXY
	default:
		return client, false, errProxy
	}
	switch h[13] {
	case 0x11: // TCP over IPv4: source, destination, ports
		if n < 12 {
			return client, false, errProxy
		}
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(body[:4])), binary.BigEndian.Uint16(body[8:])), true, nil
	case 0x21: // TCP over IPv6
		if n < 36 {
			return client, false, errProxy
		}
		return netip.AddrPortFrom(netip.AddrFrom16([16]byte(body[:16])).Unmap(), binary.BigEndian.Uint16(body[32:])), true, nil
	}
	return client, false, fmt.Errorf("gateway: a PROXY header of family %#x; only TCP is served", h[13])
}
