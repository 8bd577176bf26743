package sigma

import (
	"context"
	"net"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/net/fdpass"
)

// self is the proc's own channel, opened when first used.
var self = sync.OnceValue(func() *Client {
	const control = 3
	c, err := fdpass.New(control, fdpass.Take)
	if err != nil {
		return &Client{err: api.E(api.Unavailable, "connection", "", "descriptor 3 is no control channel; is this program a proc? (%v)", err)}
	}
	return NewClient(c)
})

// Self is the connection of the proc that calls: its descriptor 3. In a
// program that is no proc its calls fail.
func Self() *Client { return self() }

// Spawn is Self().Spawn, and so on for the others.
func Spawn(ctx context.Context, d *Desc) (ProcID, error) { return self().Spawn(ctx, d) }

// WaitStart waits until a proc said Started.
func WaitStart(ctx context.Context, id ProcID) error { return self().WaitStart(ctx, id) }

// WaitExit waits for a proc's final status.
func WaitExit(ctx context.Context, id ProcID) (Status, error) { return self().WaitExit(ctx, id) }

// Kill asks a proc to end, and ends it after grace.
func Kill(ctx context.Context, id ProcID, grace time.Duration) error {
	return self().Kill(ctx, id, grace)
}

// Started says that this proc is ready.
func Started(ctx context.Context) error { return self().Started(ctx) }

// Exited reports this proc's end; then it should leave.
func Exited(st Status) error { return self().Exited(st) }

// WaitKill waits until somebody asks this proc to end.
func WaitKill(ctx context.Context) (string, time.Duration, error) { return self().WaitKill(ctx) }

// NewEndpoint makes an endpoint of this proc and the listener on it.
func NewEndpoint(ctx context.Context) (*Listener, Endpoint, error) { return self().NewEndpoint(ctx) }

// Dial connects with an endpoint of the realm.
func Dial(ctx context.Context, ep Endpoint) (net.Conn, error) { return self().Dial(ctx, ep) }

// DialExternal connects with host:port in the outside world.
func DialExternal(ctx context.Context, address string) (net.Conn, error) {
	return self().DialExternal(ctx, address)
}

// DialPath connects with what is published at a path of the realm.
func DialPath(ctx context.Context, path string) (net.Conn, error) { return self().DialPath(ctx, path) }
