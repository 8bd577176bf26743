package lab

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/vishvananda/netlink"
)

// A Way is how packets fare from one member of a Switch to another; the zero Way
// carries them all.
type Way struct {
	Cut    bool          // nothing comes through, and nobody is told
	Loss   float64       // of the packets
	Double float64       // of the packets
	Delay  time.Duration // of each, and up to as much again: they overtake each other
}

// Switch joins spaces as one network whose packets this program carries, so that
// it can lose, double, delay and reorder them, each way by itself, on a kernel
// that cannot. It is for faults, not for throughput.
type Switch struct {
	done chan struct{}
	wg   sync.WaitGroup

	mu    sync.Mutex
	rng   *rand.Rand
	ports map[netip.Addr]*os.File
	ways  map[[2]netip.Addr]Way
	held  int // packets under way
}

// NewSwitch makes a switch with no member; seed decides which packets are lost.
func NewSwitch(seed uint64) *Switch {
	return &Switch{
		done: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 1)),
		ports: make(map[netip.Addr]*os.File), ways: make(map[[2]netip.Addr]Way),
	}
}

// Member is the address of the i-th member, from 0: in a range that RFC 2544 set
// aside for benches.
func Member(i int) netip.Addr { return netip.AddrFrom4([4]byte{198, 18, 1, byte(i + 1)}) }

// Join gives a space an address on the switch.
func (w *Switch) Join(s *Space, addr netip.Addr) error {
	var tun *os.File
	err := s.Do(func() (err error) {
		if tun, err = openTUN("wire"); err != nil {
			return err
		}
		l, err := netlink.LinkByName("wire")
		if err == nil {
			err = netlink.LinkSetMTU(l, 16<<10)
		}
		if err == nil {
			err = up("wire", netip.PrefixFrom(addr, 24))
		}
		return err
	})
	if err != nil {
		if tun != nil {
			tun.Close()
		}
		return fmt.Errorf("lab: join %s: %w", addr, err)
	}
	w.mu.Lock()
	w.ports[addr] = tun
	w.mu.Unlock()
	w.wg.Go(func() { w.read(addr, tun) })
	return nil
}

// Set decides what packets from one member to another meet from now on.
func (w *Switch) Set(from, to netip.Addr, way Way) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ways[[2]netip.Addr{from, to}] = way
}

// Heal makes every way a plain one.
func (w *Switch) Heal() {
	w.mu.Lock()
	defer w.mu.Unlock()
	clear(w.ways)
}

// read takes what a member sends until its device is closed.
func (w *Switch) read(from netip.Addr, tun *os.File) {
	buf := make([]byte, 64<<10)
	for {
		n, err := tun.Read(buf)
		if err != nil {
			return
		}
		if n >= 20 && buf[0]>>4 == 4 {
			w.carry(from, netip.AddrFrom4([4]byte(buf[16:20])), buf[:n])
		}
	}
}

// carry brings a packet to its receiver, now or later, once, twice or not at all.
func (w *Switch) carry(from, to netip.Addr, p []byte) {
	w.mu.Lock()
	out, way := w.ports[to], w.ways[[2]netip.Addr{from, to}]
	times := 1
	if way.Cut || out == nil || w.rng.Float64() < way.Loss {
		times = 0
	} else if w.rng.Float64() < way.Double {
		times = 2
	}
	var late [2]time.Duration
	if way.Delay > 0 {
		for i := range times {
			late[i] = way.Delay + time.Duration(w.rng.Int64N(int64(way.Delay)))
		}
		if w.held+times > maxHeld {
			times = 0
		}
		w.held += times
	}
	w.mu.Unlock()
	if times == 0 {
		return
	}
	if way.Delay == 0 {
		for range times {
			out.Write(p)
		}
		return
	}
	p = append([]byte(nil), p...)
	for i := range times {
		w.wg.Go(func() {
			t := time.NewTimer(late[i])
			defer t.Stop()
			select {
			case <-t.C:
				out.Write(p)
			case <-w.done:
			}
			w.mu.Lock()
			w.held--
			w.mu.Unlock()
		})
	}
}

// Close takes the switch away, and its devices with it.
func (w *Switch) Close() {
	close(w.done)
	w.mu.Lock()
	for _, f := range w.ports {
		f.Close()
	}
	w.mu.Unlock()
	w.wg.Wait()
}
