package ctl

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) spawn() *cobra.Command {
	var flags descFlags
	c := &cobra.Command{
		Use: "spawn [flags] PROG [ARGS…]", Short: "Start a proc and print its id", Args: cobra.MinimumNArgs(1),
		Long: `spawn queues PROG and prints its proc id at once. A local file is uploaded first,
unless the realm has its content already; otherwise PROG is a path in the realm
(/bin/NAME, or any file of it, as /ux/NODE/prog) or a digest.`,
		Example: "  sigmactl spawn ./server --port 80\n  sigmactl spawn --class LC --mcpu 500 --memory 256MiB /bin/server",
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
		return a.print(map[string]api.ProcID{"id": id}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, id)
			return err
		})
	})
	return a.data(c, false)
}
