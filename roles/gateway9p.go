package roles

import (
	"context"
	"sync"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/export"
	"sigmaos/naming/view"
	"sigmaos/net/control"
	"sigmaos/net/fdpass"
	"sigmaos/sigma"
)

// start9P serves the realms to clients of plain 9P.
func (s *System) start9P(undo *undoStack) error {
	from, err := s.Config.Clients9P()
	if err != nil {
		return err
	}
	in := &inside{s: s}
	in.ctx, in.stop = context.WithCancel(context.Background())
	undo.add(in.close)
	l, err := export.Listen(export.Config{
		Addr: s.Config.Gateway9P, From: from, Node: s.Config.Node, Check: s.checkToken, Log: s.Log.With("role", "gateway", "protocol", "9p"),
		Open: func(c api.Caller) export.Source {
			return view.NewNames(func(context.Context) (*sigma.Client, error) { return in.connect(c) })
		},
	})
	if err != nil {
		return err
	}
	undo.add(l.Close)
	s.Log.Info("plain 9P is served", "at", l.Addr())
	return nil
}

// inside makes control channels between this process and itself, for those who
// speak for a client that has none.
type inside struct {
	s    *System
	ctx  context.Context
	stop context.CancelFunc
	wg   sync.WaitGroup
}

// connect gives c what a program outside has at the gateway, and descriptors
// besides. It is the caller's to close.
func (in *inside) connect(c api.Caller) (*sigma.Client, error) {
	server, fd, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		return nil, api.E(api.Unavailable, "connect", "", "%v", err)
	}
	conn, err := fdpass.New(fd, fdpass.Take)
	if err != nil {
		server.Close()
		return nil, api.E(api.Unavailable, "connect", "", "%v", err)
	}
	in.wg.Go(func() {
		if err := control.Serve(in.ctx, server, c, in.s.Schedd, in.s.Proxy); err != nil && in.ctx.Err() == nil {
			in.s.Log.Debug("a client's connection inside", "realm", c.Realm, "err", err)
		}
	})
	return sigma.NewClient(conn), nil
}

// close is called when nobody connects any more.
func (in *inside) close() error {
	in.stop()
	in.wg.Wait()
	return nil
}
