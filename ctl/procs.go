package ctl

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

func (a *app) spawn() *cobra.Command {
	var flags descFlags
	c := &cobra.Command{Use: "spawn [flags] PROG [ARGS…]", Short: "Start a proc and print its id", Args: cobra.MinimumNArgs(1)}
	flags.add(c.Flags())
	c.Flags().SetInterspersed(false)
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		d, err := flags.desc(args)
		if err != nil {
			return err
		}
		if err := a.local(ctx, cl, d); err != nil {
			return err
		}
		id, err := cl.Spawn(ctx, d)
		if err != nil {
			return err
		}
		return a.print(map[string]api.ProcID{"id": id}, func(w io.Writer) error {
			_, err := fmt.Fprintln(w, id)
			return err
		})
	})
	return a.data(c, false)
}

func (a *app) wait() *cobra.Command {
	var start bool
	c := &cobra.Command{Use: "wait [--start] PROC…", Short: "Wait until procs end (or said Started); the last one's status is ours", Args: cobra.MinimumNArgs(1)}
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

func (a *app) kill() *cobra.Command {
	var grace time.Duration
	var now bool
	c := &cobra.Command{Use: "kill [--grace 5s | --now] PROC…", Short: "Ask procs to end, and end them by force after the grace", Args: cobra.MinimumNArgs(1)}
	c.Flags().DurationVar(&grace, "grace", 5*time.Second, "time between asking and force")
	c.Flags().BoolVar(&now, "now", false, "no grace")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if grace < 0 {
			return usage("--grace %v: cannot be negative", grace)
		}
		if now {
			grace = 0
		}
		for _, id := range args {
			if err := cl.Kill(ctx, sigma.ProcID(id), grace); err != nil {
				return err
			}
		}
		return nil
	})
	return c
}

func (a *app) logs() *cobra.Command {
	var q api.LogQuery
	c := &cobra.Command{Use: "logs [-f] [-n LINES] PROC", Short: "Show a proc's output", Args: cobra.ExactArgs(1)}
	c.Flags().BoolVarP(&q.Follow, "follow", "f", false, "until the proc ends")
	c.Flags().IntVarP(&q.Lines, "lines", "n", 0, "the last lines only")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		q.Name = args[0]
		if q.Lines < 0 {
			return usage("-n %d: cannot be negative", q.Lines)
		}
		if a.output != "json" {
			return a.copyLogs(ctx, cl, q)
		}
		enc := json.NewEncoder(a.out)
		return cl.Logs(ctx, q, func(r api.LogRecord, data []byte) error {
			return enc.Encode(struct {
				api.LogRecord
				Text string `json:"text"`
			}{r, string(data)})
		})
	})
	return a.data(c, false)
}

func (a *app) ps() *cobra.Command {
	var f api.ProcFilter
	c := &cobra.Command{Use: "ps [-a] [--all-realms]", Short: "List procs", Args: cobra.NoArgs}
	c.Flags().BoolVarP(&f.All, "all", "a", false, "ended ones too")
	c.Flags().BoolVar(&f.Realms, "all-realms", false, "of every realm (operator)")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
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
		head += "\tQUEUE\tSLOT\tEXEC\tSTART\tNODE\tDIGEST"
	}
	fmt.Fprintln(tw, head)
	for _, p := range procs {
		if realms {
			fmt.Fprintf(tw, "%s\t", p.Realm)
		}
		state := string(p.State)
		if p.Status != nil && p.Status.State == api.Exited {
			state = fmt.Sprintf("exited %d", p.Status.Code)
		}
		prog := p.Program
		if len(prog) == 67 && prog[:3] == "s1-" {
			prog = prog[:11] + "…"
		}
		fmt.Fprintf(tw, "%s\t%s\t%v\t%s\t%s\t%s", p.Short, state, p.Class, sizeText(p.Memory), age(now.Sub(p.Created)), prog)
		if wide {
			s := p.Stamps
			fmt.Fprintf(tw, "\t%s\t%s\t%s\t%s\t%s\t%.11s", step(s.Spawn, s.Placed), step(s.Placed, s.Slot), step(s.Slot, s.Exec), step(s.Exec, s.Started), p.Node, p.Digest)
		}
		fmt.Fprintln(tw)
	}
	return tw.Flush()
}

// step is the time between two stamps, in ms.
func step(from, to int64) string {
	if from == 0 || to == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2fms", float64(to-from)/1e6)
}

func age(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}

func sizeText(n int64) string {
	for _, u := range []struct {
		n int64
		s string
	}{{1 << 30, "GiB"}, {1 << 20, "MiB"}, {1 << 10, "KiB"}} {
		if n >= u.n {
			return fmt.Sprintf("%.4g%s", float64(n)/float64(u.n), u.s)
		}
	}
	return fmt.Sprint(n)
}

func (a *app) why() *cobra.Command {
	c := &cobra.Command{Use: "why PROC", Short: "What became of a proc, and what to do", Args: cobra.ExactArgs(1)}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		y, err := cl.Why(ctx, args[0])
		if err != nil {
			return err
		}
		return a.print(y, func(w io.Writer) error { return whyText(w, y) })
	})
	return a.data(c, false)
}

