package ctl

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"path"
	"sync"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) ep() *cobra.Command {
	top := &cobra.Command{Use: "ep", Short: "Endpoints: list, forward, publish"}
	ls := &cobra.Command{Use: "ls", Short: "List the realm's endpoints: who listens, how many connections were made", Args: cobra.NoArgs, Example: "  sigmactl ep ls"}
	ls.RunE = a.with(func(ctx context.Context, c *admin.Client, _ []string) error {
		var list []api.EndpointInfo
		if err := c.Call(ctx, api.MEndpoints, nil, &list); err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "ENDPOINT\tPROC\tNODE\tAGE\tACCEPTED\tWAITING\tREFUSED")
			for _, e := range list {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d\t%d\t%d\n", e.Endpoint, e.Proc.Short(), e.Node, age(time.Since(e.Created)), e.Accepted, e.Waiting, e.Refused)
			}
			return tw.Flush()
		})
	})
	publish := &cobra.Command{Use: "publish PATH HOST:PORT", Short: "Make a service that runs outside known to the realm (operator)", Args: cobra.ExactArgs(2),
		Long: `publish writes a link into the realm's name space that leads to a service outside:
a database, another cluster. Procs dial it by its path, at a private address too.`,
		Example: "  sigmactl ep publish /svc/db 10.0.0.7:5432"}
	publish.RunE = a.with(func(ctx context.Context, c *admin.Client, args []string) error {
		return above(c.Names().PublishExternal(ctx, args[0], args[1]), args[0])
	})
	top.AddCommand(a.data(ls, false), a.forward(), publish)
	return top
}

// forward listens on a local address and connects what comes with an endpoint.
func (a *app) forward() *cobra.Command {
	c := &cobra.Command{Use: "forward ENDPOINT|PATH LOCAL-ADDR", Short: "Connect a local address with an endpoint of the realm", Args: cobra.ExactArgs(2)}
	c.Example = "  sigmactl ep forward /svc/front 127.0.0.1:8080"
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		target := api.Target{Endpoint: api.Endpoint(args[0])}
		if args[0] != "" && args[0][0] == '/' {
			target = api.Target{Path: args[0]}
		} else if _, _, _, ok := target.Endpoint.Parse(); !ok {
			return usage("%q is neither an endpoint (ep1-…, see sigmactl ep ls) nor a path", args[0])
		}
		var lc net.ListenConfig
		lis, err := lc.Listen(ctx, "tcp", args[1])
		if err != nil {
			return api.E(api.Unavailable, "ep forward", args[1], "%v; want HOST:PORT of this machine, with a port that nobody uses (0 takes one)", errors.Unwrap(err))
		}
		fmt.Fprintf(a.err, "%s goes to %s; interrupt to stop\n", lis.Addr(), args[0])
		stop := context.AfterFunc(ctx, func() { lis.Close() })
		defer stop()
		var wg sync.WaitGroup
		defer wg.Wait()
		// One of several is not looked for: that would ask servers of files.
		if last := path.Base(target.Path); target.Path != "" && last != "~any" && last != "~local" {
			wg.Go(func() {
				if _, err := cl.Names().Lstat(ctx, target.Path); api.KindOf(err) == api.NotFound {
					fmt.Fprintf(a.err, "sigmactl: nothing is published at %s so far\n", target.Path)
				}
			})
		}
		for {
			in, err := lis.Accept()
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			wg.Go(func() { a.relay(ctx, cl, in, target) })
		}
	})
	return c
}

func (a *app) relay(ctx context.Context, cl *admin.Client, in net.Conn, t api.Target) {
	defer in.Close()
	dctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	out, err := cl.DialTarget(dctx, t)
	cancel()
	if err != nil {
		fmt.Fprintf(a.err, "sigmactl: %v\n", err)
		return
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() { in.Close(); out.Close() })
	defer stop()
	var wg sync.WaitGroup
	wg.Go(func() { pipe(out, in) })
	pipe(in, out)
	wg.Wait()
}

// pipe copies one direction and passes its end on.
func pipe(to, from net.Conn) {
	io.Copy(to, from)
	if c, ok := to.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
		return
	}
	to.Close()
}
