package roles

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
	"sigmaos/net/fdpass"
)

// startOperator listens on the operator's socket. Who connects is known from
// the kernel: uid 0 may do everything; nobody else gets in.
func startOperator(ctx context.Context, s *System) (func(context.Context) error, error) {
	path := filepath.Join(s.Config.RunDir, "sock")
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, fmt.Errorf("operator's socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		lis.Close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := lis.AcceptUnix()
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				s.Log.Warn("operator's socket", "err", err)
				time.Sleep(50 * time.Millisecond) // out of descriptors: do not spin
				continue
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				s.serveOperator(ctx, c)
			}()
		}
	}()
	return func(context.Context) error {
		err := lis.Close()
		cancel()
		wg.Wait()
		return err
	}, nil
}

func (s *System) serveOperator(ctx context.Context, c *net.UnixConn) {
	defer c.Close()
	uid, err := peerUID(c)
	if err != nil || uid != 0 {
		s.Log.Warn("operator's socket refused a peer", "uid", uid, "err", err)
		return
	}
	conn, err := fdpass.FromUnix(c)
	if err != nil {
		s.Log.Warn("operator's socket", "err", err)
		return
	}
	caller := api.Caller{Node: s.Config.Node, Operator: true}
	if err := control.Serve(ctx, conn, caller, s.Schedd, s.Proxy); err != nil && ctx.Err() == nil {
		s.Log.Debug("operator's connection", "err", err)
	}
}

func peerUID(c *net.UnixConn) (uid uint32, err error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	cerr := rc.Control(func(fd uintptr) {
		cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err := errors.Join(err, cerr); err != nil {
		return 0, err
	}
	return cred.Uid, nil
}
