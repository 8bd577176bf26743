package qos

import (
	"encoding/binary"
	"net"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"sigmaos/api"
)

const (
	portLC = 7001
	portBE = 7002
)

// A device that best-effort procs have given seconds of work sends what a
// latency-critical one writes then before the rest of theirs.
func TestPROBES_R12_LCGoesFirst(t *testing.T) {
	inside(t, func() {
		d, err := Open("qa", 1_000_000)
		if err != nil {
			t.Error(err)
			return
		}
		defer d.Close()
		if d.Kind() != "htb" {
			t.Logf("%s has no rate: nothing waits on a device that is never busy", d.Kind())
			return
		}
		wire, err := between()
		if err != nil {
			t.Error(err)
			return
		}
		defer unix.Close(wire)
		const be, lc = 400, 20
		// A sender that did not run for seconds finds the queue empty, and tries again.
		for range 10 {
			if err := send(portBE, d.Priority[api.BE], be, 1200); err != nil {
				t.Error(err)
				return
			}
			if err := send(portLC, d.Priority[api.LC], lc, 100); err != nil {
				t.Error(err)
				return
			}
			if waiting(t) < be/2 {
				await(t, wire, be+lc)
				continue
			}
			before := 0
			for left := lc; left > 0; {
				switch await(t, wire, 1) {
				case portLC:
					left--
				case portBE:
					before++
				default:
					return
				}
			}
			if before > be/2 {
				t.Errorf("%d of %d best-effort packets went before latency-critical ones, though half of them were waiting", before, be)
			}
			return
		}
		t.Error("best-effort packets never had to wait")
	})
}

// between gives both ends of the pair what they need, and returns a socket that
// sees what arrives.
func between() (int, error) {
	qa, err := netlink.LinkByName("qa")
	if err != nil {
		return 0, err
	}
	qb, err := netlink.LinkByName("qb")
	if err != nil {
		return 0, err
	}
	addr, err := netlink.ParseAddr("10.9.8.1/24")
	if err != nil {
		return 0, err
	}
	for _, l := range []netlink.Link{qa, qb} {
		if err := netlink.LinkSetUp(l); err != nil {
			return 0, err
		}
	}
	if err := netlink.AddrAdd(qa, addr); err != nil {
		return 0, err
	}
	if err := netlink.NeighSet(&netlink.Neigh{LinkIndex: qa.Attrs().Index, IP: net.IPv4(10, 9, 8, 2), HardwareAddr: qb.Attrs().HardwareAddr, State: netlink.NUD_PERMANENT}); err != nil {
		return 0, err
	}
	ip := binary.NativeEndian.Uint16([]byte{unix.ETH_P_IP >> 8, unix.ETH_P_IP & 0xff})
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, int(ip))
	if err != nil {
		return 0, err
	}
	err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: ip, Ifindex: qb.Attrs().Index})
	if err == nil {
		err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 4<<20)
	}
	if err == nil {
		err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30})
	}
	if err != nil {
		unix.Close(fd)
		return 0, err
	}
	return fd, nil
}

// send puts packets of a class into the device's queue.
func send(port, priority, packets, size int) error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, priority); err != nil {
		return err
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_SNDBUFFORCE, 4<<20); err != nil {
		return err
	}
	for range packets {
		if err := unix.Sendto(fd, make([]byte, size), 0, &unix.SockaddrInet4{Port: port, Addr: [4]byte{10, 9, 8, 2}}); err != nil {
			return err
		}
	}
	return nil
}

// waiting is how many packets the device has not sent yet.
func waiting(t *testing.T) int {
	link, err := netlink.LinkByName("qa")
	if err != nil {
		t.Error(err)
		return 0
	}
	classes, err := netlink.ClassList(link, netlink.MakeHandle(major, 1))
	if err != nil {
		t.Error(err)
	}
	n := 0
	for _, c := range classes {
		if c.Attrs().Handle == netlink.MakeHandle(major, classBE) {
			n = int(c.Attrs().Statistics.Queue.Qlen)
		}
	}
	return n
}

// await reads packets of ours and returns the last one's port; 0 is that none
// came.
func await(t *testing.T, wire, packets int) (port int) {
	b := make([]byte, 2048)
	for packets > 0 {
		n, _, err := unix.Recvfrom(wire, b, 0)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			t.Errorf("of packets that were sent: %v", err)
			return 0
		}
		if n < 24 || b[9] != unix.IPPROTO_UDP {
			continue
		}
		if port = int(binary.BigEndian.Uint16(b[22:])); port == portLC || port == portBE {
			packets--
		}
	}
	return port
}
