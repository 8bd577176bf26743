package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) logs() *cobra.Command {
	var q api.LogQuery
	c := &cobra.Command{
		Use: "logs [-f] [-n LINES] PROC", Short: "Show a proc's output", Args: cobra.ExactArgs(1),
		Long: `logs shows what a proc wrote: its standard output here, its standard error on
ours. Both are kept after its end, as long as its record is; where old lines had
to go, a sentence on standard error says how many.`,
		Example: "  sigmactl logs hello\n  sigmactl logs -f -n 20 server-b2q4", ValidArgsFunction: a.completeProcs,
	}
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "until the proc ends")
	c.Flags().IntVarP(&q.Lines, "lines", "n", 0, "the last lines only")
	c.PreRunE = func(*cobra.Command, []string) error {
		if q.Lines < 0 {
			return usage("-n %d: cannot be negative", q.Lines)
		}
		return nil
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		q.Name = args[0]
		any := false
		write := a.logWriter()
		err := cl.Logs(ctx, q, func(r api.LogRecord, data []byte) error {
			any = true
			return write(r, data)
		})
		if err == nil && !any && a.output != "json" {
			a.sayWhyNothing(ctx, cl, args[0])
		}
		return err
	})
	return a.data(c, false)
}

// sayWhyNothing tells a person why there is no output yet.
func (a *app) sayWhyNothing(ctx context.Context, cl *admin.Client, id string) {
	y, err := cl.Why(ctx, id)
	if err != nil {
		return
	}
	switch y.Proc.State {
	case api.Queued, api.Starting:
		fmt.Fprintf(a.err, "sigmactl: nothing yet: %s (sigmactl why %s)\n", y.Reason, y.Proc.Short)
	case api.Running:
		fmt.Fprintln(a.err, "sigmactl: it runs and has written nothing yet; -f waits")
	}
}

// logWriter writes pieces of output where they belong, or as lines of JSON.
func (a *app) logWriter() func(r api.LogRecord, data []byte) error {
	if a.output == "json" {
		enc := json.NewEncoder(a.out)
		return func(r api.LogRecord, data []byte) error {
			return enc.Encode(struct {
				api.LogRecord
				Text string `json:"text"`
			}{r, string(data)})
		}
	}
	return func(r api.LogRecord, data []byte) error {
		var w io.Writer = a.out
		if r.Stream == 2 || r.Dropped {
			w = a.err
		}
		_, err := w.Write(data)
		return err
	}
}
