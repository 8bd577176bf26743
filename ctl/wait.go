package ctl

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) wait() *cobra.Command {
	var start bool
	c := &cobra.Command{
		Use: "wait [--start] PROC…", Short: "Wait until procs end (or said Started); the last one's status is ours", Args: cobra.MinimumNArgs(1),
		Example: "  sigmactl wait hello-7f3a\n  id=$(sigmactl spawn ./server) && sigmactl wait --start $id", ValidArgsFunction: a.completeProcs,
	}
	c.Flags().BoolVar(&start, "start", false, "until they said Started")
	type result struct {
		ID     string      `json:"id"`
		Status *api.Status `json:"status,omitempty"`
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		code := 0
		var all []result
		for _, id := range args {
			if start {
				if err := cl.WaitStart(ctx, api.ProcID(id)); err != nil {
					return err
				}
				all = append(all, result{ID: id})
				continue
			}
			st, err := cl.WaitExit(ctx, api.ProcID(id))
			if err != nil {
				return err
			}
			all = append(all, result{id, &st})
			code = st.ExitCode()
		}
		err := a.print(all, func(w io.Writer) error {
			for _, r := range all {
				if r.Status != nil {
					fmt.Fprintf(w, "%s %v\n", r.ID, *r.Status)
				}
			}
			return nil
		})
		if err == nil && code != 0 {
			err = exit(code & 0xff)
		}
		return err
	})
	return a.data(c, false)
}
