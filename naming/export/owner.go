package export

import (
	"encoding/hex"
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// tcpOwner finds whose the socket at addr is, which is connected with peer, in
// the kernel's tables of this machine.
func tcpOwner(addr, peer net.Addr) (int, error) {
	a, err := netip.ParseAddrPort(addr.String())
	if err != nil {
		return -1, err
	}
	b, err := netip.ParseAddrPort(peer.String())
	if err != nil {
		return -1, err
	}
	for _, file := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		table, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		if uid, ok := findOwner(string(table), a, b); ok {
			return uid, nil
		}
	}
	return -1, errors.New("the kernel does not say whose the connection is")
}

// findOwner looks through a table: fields 1 and 2 of a line are the addresses,
// 7 is the uid.
func findOwner(table string, a, b netip.AddrPort) (uid int, ok bool) {
	for line := range strings.Lines(table) {
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		x, ok1 := parseAddr(f[1])
		y, ok2 := parseAddr(f[2])
		if !ok1 || !ok2 || !same(x, a) || !same(y, b) {
			continue
		}
		if n, err := strconv.ParseUint(f[7], 10, 32); err == nil {
			return int(n), true
		}
	}
	return -1, false
}

func same(x, y netip.AddrPort) bool {
	return x.Port() == y.Port() && x.Addr().Unmap() == y.Addr().Unmap()
}

// parseAddr reads an address as the tables have it: words of four bytes in the
// machine's order, which is little-endian on all that σOS runs on, in hexadecimal.
func parseAddr(s string) (netip.AddrPort, bool) {
	host, port, _ := strings.Cut(s, ":")
	b, err := hex.DecodeString(host)
	p, perr := strconv.ParseUint(port, 16, 16)
	if err != nil || perr != nil || len(b)%4 != 0 {
		return netip.AddrPort{}, false
	}
	for i := 0; i < len(b); i += 4 {
		b[i], b[i+1], b[i+2], b[i+3] = b[i+3], b[i+2], b[i+1], b[i]
	}
	addr, ok := netip.AddrFromSlice(b)
	return netip.AddrPortFrom(addr, uint16(p)), ok
}
