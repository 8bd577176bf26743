package export

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

const maxClients = 512 // connections of one listener

// accept takes connections until lis is closed, and returns when the last one
// has ended. serve does one; it does not return before that is over.
func accept(lis net.Listener, log *slog.Logger, serve func(net.Conn)) {
	slots := make(chan struct{}, maxClients)
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := lis.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			log.Warn("9p", "err", err)
			time.Sleep(20 * time.Millisecond) // out of descriptors: do not spin
			continue
		}
		select {
		case slots <- struct{}{}:
		default:
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-slots }()
			serve(c)
		})
	}
}

// serve9p serves fs on one connection until that or ctx ends.
func serve9p(ctx context.Context, c net.Conn, fs tree.FS, log *slog.Logger) {
	if err := ninep.Serve(ctx, c, api.Caller{}, fs, ninep.Options{}); err != nil && ctx.Err() == nil {
		log.Debug("9p", "from", c.RemoteAddr(), "err", err)
	}
}
