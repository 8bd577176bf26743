package dialproxy

import (
	"context"
	"fmt"
	"net"
	"runtime/debug"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
	"sigmaos/net/fdpass"
)

// dialService connects with a part of σOS: here, or on the node that has it.
func (p *Proxy) dialService(ctx context.Context, c api.Caller, t api.Target, q *quota) (control.Passed, error) {
	none := control.Passed{FD: -1}
	node := p.cfg.Node
	if c.Proc != "" {
		p.mu.Lock()
		p.users[c.Proc] = c.Realm
		p.mu.Unlock()
	}
	switch locate := p.cfg.Locate[t.Service]; {
	case t.Node != "" && t.Node != p.cfg.Name:
		ok := false
		if p.cfg.Nodes != nil {
			node, ok = p.cfg.Nodes.Number(t.Node)
		}
		if !ok {
			return none, api.E(api.NotFound, "dial", t.Service, "there is no live node %q", t.Node)
		}
	case t.Node == "" && locate != nil:
		n, err := locate(ctx, c.Realm, t.Service)
		if err != nil {
			return none, err
		}
		node = n
	}
	if node != p.cfg.Node {
		return p.dialNode(ctx, c, node, 0, setup{service: t.Service}, "")
	}
	fn, done, err := p.service(t.Service, q)
	if err != nil {
		return none, err
	}
	ours, theirs, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		done()
		return none, outOf(err)
	}
	unix.SetNonblock(theirs, true)
	go func() {
		defer done()
		p.runService(fn, ours, c)
	}()
	return control.Passed{FD: theirs, Peer: api.Peer{Realm: c.Realm, Node: p.cfg.Name}}, nil
}

// service finds a service of this node and counts one connection with it, until
// done.
func (p *Proxy) service(name string, q *quota) (_ Service, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fn, l := p.services[name], p.cfg.Limits
	switch {
	case fn == nil || p.closed:
		return nil, nil, api.E(api.NotFound, "dial", name, "this node has no such service")
	case !take(&q.services, &p.serving, l.Services, l.NodeServices):
		return nil, nil, api.E(api.Busy, "dial", name, "the realm has %d connections with services of this node; close some", q.services.Load())
	}
	p.wg.Add(1)
	return fn, func() {
		give(&q.services, &p.serving)
		p.wg.Done()
	}, nil
}

// runService keeps a service's defect from taking the node down.
func (p *Proxy) runService(fn Service, conn net.Conn, c api.Caller) {
	defer conn.Close()
	defer func() {
		if r := recover(); r != nil {
			p.log.Error("a service failed", "err", fmt.Sprint(r), "stack", string(debug.Stack()))
		}
	}()
	fn(p.ctx, conn, c)
}

// Bring hands a connection that came from outside to a listener: the gateway
// has found out for whom it is. fd is the proxy's from now on, whatever comes of
// it. Kind Unsupported says that the listener is on another node.
func (p *Proxy) Bring(ctx context.Context, c api.Caller, t api.Target, fd int) (err error) {
	defer func() {
		if err != nil {
			unix.Close(fd)
		}
	}()
	list := []api.Target{t}
	if t.Path != "" && p.cfg.Resolve != nil {
		if list, err = p.cfg.Resolve(ctx, c, t.Path); err != nil {
			return err
		}
	}
	err = errRefused
	away := false
	for _, t := range list {
		node, boot, id, ok := t.Endpoint.Parse()
		if !ok || node != p.cfg.Node {
			away = away || ok
			continue
		}
		e := p.lookup(c.Realm, id)
		if e == nil || boot != p.cfg.Boot {
			continue // it has gone; there may be another
		}
		if prio := p.cfg.Priority[e.owner.Class&1]; prio != 0 {
			unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_PRIORITY, prio)
		}
		if err = e.offer(control.Passed{FD: fd, Peer: peerOf(c, t.Endpoint)}); err == nil {
			return nil
		}
	}
	if away {
		return api.E(api.Unsupported, "bring", "", "the listener is on another node")
	}
	return err
}