func whyText(w io.Writer, y api.Why) error {
	p, s := y.Proc, y.Proc.Stamps
	fmt.Fprintf(w, "%s  %s\n  %s\n\n", p.Short, p.Program, y.Reason)
	fmt.Fprintf(w, "start    queue %s · slot %s · exec %s · started %s\n", step(s.Spawn, s.Placed), step(s.Placed, s.Slot), step(s.Slot, s.Exec), step(s.Exec, s.Started))
	fmt.Fprintf(w, "used     CPU %v · memory %s of %s · ran %s\n", time.Duration(p.CPU).Round(10*time.Microsecond), sizeText(p.RSS), sizeText(p.Memory), step(s.Slot, s.Ended))
	for _, n := range y.Nodes {
		fmt.Fprintf(w, "node     %s\n", n)
	}
	for _, d := range y.Denied {
		fmt.Fprintf(w, "denied   %s ×%d\n", d.Name, d.Count)
	}
	if len(y.Tail) > 0 {
		fmt.Fprintln(w, "\nlast lines of its output:")
		for _, l := range y.Tail {
			fmt.Fprintf(w, "  %s\n", l)
		}
	}
	if len(y.Advice) > 0 {
		fmt.Fprintln(w, "\nwhat to do:")
		for _, l := range y.Advice {
			fmt.Fprintf(w, "  - %s\n", l)
		}
	}
	return nil
}

func (a *app) dump() *cobra.Command {
	c := &cobra.Command{Use: "dump PROC", Short: "Where a proc hangs: its stacks", Args: cobra.ExactArgs(1)}
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

func (a *app) top() *cobra.Command {
	var n int
	var every time.Duration
	c := &cobra.Command{Use: "top [-n SAMPLES]", Short: "CPU and memory of realms and procs", Args: cobra.NoArgs}
	c.Flags().IntVarP(&n, "samples", "n", 0, "how many samples; 0 is until interrupted (1 when not on a terminal)")
	c.Flags().DurationVar(&every, "every", time.Second, "time between samples")
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		screen := isTerminal(a.out)
		if n < 0 || every < 10*time.Millisecond {
			return usage("-n cannot be negative, --every not below 10ms")
		}
		if n == 0 && !screen {
			n = 1
		}
		var before api.Top
		if err := cl.Call(ctx, api.MTop, nil, &before); err != nil {
			return err
		}
		for i := 0; n == 0 || i < n; i++ {
			select {
			case <-ctx.Done():
				return nil
			case <-time.After(every):
			}
			var t api.Top
			if err := cl.Call(ctx, api.MTop, nil, &t); err != nil {
				return err
			}
			err := a.print(t, func(w io.Writer) error {
				if screen {
					fmt.Fprint(w, "\x1b[H\x1b[2J")
				}
				return topText(w, before, t)
			})
			if err != nil {
				return err
			}
			before = t
		}
		return nil
	})
	return a.data(c, false)
}

func topText(w io.Writer, before, t api.Top) error {
	span := float64(t.Time.Sub(before.Time))
	share := func(now, then int64) float64 { return 100 * float64(now-then) / max(span, 1) }
	fmt.Fprintf(w, "%s  %d cores, %.2f reserved · memory %s: LC %s, BE %s · %d running, %d queued\n\n",
		t.Node, t.Cores, float64(t.Reserved)/1000, sizeText(t.Memory), sizeText(t.MemLC), sizeText(t.MemBE), t.Running, t.Queued)
	then := make(map[string]int64)
	for _, r := range before.Realms {
		then[r.Name] = r.CPU
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(tw, "REALM\tCPU%\tRUNNING\tQUEUED\tSLOTS")
	for _, r := range t.Realms {
		fmt.Fprintf(tw, "%s\t%.1f\t%d\t%d\t%d\n", r.Name, share(r.CPU, then[r.Name]), r.Running, r.Queued, r.Slots)
	}
	tw.Flush()
	cpu := make(map[api.ProcID]int64)
	for _, p := range before.Procs {
		cpu[p.ID] = p.CPU
	}
	sort.Slice(t.Procs, func(i, j int) bool {
		return t.Procs[i].CPU-cpu[t.Procs[i].ID] > t.Procs[j].CPU-cpu[t.Procs[j].ID]
	})
	fmt.Fprintln(tw, "\nPROC\tREALM\tCLASS\tCPU%\tMEMORY\tLIMIT\tSTATE")
	for i, p := range t.Procs {
		if i == 30 {
			fmt.Fprintf(tw, "… %d more\n", len(t.Procs)-i)
			break
		}
		fmt.Fprintf(tw, "%s\t%s\t%v\t%.1f\t%s\t%s\t%s\n", p.Short, p.Realm, p.Class, share(p.CPU, cpu[p.ID]), sizeText(p.RSS), sizeText(p.Memory), p.State)
	}
	return tw.Flush()
}
