package dialproxy

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
)

// stepTime bounds each step of a set-up on both sides.
const stepTime = 5 * time.Second

// dialNode connects with an endpoint or service of another node: TCP, one
// message there, one back, and the socket is the caller's.
func (p *Proxy) dialNode(ctx context.Context, c api.Caller, node uint16, boot uint32, s setup, ep api.Endpoint) (control.Passed, error) {
	none := control.Passed{FD: -1}
	addr, alive, ok := p.cfg.Nodes.Address(node)
	if !ok || boot != 0 && alive != boot {
		return none, errRefused
	}
	s.from, s.fromBoot, s.to, s.toBoot, s.caller = p.cfg.Node, p.cfg.Boot, node, alive, c
	for try := 0; ; try++ {
		conn, st, err := p.handshake(ctx, addr, s)
		if err != nil {
			return none, p.nodeError(ctx, node, err)
		}
		switch {
		case st == accepted:
			fd, err := release(conn)
			if err != nil {
				return none, outOf(err)
			}
			return control.Passed{FD: fd, Peer: api.Peer{Realm: c.Realm, Node: p.cfg.Nodes.Name(node), Endpoint: ep}}, nil
		case st == staleKey && try == 0:
			continue
		case st == refused:
			return none, errRefused
		case st == busy:
			return none, api.E(api.Busy, "dial", ep.Short(), "too many connections wait for this listener, or for all of the realm; accept faster, or try again")
		}
		return none, api.E(api.Unavailable, "dial", ep.Short(), "node %s does not take our set-up; is its sigmad of this cluster?", p.cfg.Nodes.Name(node))
	}
}

// handshake does everything up to the answer. The connection is open only with
// status accepted.
func (p *Proxy) handshake(ctx context.Context, addr string, s setup) (_ *net.TCPConn, st status, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.step)
	defer cancel()
	k, err := p.outgoing(ctx, s.to, s.toBoot)
	if err != nil {
		return nil, 0, err
	}
	d := net.Dialer{Control: p.mark(s.caller.Class)}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, 0, err
	}
	conn := c.(*net.TCPConn)
	defer func() {
		if err != nil || st != accepted {
			conn.Close()
		}
	}()
	end := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer end()
	s.counter = k.counter.Add(1)
	msg, err := s.encode(k.key)
	if err != nil {
		return nil, 0, err
	}
	if _, err := conn.Write(msg); err != nil {
		return nil, 0, err
	}
	if st, err = readAnswer(conn, k.key, s.counter); err != nil {
		return nil, 0, err
	}
	if st == staleKey {
		k.stale.Store(true)
	}
	if !end() && ctx.Err() != nil {
		return nil, 0, ctx.Err()
	}
	return conn, st, nil
}

func (p *Proxy) nodeError(ctx context.Context, node uint16, err error) error {
	switch {
	case isOut(err):
		return outOf(err)
	case ctx.Err() != nil:
		return api.E(api.Canceled, "dial", "", "the caller stopped waiting")
	}
	return api.E(api.Unavailable, "dial", "", "node %s does not answer: %v", p.cfg.Nodes.Name(node), err)
}

// mark sets the priority of a socket's packets before it connects.
func (p *Proxy) mark(class api.Class) func(network, address string, rc syscall.RawConn) error {
	prio := p.cfg.Priority[class&1]
	if prio == 0 {
		return nil
	}
	return func(_, _ string, rc syscall.RawConn) error {
		return rc.Control(func(fd uintptr) { unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PRIORITY, prio) })
	}
}

// release takes the descriptor out of a connection, which is closed here: only
// the descriptor keeps it open.
func release(conn *net.TCPConn) (int, error) {
	defer conn.Close()
	return dup(conn)
}

