package sigma

import (
	"context"
	"net"
	"sync"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// Endpoint names a listening proc: short opaque text that may be stored, passed
// on and dialled by any proc of the realm.
type Endpoint = api.Endpoint

// Listener is a net.Listener on an endpoint of this proc.
type Listener struct {
	c   *Client
	ep  Endpoint
	ctx context.Context

	once sync.Once
	stop context.CancelFunc
}

var _ net.Listener = (*Listener)(nil)

// NewEndpoint makes an endpoint and the listener on it. It lasts until Close or
// the end of the proc.
func (c *Client) NewEndpoint(ctx context.Context) (*Listener, Endpoint, error) {
	p, err := c.ask(ctx, wire.TNewEndpoint, nil)
	if err != nil {
		return nil, "", err
	}
	ep, err := wire.DecodeEndpoint(p)
	if err != nil {
		return nil, "", err
	}
	l := &Listener{c: c, ep: ep}
	l.ctx, l.stop = context.WithCancel(context.Background())
	return l, ep, nil
}

// Accept waits for the next connection. What it returns is a *Conn.
func (l *Listener) Accept() (net.Conn, error) {
	conn, err := l.AcceptContext(l.ctx)
	if err != nil {
		if l.ctx.Err() != nil {
			err = net.ErrClosed
		}
		return nil, &net.OpError{Op: "accept", Net: "sigma", Addr: l.Addr(), Err: err}
	}
	return conn, nil
}

// AcceptContext waits for the next connection until ctx ends.
func (l *Listener) AcceptContext(ctx context.Context) (*Conn, error) {
	return l.c.passed(ctx, wire.TAccept, wire.EncodeEndpoint(l.ep), Peer{Endpoint: l.ep})
}

// Addr is the endpoint.
func (l *Listener) Addr() net.Addr { return Addr{Peer{Endpoint: l.ep}} }

// Endpoint is what others dial.
func (l *Listener) Endpoint() Endpoint { return l.ep }

// Close ends the endpoint: waiting Accepts end, dials are refused. Connections
// go on.
func (l *Listener) Close() (err error) {
	l.once.Do(func() {
		l.stop()
		_, err = l.c.ask(context.Background(), wire.TCloseEndpoint, wire.EncodeEndpoint(l.ep))
	})
	return err
}

// passed asks for something that is answered with a descriptor.
func (c *Client) passed(ctx context.Context, t wire.Type, payload []byte, local Peer) (conn *Conn, err error) {
	err = c.stream(ctx, t, payload, func(a answer) error {
		if a.fd < 0 {
			return api.E(api.Busy, "connection", "", "its descriptor did not arrive; are this proc's descriptors used up?")
		}
		peer, err := wire.DecodePeer(a.Payload)
		if err != nil {
			closeFD(a.fd)
			return err
		}
		conn, err = newConn(a.fd, local, peer)
		return err
	})
	return conn, err
}

// dial connects with a target.
func (c *Client) dial(ctx context.Context, t api.Target) (net.Conn, error) {
	if c.outside != nil {
		return c.outside(ctx, t)
	}
	conn, err := c.passed(ctx, wire.TDial, wire.EncodeDial(t), Peer{})
	if err != nil { // a nil *Conn must not become a net.Conn that is not nil
		return nil, err
	}
	return conn, nil
}

// DialTarget is what the other dials are made of.
func (c *Client) DialTarget(ctx context.Context, t api.Target) (net.Conn, error) {
	return c.dial(ctx, t)
}

// Dial connects with an endpoint of the realm, on whatever node it is. What it
// returns is a *Conn.
func (c *Client) Dial(ctx context.Context, ep Endpoint) (net.Conn, error) {
	return c.dial(ctx, api.Target{Endpoint: ep})
}

// DialExternal connects with host:port in the outside world. A name is looked
// up by the node; addresses of the provider and private ones are refused.
func (c *Client) DialExternal(ctx context.Context, address string) (net.Conn, error) {
	return c.dial(ctx, api.Target{External: address})
}

// DialPath connects with what is published at a path of the realm: a proc's
// endpoint, or a service outside that an operator made known.
func (c *Client) DialPath(ctx context.Context, path string) (net.Conn, error) {
	return c.dial(ctx, api.Target{Path: path})
}
