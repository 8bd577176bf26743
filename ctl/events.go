package ctl

import (
	"cmp"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// followEvery is how often events -f asks.
const followEvery = 500 * time.Millisecond

func (a *app) events() *cobra.Command {
	var follow bool
	var since time.Duration
	var q api.EventQuery
	c := &cobra.Command{Use: "events [-f]", Short: "Who created, spawned, killed and dialled what", Args: cobra.NoArgs,
		Example: "  sigmactl events --since 1h\n  sigmactl events -A -f -o json",
		Long: `events shows what happened in the realm on all nodes, as far as a day ago: each
node keeps what happened there, so that of a node that is down is missing, which is
said. Events of one node are in their order, those of different ones in that of
the nodes' clocks.`}
	c.Flags().BoolVarP(&follow, "follow", "f", false, "go on showing what happens")
	c.Flags().BoolVarP(&q.All, "all-realms", "A", false, "of all realms and the cluster; for an operator")
	c.Flags().DurationVar(&since, "since", 24*time.Hour, "how far back")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		q.Since = time.Now().Add(-since)
		said := ""
		for {
			var page api.EventPage
			if err := cl.Call(ctx, api.MEvents, q, &page); err != nil {
				if follow && ctx.Err() != nil {
					return nil
				}
				return err
			}
			for _, e := range page.Events {
				if err := a.event(e); err != nil {
					return err
				}
			}
			if m := strings.Join(page.Missing, ", "); m != said && m != "" {
				fmt.Fprintf(a.err, "sigmactl: events of %s are missing: no answer\n", m)
				said = m
			}
			q.After = page.After
			switch {
			case page.More:
				continue
			case !follow:
				return nil
			}
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(followEvery):
			}
		}
	})
	return a.data(c, false)
}

// event writes one.
func (a *app) event(e api.Event) error {
	who := cmp.Or(e.User, "-")
	if e.By != "" {
		who = e.By.Short()
	}
	what := e.Detail
	if e.Proc != "" {
		what = strings.TrimSpace(string(e.Proc) + " " + e.Detail)
	}
	return a.line(e, "%s  %-8s %-10s %-8s by %-12s %s\n", e.Time.Local().Format("15:04:05.000"), e.Node, cmp.Or(e.Realm, "-"), e.Kind, who, what)
}
