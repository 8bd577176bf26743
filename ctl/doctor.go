package ctl

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
)

func (a *app) doctor() *cobra.Command {
	var clean, attack bool
	var root string
	var patience time.Duration
	c := &cobra.Command{
		Use: "doctor [--clean | --attack]", Short: "Check this machine, or attack the cluster from inside a proc", Args: cobra.NoArgs,
		Example: "  sudo sigmactl doctor\n  sudo sigmactl doctor --clean\n  sudo sigmactl doctor --attack",
		Long: `doctor needs no running sigmad. Each line is OK, WARN or FAIL, with what to do
where something is missing; the status is 1 when anything fails.

With --attack it needs a running cluster and its operator's socket: a hostile
proc of raw system calls tries what docs/SECURITY.md says cannot be done, in a
realm of its own, with canaries on this machine and in a second realm. A line per
row; the status is 1 when anything got through. It takes a minute or two, loads the
node, and removes both realms at its end.`,
	}
	c.Flags().BoolVar(&clean, "clean", false, "also remove what killed sigmads left")
	c.Flags().StringVar(&root, "cgroup-root", "", "look for cgroups of killed sigmads below this root alone; by default below all")
	c.Flags().BoolVar(&attack, "attack", false, "try to break out of a proc on the running cluster")
	c.Flags().DurationVar(&patience, "patience", time.Minute, "with --attack: how long one run of the proc may take")
	c.RunE = func(cmd *cobra.Command, _ []string) error {
		if attack && clean {
			return usage("--clean is about what no longer runs, --attack about what does: one at a time")
		}
		if attack {
			return a.attack(cmd, patience)
		}
		return a.examine(cmd, clean, root)
	}
	return a.data(c, false)
}

func (a *app) examine(cmd *cobra.Command, clean bool, root string) error {
	checks := a.hooks.Doctor(cmd.Context(), clean, root)
	err := a.print(checks, func(w io.Writer) error {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		for _, c := range checks {
			fmt.Fprintf(tw, "%s\t%s\t%s\n", c.Level, c.Name, c.Text)
			if c.Fix != "" {
				fmt.Fprintf(tw, "\t\t→ %s\n", c.Fix)
			}
		}
		return tw.Flush()
	})
	for _, c := range checks {
		if c.Level == "FAIL" && err == nil {
			err = exit(1)
		}
	}
	return err
}

func (a *app) attack(cmd *cobra.Command, patience time.Duration) error {
	c, err := a.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer c.Close()
	each := func(r api.AttackRow) { attackLine(a.out, r) }
	if a.output == "json" {
		each = nil
	}
	report, err := a.hooks.Attack(cmd.Context(), c, patience, each)
	if err != nil {
		return err
	}
	err = a.print(report, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "\n%d rows held, %d got through, on %s (cgroup %s; %s)\n", report.Held, report.Through, report.Cluster, report.Cgroup, strings.Join(report.Layers, ", "))
		return err
	})
	if err == nil && report.Through > 0 {
		err = exit(1)
	}
	return err
}

// attackLine prints one row, and what should not be below it.
func attackLine(w io.Writer, r api.AttackRow) {
	what := fmt.Sprintf("%d tried", r.Attempts)
	if r.State == api.AttackNotTried {
		what = ""
		if r.Elsewhere != "" {
			what = "see " + r.Elsewhere
		}
	}
	fmt.Fprintln(w, strings.TrimRight(fmt.Sprintf("%-9s  %-8s  %-72s  %s", r.State, r.Row, r.Title, what), " "))
	for _, f := range r.Findings {
		fmt.Fprintf(w, "           → %s\n", strings.ReplaceAll(strings.TrimSpace(f), "\n", "\n             "))
	}
}
