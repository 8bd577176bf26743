package sigma

import (
	"context"
	"net"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// Endpoint names a listening proc: short opaque text that may be stored, passed
// on and dialled by any proc of the realm.
type Endpoint = api.Endpoint

// passed asks for something that is answered with a descriptor.
func (c *Client) passed(ctx context.Context, t wire.Type, payload []byte, local Peer, late func(answer) error) (conn *Conn, err error) {
	err = c.streamLate(ctx, t, payload, late, func(a answer) error {
		if conn != nil {
			closeFD(a.fd)
			return api.E(api.Internal, "connection", "", "sigmad gave two for one request")
		}
		var err error
		conn, err = connOf(a, local)
		return err
	})
	if err != nil && conn != nil {
		conn.Close()
		conn = nil
	}
	return conn, err
}

// connOf makes a connection of an answer, whose descriptor it takes over.
func connOf(a answer, local Peer) (*Conn, error) {
	if a.fd < 0 {
		return nil, api.E(api.Busy, "connection", "", "its descriptor did not arrive; are this proc's descriptors used up?")
	}
	peer, err := wire.DecodePeer(a.Payload)
	if err != nil {
		closeFD(a.fd)
		return nil, err
	}
	return newConn(a.fd, local, peer)
}

// dial connects with a target.
func (c *Client) dial(ctx context.Context, t api.Target) (net.Conn, error) {
	if c.outside != nil {
		return c.outside(ctx, t)
	}
	conn, err := c.passed(ctx, wire.TDial, wire.EncodeDial(t), Peer{}, nil)
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
// endpoint, or a service outside that an operator made known. DIRECTORY/~any is one of
// those in a directory: of this node if there is one, else by chance, and the next one
// where it is gone.
func (c *Client) DialPath(ctx context.Context, path string) (net.Conn, error) {
	return c.dial(ctx, api.Target{Path: path})
}
