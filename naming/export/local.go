package export

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/view"
	"sigmaos/net/crowd"
)

// LocalOptions are those of [Local].
type LocalOptions struct {
	Addr   string // loopback address with port, or the path of a Unix socket
	Source view.Source
	Log    *slog.Logger
	Ready  func(addr string) // called once, with the address it listens at
}

// Local serves the realm to this user's programs until ctx ends.
func Local(ctx context.Context, o LocalOptions) error {
	fs := view.New(view.Config{Source: o.Source})
	defer fs.Close()
	if err := reachable(ctx, fs); err != nil {
		return err
	}
	lis, err := listenLocal(o.Addr)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { lis.Close() })
	defer stop()
	if o.Ready != nil {
		o.Ready(lis.Addr().String())
	}
	me := os.Geteuid()
	served := crowd.New(maxLocal, maxLocal)
	accept(lis, o.Log, func(c net.Conn) func() {
		uid, err := ownerOf(c)
		if err != nil || uid != 0 && uid != me {
			o.Log.Warn("9p: a connection of another user was refused", "uid", uid, "err", err)
			return nil
		}
		if !served.Enter("") {
			return nil
		}
		return func() {
			defer served.Leave("")
			serve9p(ctx, c, fs, ninep.Options{}, o.Log)
		}
	})
	return nil
}

const maxLocal = 512 // connections

// reachable asks for the root, so that a wrong realm or token is told at once.
func reachable(ctx context.Context, fs *view.FS) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	_, err := fs.Root().Attr(ctx)
	return err
}

func listenLocal(addr string) (net.Listener, error) {
	if strings.Contains(addr, "/") {
		return listenUnix(addr)
	}
	ap, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, api.E(api.Invalid, "9p-serve", addr, "want 127.0.0.1:PORT, or the path of a socket (with a / in it)")
	}
	if !ap.Addr().IsLoopback() {
		return nil, api.E(api.Denied, "9p-serve", addr, "plain 9P is not protected and is served on loopback addresses only; run 9p-serve on the machine that is to mount it, with a realm token (sigmactl realm token)")
	}
	lis, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, api.E(api.Unavailable, "9p-serve", addr, "%v", err)
	}
	return lis, nil
}

func listenUnix(path string) (net.Listener, error) {
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSocket != 0 {
		if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
			c.Close()
			return nil, api.E(api.Exists, "9p-serve", path, "somebody serves there")
		} else if errors.Is(err, unix.ECONNREFUSED) {
			os.Remove(path) // of one that was killed
		}
	}
	lis, err := net.Listen("unix", path)
	if err != nil {
		return nil, api.E(api.Unavailable, "9p-serve", path, "%v", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		lis.Close()
		return nil, err
	}
	return lis, nil
}

// ownerOf is the user of this machine whose program is at the other end.
func ownerOf(c net.Conn) (uid int, err error) {
	switch c := c.(type) {
	case *net.UnixConn:
		return unixOwner(c)
	case *net.TCPConn:
		return tcpOwner(c.RemoteAddr(), c.LocalAddr())
	}
	return -1, errors.New("a connection of no known kind")
}

func unixOwner(c *net.UnixConn) (int, error) {
	rc, err := c.SyscallConn()
	if err != nil {
		return -1, err
	}
	var cred *unix.Ucred
	cerr := rc.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) })
	if err := errors.Join(err, cerr); err != nil {
		return -1, err
	}
	return int(cred.Uid), nil
}
