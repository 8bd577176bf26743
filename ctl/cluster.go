package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// anyRealm is for verbs that act on the cluster.
func (a *app) anyRealm(fn func(ctx context.Context, c *admin.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		opt := a.opt
		opt.Realm = "-"
		c, err := admin.Connect(cmd.Context(), opt)
		if err != nil {
			return err
		}
		defer c.Close()
		return fn(cmd.Context(), c, args)
	}
}

func (a *app) realm() *cobra.Command {
	top := &cobra.Command{Use: "realm", Short: "Tenants: create, list, remove",
		Example: "  sigmactl realm create shop && sigmactl --realm shop run ./front"}
	var quota api.Quota
	var memory, scratch string
	var cores float64
	create := &cobra.Command{Use: "create NAME", Short: "Make a realm", Args: cobra.ExactArgs(1), Example: "  sigmactl realm create shop --procs 500 --memory 8GiB --cores 4"}
	create.Flags().IntVar(&quota.Procs, "procs", 0, "procs it may have, queued and running; 0 is no bound of its own")
	create.Flags().StringVar(&memory, "memory", "", "bytes that their limits may be in sum, also as 8GiB (default: no bound of its own)")
	create.Flags().Float64Var(&cores, "cores", 0, "cores that its latency-critical procs may reserve; 0 is no bound of its own")
	create.Flags().StringVar(&scratch, "scratch", "", "bytes it may have in /ux on each node, also as 8GiB (default: 16GiB)")
	create.PreRunE = func(*cobra.Command, []string) (err error) {
		for _, f := range []struct {
			name, text string
			v          *int64
		}{{"memory", memory, &quota.Memory}, {"scratch", scratch, &quota.Scratch}} {
			if f.text == "" {
				continue
			}
			if *f.v, err = parseSize(f.text); err != nil {
				return usage("--%s %q: want a whole number of bytes above 0, or one with KiB, MiB or GiB", f.name, f.text)
			}
		}
		if cores < 0 || cores > api.MaxMCPU/1000 || cores != cores {
			return usage("--cores %v: want 0 to %d", cores, api.MaxMCPU/1000)
		}
		quota.MCPU = int64(cores * 1000)
		return nil
	}
	create.RunE = a.anyRealm(func(ctx context.Context, c *admin.Client, args []string) error {
		r, err := c.CreateRealm(ctx, api.Realm{Name: args[0], Quota: quota})
		if err != nil {
			return err
		}
		return a.print(r, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "realm %s is there; use it with --realm %s or SIGMA_REALM\n", r.Name, r.Name)
			return err
		})
	})
	ls := &cobra.Command{Use: "ls", Short: "List realms", Args: cobra.NoArgs, Example: "  sigmactl realm ls -o json"}
	ls.RunE = a.anyRealm(func(ctx context.Context, c *admin.Client, _ []string) error {
		var list []api.Realm
		if err := c.Call(ctx, api.MRealmList, nil, &list); err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "NAME\tID\tAGE\tPROCS\tMEMORY\tCORES\tSCRATCH")
			bound := func(set bool, text string) string {
				if !set {
					return "-"
				}
				return text
			}
			for _, r := range list {
				q := r.Quota
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", r.Name, r.ID, age(time.Since(r.Created)), bound(q.Procs > 0, fmt.Sprint(q.Procs)),
					bound(q.Memory > 0, sizeText(q.Memory)), bound(q.MCPU > 0, fmt.Sprintf("%.4g", float64(q.MCPU)/1000)), bound(q.Scratch > 0, sizeText(q.Scratch)))
			}
			return tw.Flush()
		})
	})
	rm := &cobra.Command{
		Use: "rm NAME", Short: "Remove a realm and everything in it", Args: cobra.ExactArgs(1), Example: "  sigmactl realm rm shop",
		Long: `rm ends every proc of the realm and forgets its programs, output and files. It
does not ask, and it cannot be undone.`,
	}
	rm.RunE = a.anyRealm(func(ctx context.Context, c *admin.Client, args []string) error {
		if err := c.RemoveRealm(ctx, args[0]); err != nil {
			return err
		}
		return a.print(map[string]string{"removed": args[0]}, func(io.Writer) error { return nil })
	})
	top.AddCommand(a.data(create, false), a.data(ls, false), a.data(rm, false), a.realmToken(), a.realmS3(), a.realmDB())
	return top
}

func (a *app) programs() *cobra.Command {
	c := &cobra.Command{Use: "programs", Short: "List the realm's /bin", Args: cobra.NoArgs, Example: "  sigmactl programs"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		var list []api.Program
		if err := cl.Call(ctx, api.MPrograms, nil, &list); err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "PATH\tSIZE\tDIGEST")
			for _, p := range list {
				fmt.Fprintf(tw, "/bin/%s\t%s\t%s\n", p.Name, sizeText(p.Size), p.Digest)
			}
			return tw.Flush()
		})
	})
	return a.data(c, false)
}

func (a *app) info() *cobra.Command {
	c := &cobra.Command{Use: "info", Short: "The cluster and node that answer", Args: cobra.NoArgs, Example: "  sigmactl info"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		i, err := cl.Info(ctx)
		if err != nil {
			return err
		}
		return a.print(i, func(w io.Writer) error {
			layers := strings.Join(i.Layers, ", ")
			if i.Insecure {
				layers += " (--insecure: procs may run without Landlock and AppArmor)"
			}
			_, err := fmt.Fprintf(w, "cluster  %s (sigmad %s, pid %d, up %s)\nnode     %s, cgroup %s\nlayers   %s\nrealm    %s\nmetrics  http://%s/metrics\n",
				i.Name, i.Version, i.PID, age(time.Since(i.Started)), i.Node, i.Cgroup, layers, i.Realm, i.Metrics)
			return err
		})
	})
	return a.data(c, false)
}
