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

// accept takes connections until lis is closed, and returns when the last one has
// ended. admit says at once who serves a connection, and returns nil when it is to
// be closed; who serves does not return before that is over.
func accept(lis net.Listener, log *slog.Logger, admit func(net.Conn) (serve func())) {
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
		serve := admit(c)
		if serve == nil {
			c.Close()
			continue
		}
		wg.Go(serve)
	}
}

// serve9p serves fs on one connection until that or ctx ends.
func serve9p(ctx context.Context, c net.Conn, fs tree.FS, o ninep.Options, log *slog.Logger) {
	if err := ninep.Serve(ctx, c, api.Caller{}, fs, o); err != nil && ctx.Err() == nil {
		log.Debug("9p", "from", c.RemoteAddr(), "err", err)
	}
}
