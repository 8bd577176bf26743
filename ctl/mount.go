package ctl

import (
	"context"
	"fmt"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// Connect makes a connection to the realm; whoever shows it for long makes a new
// one when sigmad was started again.
type Connect func(ctx context.Context) (*sigma.Client, error)

// MountOptions are mount's.
type MountOptions struct {
	Dir      string
	Name     string // of the realm, for df
	Others   bool   // other users of this machine may use it too
	ReadOnly bool
	Ready    func(point string, cleaned bool)
	Busy     func(point string)
}

// ServeOptions are 9p-serve's.
type ServeOptions struct {
	Addr  string // 127.0.0.1:PORT or the path of a Unix socket
	Ready func(addr string)
}

// reconnect is how long one try to reach the node again may take.
const reconnect = 5 * time.Second

// connector is Connect for the context and realm of the command line, as they
// were when it began. A token's file may be replaced by a new one meanwhile.
func (a *app) connector() Connect {
	o := a.opt
	if path, err := filepath.Abs(o.Context); err == nil && o.Context != "" && filepath.Base(o.Context) != o.Context {
		o.Context = path
	}
	return func(ctx context.Context) (*sigma.Client, error) {
		ctx, cancel := context.WithTimeout(ctx, reconnect)
		defer cancel()
		c, err := admin.Connect(ctx, o)
		if err != nil {
			return nil, err
		}
		return c.Client, nil
	}
}

func (a *app) mount() *cobra.Command {
	var o MountOptions
	c := &cobra.Command{
		Use: "mount DIR", Short: "Show the realm as a directory of this machine (FUSE), until interrupted", Args: cobra.ExactArgs(1),
		Long: `mount shows the realm's name space at DIR for ordinary programs: its root,
/ux/NODE, and what procs serve. It runs until it is interrupted or DIR is
unmounted (umount DIR; fusermount3 -u DIR for who is not root). Only the user who
mounts may look in. Files belong to users of the realm; here all are shown as the
mounting user's. What others change is seen within a second.`,
		Example: "  sigmactl mount /mnt/realm &\n  cp -r data /mnt/realm/ux/~local/\n  umount /mnt/realm",
	}
	c.Flags().BoolVar(&o.Others, "allow-other", false, "let other users of this machine in; they act as you do in the realm")
	c.Flags().BoolVar(&o.ReadOnly, "read-only", false, "refuse changes")
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o.Dir, o.Name = args[0], "sigma"
		o.Ready = func(point string, cleaned bool) {
			if cleaned {
				fmt.Fprintf(a.err, "a dead mount was removed from %s\n", point)
			}
			fmt.Fprintf(a.err, "the realm is mounted on %s; interrupt to unmount\n", point)
		}
		o.Busy = func(point string) {
			fmt.Fprintf(a.err, "sigmactl: programs still use %s; they are cut off\n", point)
		}
		return a.hooks.Mount(cmd.Context(), a.connector(), o)
	}
	return c
}

func (a *app) serve9p() *cobra.Command {
	var o ServeOptions
	c := &cobra.Command{
		Use: "9p-serve ADDR", Short: "Serve the realm to plain 9P clients of this machine, until interrupted", Args: cobra.ExactArgs(1),
		Long: `9p-serve listens at ADDR, a loopback address with port or the path of a Unix
socket, and serves the realm there in plain 9P2000.L, to programs of the same
user and of root alone. They act as the token's user, or as the operator.`,
		Example: "  sigmactl 9p-serve 127.0.0.1:5640 &\n  mount -t 9p -o trans=tcp,port=5640,version=9p2000.L,access=any 127.0.0.1 /mnt",
	}
	c.RunE = func(cmd *cobra.Command, args []string) error {
		o.Addr = args[0]
		o.Ready = func(addr string) {
			fmt.Fprintf(a.err, "the realm is served in 9P2000.L at %s; interrupt to stop\n", addr)
		}
		return a.hooks.Serve9P(cmd.Context(), a.connector(), o)
	}
	return c
}
