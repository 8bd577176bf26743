package ctl

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) init() *cobra.Command {
	top := &cobra.Command{Use: "init", Short: "Procs that start when the whole system comes back",
		Example: "  sigmactl init add front -- ./front --port 80"}
	ls := &cobra.Command{Use: "ls", Short: "List registered procs", Args: cobra.NoArgs, Example: "  sigmactl init ls"}
	ls.RunE = a.with(func(ctx context.Context, c *admin.Client, _ []string) error {
		list, err := c.InitList(ctx)
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tUSER\tAGE\tSTATE\tPROC\tPROGRAM")
			for _, p := range list {
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", p.Name, p.User, age(time.Since(p.Created)), p.State, p.Proc.Short(), p.Desc.Program)
			}
			return tw.Flush()
		})
	})
	rm := &cobra.Command{Use: "rm NAME", Short: "Forget a registered proc; one that runs runs on", Args: cobra.ExactArgs(1), Example: "  sigmactl init rm front"}
	rm.RunE = a.with(func(ctx context.Context, c *admin.Client, args []string) error {
		if err := c.InitRemove(ctx, args[0]); err != nil {
			return err
		}
		return a.print(map[string]string{"removed": args[0]}, func(io.Writer) error { return nil })
	})
	top.AddCommand(a.initAdd(), a.data(ls, false), a.data(rm, false))
	return top
}

func (a *app) initAdd() *cobra.Command {
	var flags descFlags
	var now bool
	c := &cobra.Command{Use: "add NAME [flags] -- PROG [ARGS…]", Short: "Register a proc to be started when the whole system comes back", Args: cobra.MinimumNArgs(2),
		Long: `add has PROG started once each time the whole system starts: when no node runs
that ran before. A local file is uploaded first; what is started then is exactly
that content, from the program store of the nodes that have it. Nothing else is
restarted: a proc that ends is not, nor one whose node is lost while others run.`,
		Example: "  sigmactl init add front --now -- ./front --port 80\n  sigmactl init add db --class LC --mcpu 500 -- /bin/db"}
	flags.add(c.Flags())
	c.Flags().BoolVar(&now, "now", false, "start it now, too")
	var d *api.ProcDesc
	c.PreRunE = func(c *cobra.Command, args []string) (err error) {
		if c.ArgsLenAtDash() != 1 {
			return usage("the program goes behind --: sigmactl init add NAME -- PROG")
		}
		d, err = flags.desc(args[1:])
		return err
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if err := a.local(ctx, cl, d); err != nil {
			return err
		}
		if err := cl.InitAdd(ctx, args[0], d, now); err != nil {
			return err
		}
		return a.print(map[string]string{"added": args[0]}, func(io.Writer) error { return nil })
	})
	return a.data(c, false)
}
