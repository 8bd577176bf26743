package ctl

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func (a *app) why() *cobra.Command {
	c := &cobra.Command{
		Use: "why PROC", Short: "What became of a proc, and what to do", Args: cobra.ExactArgs(1),
		Long: `why explains one proc on one screen: what happened, where the time of its start
went, what it used, which system calls were refused to it, its last lines, and what
to do. For one that waits it says what each node lacks.`,
		Example: "  sigmactl why hello\n  sigmactl why mr-map-7f3a -o json", ValidArgsFunction: a.completeProcs,
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		y, err := cl.Why(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(y, func(w io.Writer) error { return whyText(w, y, time.Now()) })
	})
	return a.data(c, false)
}

// whyText is the screen: at most a few lines, then the proc's own, then advice.
func whyText(w io.Writer, y api.Why, now time.Time) error {
	p := y.Proc
	fmt.Fprintf(w, "%s  %s\n%s\n  %s\n\n", p.Short, stateText(p), programText(p), printable(y.Reason))
	who := "the operator"
	switch {
	case p.Parent != "":
		who = "proc " + p.Parent.Short()
	case p.User != "":
		who = printable(p.User)
	}
	class := p.Class.String()
	if p.Class == api.LC {
		class = fmt.Sprintf("LC, %.2f cores", float64(p.MCPU)/1000)
	}
	fmt.Fprintf(w, "spawned  %s ago by %s · realm %s · %s\n", age(now.Sub(p.Created)), who, p.Realm, class)
	fmt.Fprintln(w, startText(p, now))
	switch c := y.Start; {
	case c == nil:
	case c.Warm:
		fmt.Fprintln(w, "warm     its program was in the page cache")
	case c.Requests == 0:
		fmt.Fprintf(w, "cold     from the node's %s\n", printable(c.From))
	default:
		fmt.Fprintf(w, "cold     %d pages (%s) from %s in %d requests, %s\n", c.Pages, sizeText(c.Bytes), printable(c.From), c.Requests, took(time.Duration(c.Took)))
	}
	if p.Stamps.Slot != 0 {
		ran := step(p.Stamps.Slot, p.Stamps.Ended)
		if p.Status == nil {
			ran = age(now.Sub(p.Created)) + " so far"
		}
		cpu := ""
		if p.CPU > 0 {
			cpu = "CPU " + took(time.Duration(p.CPU)) + " · "
		}
		fmt.Fprintf(w, "used     %smemory %s of %s · ran %s · node %s\n", cpu, sizeText(p.RSS), sizeText(p.Memory), ran, p.Node)
	}
	if len(p.Near) > 0 {
		fmt.Fprintf(w, "near     %s\n", nearText(p))
	}
	for _, n := range y.Nodes {
		fmt.Fprintf(w, "node     %s\n", printable(n))
	}
	for _, d := range y.Denied {
		fmt.Fprintf(w, "denied   %s ×%d\n", d.Name, d.Count)
	}
	if len(y.Tail) > 0 {
		fmt.Fprintf(w, "\nlast lines of its output (all: sigmactl logs %s):\n", p.Short)
		for _, l := range y.Tail {
			fmt.Fprintf(w, "  %s\n", printable(l))
		}
	}
	if len(y.Advice) > 0 {
		fmt.Fprintln(w, "\nwhat to do:")
		for _, l := range y.Advice {
			fmt.Fprintf(w, "  - %s\n", printable(l))
		}
	}
	return nil
}

// nearText is what became of the wish to run on certain nodes.
func nearText(p api.ProcInfo) string {
	wish := printable(strings.Join(p.Near, " or "))
	switch {
	case p.Stamps.Placed == 0:
		return "it had better run on " + wish
	case slices.Contains(p.Near, p.Node):
		return "on " + p.Node + ", as it had better"
	}
	return "it had better run on " + wish + ", and node " + p.Node + " had room first"
}

// startText is where the time of the start went, as far as it came.
func startText(p api.ProcInfo, now time.Time) string {
	s := p.Stamps
	if s.Placed == 0 {
		if p.Status != nil {
			return fmt.Sprintf("start    queued for %s, never placed", step(s.Spawn, s.Ended))
		}
		return fmt.Sprintf("start    queued for %s, not placed yet", took(now.Sub(p.Created)))
	}
	return fmt.Sprintf("start    queue %s · slot %s · exec %s · started %s", step(s.Spawn, s.Placed), step(s.Placed, s.Slot), step(s.Slot, s.Exec), step(s.Exec, s.Started))
}