// dup is another descriptor of a connection.
func dup(conn syscall.Conn) (fd int, err error) {
	rc, err := conn.SyscallConn()
	if err != nil {
		return -1, err
	}
	cerr := rc.Control(func(s uintptr) { fd, err = unix.FcntlInt(s, unix.F_DUPFD_CLOEXEC, 0) })
	if err = errors.Join(err, cerr); err != nil {
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}

// ServeSetup takes a connection from the node's port on which the first byte
// of a setup message was read. It owns conn, and returns when the connection is
// its listener's or service's.
func (p *Proxy) ServeSetup(conn *net.TCPConn) {
	conn.SetDeadline(time.Now().Add(p.step))
	b, err := readSetup(conn)
	if err != nil {
		conn.Close()
		return
	}
	s, err := decodeSetup(b)
	if err != nil {
		conn.Close()
		return
	}
	k := p.incoming(s.from, s.fromBoot)
	switch {
	case s.to != p.cfg.Node || s.toBoot != p.cfg.Boot || k == nil:
		p.deny(conn, nil, s.counter, staleKey)
	case !verify(k.key, b), !k.fresh(s.counter):
		p.loud.Warn("a set-up of a connection was forged or replayed", "from", conn.RemoteAddr())
		p.deny(conn, nil, s.counter, badSetup)
	default:
		if p.cfg.Nodes != nil {
			s.caller.Node = p.cfg.Nodes.Name(s.from)
		}
		p.admit(conn, k.key, s)
	}
}

func (p *Proxy) deny(conn net.Conn, key []byte, counter uint64, st status) {
	conn.Write(answer(key, counter, st))
	conn.Close()
}

// admit connects a genuine set-up with what it asks for.
func (p *Proxy) admit(conn *net.TCPConn, key []byte, s setup) {
	if s.service != "" {
		p.admitService(conn, key, s)
		return
	}
	e := p.lookup(s.caller.Realm, s.endpoint)
	if e == nil {
		p.deny(conn, key, s.counter, refused)
		return
	}
	if mark := p.mark(e.owner.Class); mark != nil {
		if rc, err := conn.SyscallConn(); err == nil {
			mark("", "", rc)
		}
	}
	p.handOver(conn, key, s, e)
}

func (p *Proxy) admitService(conn *net.TCPConn, key []byte, s setup) {
	p.mu.Lock()
	q := p.quotaLocked(s.caller.Realm)
	p.mu.Unlock()
	fn, done, err := p.service(s.service, q)
	if err != nil {
		st := refused
		if api.KindOf(err) == api.Busy {
			st = busy
		}
		p.deny(conn, key, s.counter, st)
		return
	}
	own, err := again(conn)
	if err != nil {
		p.loud.Warn("no descriptor for a connection from another node", "err", err)
		p.deny(conn, key, s.counter, busy)
		done()
		return
	}
	_, err = conn.Write(answer(key, s.counter, accepted))
	conn.Close()
	if err != nil {
		own.Close()
		done()
		return
	}
	go func() {
		defer done()
		p.runService(fn, own, s.caller)
	}()
}

// again is a connection that the port does not know: until ServeSetup returns
// it may end its own, to make room for strangers.
func again(conn *net.TCPConn) (net.Conn, error) {
	fd, err := dup(conn)
	if err != nil {
		return nil, err
	}
	f := os.NewFile(uintptr(fd), "service")
	defer f.Close()
	return net.FileConn(f)
}

// handOver answers first: once the socket is the listener's, only the listener
// writes to it. Before that there is a place for it, and a descriptor.
func (p *Proxy) handOver(conn *net.TCPConn, key []byte, s setup, e *endpoint) {
	pl, st := e.claim()
	if st != accepted {
		p.deny(conn, key, s.counter, st)
		return
	}
	fd, err := dup(conn)
	if err != nil {
		e.unclaim(pl)
		p.loud.Warn("no descriptor for a connection from another node", "err", err)
		p.deny(conn, key, s.counter, busy)
		return
	}
	_, err = conn.Write(answer(key, s.counter, accepted))
	conn.Close()
	if err != nil {
		e.unclaim(pl)
	} else {
		err = e.settle(pl, control.Passed{FD: fd, Peer: peerOf(s.caller, e.token)})
	}
	if err != nil {
		unix.Close(fd)
	}
}
