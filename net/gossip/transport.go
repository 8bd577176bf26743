package gossip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/hashicorp/memberlist"

	"sigmaos/api"
	"sigmaos/net/port"
)

// Packets are at most 1,400 bytes and a head; longer ones are not ours.
const maxPacket = 2048

// transport carries memberlist's packets over UDP and its streams through the
// node's port.
type transport struct {
	cfg     *Config
	udp     *net.UDPConn
	packets chan *memberlist.Packet
	streams chan net.Conn

	ctx        context.Context // ends with Shutdown
	cancel     context.CancelFunc
	unregister func()
	done       chan struct{} // the reader of packets has ended

	mu     sync.Mutex
	closed bool
	conns  map[*stream]struct{}
}

var _ memberlist.NodeAwareTransport = (*transport)(nil)

func newTransport(cfg *Config) (*transport, error) {
	addr := cfg.Port.Addr()
	udp, err := net.ListenUDP("udp", &net.UDPAddr{IP: addr.IP, Port: addr.Port, Zone: addr.Zone})
	if err != nil {
		return nil, api.E(api.Unavailable, "gossip", addr.String(), "the UDP port of the node's number cannot be had: %v", errors.Unwrap(err))
	}
	udp.SetReadBuffer(1 << 20) // as much as the kernel allows
	t := &transport{
		cfg: cfg, udp: udp, packets: make(chan *memberlist.Packet), streams: make(chan net.Conn),
		done: make(chan struct{}), conns: make(map[*stream]struct{}),
	}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	if t.unregister, err = cfg.Port.Handle(ALPN, t.accept); err != nil {
		udp.Close()
		return nil, err
	}
	go t.read()
	return t, nil
}

// FinalAdvertiseAddr is what other nodes are told.
func (t *transport) FinalAdvertiseAddr(string, int) (net.IP, int, error) {
	return t.cfg.Advertise.Addr().AsSlice(), int(t.cfg.Advertise.Port()), nil
}

func (t *transport) read() {
	defer close(t.done)
	buf := make([]byte, maxPacket+1)
	for {
		n, from, err := t.udp.ReadFromUDPAddrPort(buf)
		if t.ctx.Err() != nil {
			return
		}
		if err != nil || n == 0 || n > maxPacket {
			if err != nil {
				select { // whatever it is: do not spin
				case <-time.After(10 * time.Millisecond):
				case <-t.ctx.Done():
					return
				}
			}
			continue
		}
		p := &memberlist.Packet{Buf: append([]byte(nil), buf[:n]...), From: net.UDPAddrFromAddrPort(from), Timestamp: time.Now()}
		select {
		case t.packets <- p:
		case <-t.ctx.Done():
			return
		}
	}
}

// WriteTo sends a packet.
func (t *transport) WriteTo(b []byte, addr string) (time.Time, error) {
	to, err := netip.ParseAddrPort(addr)
	if err != nil {
		return time.Time{}, err
	}
	if t.cfg.unreachable == nil || !t.cfg.unreachable(to) {
		_, err = t.udp.WriteToUDPAddrPort(b, to)
	}
	return time.Now(), err
}

// WriteToAddress sends a packet; who is there does not matter, as it cannot be
// read without the secret.
func (t *transport) WriteToAddress(b []byte, a memberlist.Address) (time.Time, error) {
	return t.WriteTo(b, a.Addr)
}

// PacketCh gives the packets that come in.
func (t *transport) PacketCh() <-chan *memberlist.Packet { return t.packets }

// StreamCh gives the streams that come in.
func (t *transport) StreamCh() <-chan net.Conn { return t.streams }

// DialTimeout connects to any node of the cluster.
func (t *transport) DialTimeout(addr string, limit time.Duration) (net.Conn, error) {
	return t.DialAddressTimeout(memberlist.Address{Addr: addr}, limit)
}

// DialAddressTimeout connects to that node.
func (t *transport) DialAddressTimeout(a memberlist.Address, limit time.Duration) (net.Conn, error) {
	if to, err := netip.ParseAddrPort(a.Addr); err == nil && t.cfg.unreachable != nil && t.cfg.unreachable(to) {
		return nil, api.E(api.Unavailable, "connect", a.Name, "partition")
	}
	ctx, cancel := context.WithTimeout(t.ctx, limit)
	defer cancel()
	c, err := t.cfg.Port.Dial(ctx, a.Addr, a.Name, ALPN)
	if err != nil {
		return nil, err
	}
	return t.own(c)
}

func (t *transport) accept(ctx context.Context, c *port.Conn) {
	s, err := t.own(c)
	if err != nil {
		return
	}
	select {
	case t.streams <- s:
	case <-t.ctx.Done():
		s.Close()
	case <-ctx.Done():
		s.Close()
	}
}

// stream is a connection that Shutdown can end, as memberlist does not wait for
// those it has.
type stream struct {
	net.Conn
	t *transport
}

func (s *stream) Close() error {
	s.t.mu.Lock()
	delete(s.t.conns, s)
	s.t.mu.Unlock()
	return s.Conn.Close()
}

func (t *transport) own(c net.Conn) (net.Conn, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		c.Close()
		return nil, net.ErrClosed
	}
	s := &stream{c, t}
	t.conns[s] = struct{}{}
	return s, nil
}

// Shutdown ends everything that comes in or is under way.
func (t *transport) Shutdown() error {
	t.unregister()
	t.cancel()
	err := t.udp.Close()
	t.mu.Lock()
	t.closed = true
	for s := range t.conns {
		s.SetDeadline(time.Unix(1, 0)) // its owner closes it
	}
	t.mu.Unlock()
	<-t.done
	return err
}
