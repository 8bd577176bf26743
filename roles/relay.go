package roles

import (
	"context"
	"net"
	"time"

	"sigmaos/api"
	"sigmaos/internal/splice"
)

// relay hands a caller's connection on to a service of another node.
func (s *System) relay(ctx context.Context, conn net.Conn, c api.Caller, service, node string) {
	dctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	p, err := s.Proxy.Dial(dctx, c, api.Target{Service: service, Node: node})
	cancel()
	if err == nil {
		there, cerr := connOf(p)
		if err = cerr; err == nil {
			defer there.Close()
			splice.Join(ctx, conn, there)
			return
		}
	}
	s.Log.Debug("handing a connection on", "service", service, "node", node, "err", err)
}

// whileSame runs serve until it ends, or what it serves is not the right thing any
// more: then the connection ends, and the next one finds the right one.
func whileSame(ctx context.Context, same func() bool, serve func(context.Context)) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		tick := time.NewTicker(500 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
				if !same() {
					cancel()
					return
				}
			}
		}
	}()
	serve(ctx)
	cancel()
	<-done
}
