package lab

import (
	"fmt"
	"net"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"
)

// maxHeld bounds the packets that are on the longer way; what comes when it is
// full is lost, as on a real one.
const maxHeld = 1024

// Delay makes the way between the two sides longer by d each way, for all
// connections between their addresses on the cable, until undo. It is for
// latency: this program carries each packet.
func (p *Pair) Delay(d time.Duration) (undo func() error, err error) {
	var tun [2]*os.File
	closeAll := func() {
		for _, f := range tun {
			if f != nil {
				f.Close()
			}
		}
	}
	err = p.each(func(i int) (err error) {
		if tun[i], err = openTUN("longer"); err != nil {
			return err
		}
		return routeTo(i)
	})
	if err != nil {
		closeAll()
		return nil, err
	}
	var wg sync.WaitGroup
	for i := range tun {
		held := make(chan packet, maxHeld)
		wg.Go(func() { take(tun[i], held, d) })
		wg.Go(func() { deliver(held, tun[1-i]) })
	}
	return func() error { // the routes go with their devices, these with their descriptors
		closeAll()
		wg.Wait()
		return nil
	}, nil
}

// openTUN makes a point-to-point device in this thread's namespace; what is
// sent to it is read from the file.
func openTUN(name string) (*os.File, error) {
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_CLOEXEC|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("lab: /dev/net/tun: %w", err)
	}
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	var l netlink.Link
	if err == nil {
		l, err = netlink.LinkByName(name)
	}
	if err == nil {
		err = netlink.LinkSetUp(l)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("lab: a TUN device: %w", err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// routeTo sends what is for the other side over the longer way.
func routeTo(i int) error {
	l, err := netlink.LinkByName("longer")
	if err != nil {
		return err
	}
	to := &net.IPNet{IP: cable[1-i].Addr().AsSlice(), Mask: net.CIDRMask(32, 32)}
	err = netlink.RouteReplace(&netlink.Route{LinkIndex: l.Attrs().Index, Dst: to, Src: cable[i].Addr().AsSlice(), Scope: netlink.SCOPE_LINK})
	if err != nil {
		return fmt.Errorf("lab: a route: %w", err)
	}
	return nil
}

type packet struct {
	due  time.Time
	data []byte
}

// take reads packets until the device is closed.
func take(from *os.File, held chan<- packet, d time.Duration) {
	defer close(held)
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case held <- packet{time.Now().Add(d), append([]byte(nil), buf[:n]...)}:
		default:
		}
	}
}

// deliver writes each packet when it is due.
func deliver(held <-chan packet, to *os.File) {
	for p := range held {
		time.Sleep(time.Until(p.due))
		to.Write(p.data)
	}
}
