package ctl

import (
	"context"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) ps() *cobra.Command {
	var f api.ProcFilter
	c := &cobra.Command{
		Use: "ps [-a] [--all-realms]", Short: "List procs", Args: cobra.NoArgs,
		Long: `ps lists the procs of the realm that have not ended; with -a those whose records
are kept, too. -o wide shows where the time of each start went: in the queue, until
a σcontainer had it, until exec, until it said Started; and whether its program was
in the page cache (warm), or where it came from, how many pages of 4 KiB, and how
long the node waited for them.`,
		Example: "  sigmactl ps\n  sigmactl ps -a -o wide",
	}
	c.Flags().BoolVarP(&f.All, "all", "a", false, "ended ones too")
	c.Flags().BoolVar(&f.Realms, "all-realms", false, "of every realm (operator)")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		f.Start = a.output != ""
		procs, err := cl.Procs(ctx, f)
		if err != nil {
			return err
		}
		return a.print(procs, func(w io.Writer) error { return psTable(w, procs, time.Now(), a.output == "wide", f.Realms) })
	})
	return a.data(c, true)
}

func psTable(w io.Writer, procs []api.ProcInfo, now time.Time, wide, realms bool) error {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	head := "ID\tSTATE\tCLASS\tMEMORY\tAGE\tPROGRAM"
	if realms {
		head = "REALM\t" + head
	}
	if wide {
		head += "\tQUEUE\tSLOT\tEXEC\tSTART\tPAGES\tNODE\tDIGEST"
	}
	fmt.Fprintln(tw, head)
	for _, p := range procs {
		if realms {
			fmt.Fprintf(tw, "%s\t", p.Realm)
		}
		fmt.Fprintf(tw, "%s\t%s\t%v\t%s\t%s\t%s", p.Short, stateText(p), p.Class, sizeText(p.Memory), age(now.Sub(p.Created)), programText(p))
		if wide {
			s := p.Stamps
			fmt.Fprintf(tw, "\t%s\t%s\t%s\t%s\t%s\t%s\t%.11s", step(s.Spawn, s.Placed), step(s.Placed, s.Slot), step(s.Slot, s.Exec), step(s.Exec, s.Started), pagesText(p.Start), p.Node, p.Digest)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// pagesText is where a proc's program came from.
func pagesText(c *api.ColdStart) string {
	switch {
	case c == nil:
		return "-"
	case c.Warm:
		return "warm"
	case c.Pages == 0:
		return printable(c.From)
	}
	return fmt.Sprintf("%d from %s, %s", c.Pages, printable(c.From), took(time.Duration(c.Took)))
}

// completeProcs offers the ids of the realm's procs to a shell.
func (a *app) completeProcs(cmd *cobra.Command, _ []string, begun string) ([]string, cobra.ShellCompDirective) {
	ctx, cancel := context.WithTimeout(cmd.Context(), 2*time.Second)
	defer cancel()
	cl, err := a.connect(ctx)
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	defer cl.Close()
	procs, err := cl.Procs(ctx, api.ProcFilter{All: true})
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	var out []string
	for _, p := range procs {
		if strings.HasPrefix(p.Short, begun) {
			out = append(out, p.Short+"\t"+stateText(p))
		}
	}
	return out, cobra.ShellCompDirectiveNoFileComp
}
