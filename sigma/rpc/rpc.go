// Package rpc is a small RPC for procs that want no gRPC: calls and streams over
// a connection between procs, with typed errors, deadlines and cancellation.
// docs/RPC.md has the frames.
//
//	srv := rpc.NewServer(rpc.Options{})
//	srv.Handle("greet", func(ctx context.Context, r *rpc.Request) ([]byte, error) {
//		return []byte("hello, " + string(rpc.PeerOf(r).Proc)), nil
//	})
//	err := rpc.Serve(ctx, lis, srv)
//
//	c, err := rpc.Dial(ctx, ep)
//	answer, err := c.Call(ctx, "greet", nil)
//
// An error that a handler returns reaches the caller with its kind
// (api.KindOf).
package rpc

import (
	"context"
	"net"

	"sigmaos/net/rpc"
	"sigmaos/sigma"
)

type (
	Options = rpc.Options
	Server  = rpc.Server
	Client  = rpc.Client
	Request = rpc.Request
	Stream  = rpc.Stream
)

// NewServer returns a server without methods.
func NewServer(o Options) *Server {
	if o.Peer == nil {
		o.Peer = func(c net.Conn) (any, error) {
			p, _ := sigma.PeerOf(c)
			return p, nil
		}
	}
	return rpc.NewServer(o)
}

// Serve serves what comes to a listener until that is closed or ctx ends.
func Serve(ctx context.Context, lis net.Listener, s *Server) error { return s.Serve(ctx, lis) }

// PeerOf is who asks, as σOS knows it.
func PeerOf(r *Request) sigma.Peer {
	p, _ := r.Peer.(sigma.Peer)
	return p
}

// Dial connects with a server.
func Dial(ctx context.Context, ep sigma.Endpoint) (*Client, error) {
	conn, err := sigma.Dial(ctx, ep)
	if err != nil {
		return nil, err
	}
	return NewClient(conn), nil
}

// NewClient calls over a connection, which it owns from now on.
func NewClient(conn net.Conn) *Client { return rpc.NewClient(conn, Options{}) }
