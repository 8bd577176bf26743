package ctl

import (
	"context"
	"encoding/json"
	"fmt"

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
otherwise PROG is a path in the realm (/bin/NAME, or any file of it, as
/ux/NODE/prog) or a digest. Flags go before PROG.

An interrupt asks the proc to end and waits for that. Status: the proc's own; 128
and the number of a signal that ended it; 1 when it could not be started or was
lost; 2 for wrong use.

With -o json each piece of output is a line, and the last line has id and status.`,
		Example: "  sigmactl run bin/procs/hello\n  sigmactl run --memory 256MiB --env LANG=C ./job input.txt",
		Args:    cobra.MinimumNArgs(1),
	}
	flags.add(c.Flags())
	c.Flags().SetInterspersed(false)
	var d *api.ProcDesc
	c.PreRunE = func(_ *cobra.Command, args []string) (err error) {
		d, err = flags.desc(args)
		return err
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if err := a.local(ctx, cl, d); err != nil {
			return err
		}
		id, err := cl.Spawn(ctx, d)
		if err != nil {
			return about(err, d.Program, args[0])
		}
		// An interrupt is the proc's: ask it to end, and wait on.
		unhook := context.AfterFunc(ctx, func() { cl.Kill(context.WithoutCancel(ctx), id, sigma.DefaultGrace) })
		defer unhook()
		wait := context.WithoutCancel(ctx)
		if err := cl.Logs(wait, api.LogQuery{Name: string(id), Follow: true}, a.logWriter()); err != nil {
			fmt.Fprintln(a.err, "sigmactl: output is not shown to its end:", err)
		}
		st, err := cl.WaitExit(wait, id)
		if err != nil {
			return err
		}
		if a.output == "json" {
			err := json.NewEncoder(a.out).Encode(struct {
				ID     api.ProcID `json:"id"`
				Status api.Status `json:"status"`
			}{id, st})
			if code := st.ExitCode(); code != 0 && err == nil {
				err = exit(code & 0xff)
			}
			return err
		}
		return a.ended(id, st)
	})
	return a.data(c, false)
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
