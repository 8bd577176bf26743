package ctl

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

func (a *app) run() *cobra.Command {
	var flags descFlags
	c := &cobra.Command{
		Use:   "run [flags] PROG [ARGS…]",
		Short: "Run a program as a proc: its output here, its status ours",
		Long: `run starts PROG as a proc, shows both of its outputs and exits with its status.
A local file is uploaded first, unless the realm has its content already;
otherwise PROG is a path in the realm (/bin/NAME) or a digest.`,
		Args: cobra.MinimumNArgs(1),
	}
	flags.add(c.Flags())
	c.Flags().SetInterspersed(false)
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		d, err := flags.desc(args)
		if err != nil {
			return err
		}
		if err := a.local(ctx, cl, d); err != nil {
			return err
		}
		id, err := cl.Spawn(ctx, d)
		if err != nil {
			return err
		}
		// An interrupt is the proc's: ask it to end, and wait on.
		unhook := context.AfterFunc(ctx, func() { cl.Kill(context.WithoutCancel(ctx), id, sigma.DefaultGrace) })
		defer unhook()
		wait := context.WithoutCancel(ctx)
		if err := a.copyLogs(wait, cl, api.LogQuery{Name: string(id), Follow: true}); err != nil {
			fmt.Fprintln(a.err, "sigmactl: output is not shown to its end:", err)
		}
		st, err := cl.WaitExit(wait, id)
		if err != nil {
			return err
		}
		return a.ended(id, st)
	})
	return c
}

// ended turns a proc's status into ours, with a word where it is not its own.
func (a *app) ended(id api.ProcID, st api.Status) error {
	if st.State != api.Exited {
		fmt.Fprintf(a.err, "sigmactl: %s: %v (sigmactl why %s)\n", id.Short(), st, id.Short())
	}
	if code := st.ExitCode(); code != 0 {
		return exit(code & 0xff)
	}
	return nil
}

// copyLogs writes a proc's output where it belongs.
func (a *app) copyLogs(ctx context.Context, c *admin.Client, q api.LogQuery) error {
	return c.Logs(ctx, q, func(r api.LogRecord, data []byte) error {
		var w io.Writer = a.out
		if r.Stream == 2 || r.Dropped {
			w = a.err
		}
		_, err := w.Write(data)
		return err
	})
}
