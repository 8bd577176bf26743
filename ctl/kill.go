package ctl

import (
	"context"
	"io"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

func (a *app) kill() *cobra.Command {
	var grace time.Duration
	var now bool
	c := &cobra.Command{
		Use: "kill [--grace 5s | --now] PROC…", Short: "Ask procs to end, and end them by force after the grace", Args: cobra.MinimumNArgs(1),
		Example: "  sigmactl kill server-b2q4\n  sigmactl kill --now worker-", ValidArgsFunction: a.completeProcs,
	}
	c.Flags().DurationVar(&grace, "grace", 5*time.Second, "time between asking and force")
	c.Flags().BoolVar(&now, "now", false, "no grace")
	c.PreRunE = func(*cobra.Command, []string) error {
		if grace < 0 {
			return usage("--grace %v: cannot be negative", grace)
		}
		return nil
	}
	type asked struct {
		ID      string `json:"id"`
		GraceMS int64  `json:"grace_ms"`
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if now {
			grace = 0
		}
		all := []asked{}
		for _, id := range args {
			if err := cl.Kill(ctx, sigma.ProcID(id), grace); err != nil {
				return err
			}
			all = append(all, asked{id, grace.Milliseconds()})
		}
		return a.print(all, func(io.Writer) error { return nil })
	})
	return a.data(c, false)
}
