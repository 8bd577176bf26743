package ctl

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) dump() *cobra.Command {
	c := &cobra.Command{
		Use: "dump PROC", Short: "Where a proc hangs: its stacks", Args: cobra.ExactArgs(1),
		Long: `dump shows what each thread of a proc waits for in the kernel. A Go program also
gets SIGQUIT: it prints its goroutines to its standard error, and ends.`,
		Example: "  sigmactl dump server-b2q4 && sigmactl logs server-b2q4", ValidArgsFunction: a.completeProcs,
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		var d api.Dump
		if err := cl.Call(ctx, api.MDump, api.Ref{Name: args[0]}, &d); err != nil {
			return err
		}
		return a.print(d, func(w io.Writer) error {
			if d.Go {
				fmt.Fprintf(w, "goroutines went to its stderr, and it ended: sigmactl logs %s\n", args[0])
			}
			_, err := fmt.Fprint(w, d.Kernel)
			return err
		})
	})
	return a.data(c, false)
}
