package ctl

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"sigmaos/sigma/admin"
)

// BenchResult prints itself for people and draws itself as SVG; as JSON it is
// itself.
type BenchResult interface {
	Table(w io.Writer) error
	Plot(w io.Writer) error
}

// BenchOptions are bench's flags.
type BenchOptions struct {
	N       int
	Seconds float64
	Corpus  string
	Load    string
	Bytes   int64
}

func (a *app) bench() *cobra.Command {
	var o BenchOptions
	var plot string
	c := &cobra.Command{
		Use: "bench NAME", Short: "Measure: " + strings.Join(a.hooks.BenchNames, ", "), Args: cobra.ExactArgs(1), ValidArgs: a.hooks.BenchNames,
		Long: `Measure, against something measured in the same run:

  start  from Spawn to the first line of main, against vfork and exec
  cold   the first start of a program that only another node has, or only the
         object store; starts two nodes itself
  rate   how many starts a second, against fork, exec and wait
  dial   from Dial to a usable connection, against connect; starts two nodes itself
  net    64 bytes there and back and 1 MB writes: on one node against a socketpair
         and TCP, between two nodes against TCP, a VXLAN and docker's bridge
  name   files of the realm: reads, writes, a directory of 100,000, watches, against
         raw puts and gets of etcd
  place  how many procs a second one shard of the best-effort queue places, and
         lcsched: who spawns, the shard and the node are a process each; against
         the paper's figures
  fair   four realms of best-effort procs that come and go: how equal their shares of
         the CPU are, how soon, and whether any is left unused; with --load img they
         scale images, as the paper's do
  lc     a latency-critical server's latency beside best-effort procs that use up the
         machine, against the same alone
  mr     word count over real text by procs, against the same functions in one process,
         and intermediate files in /s3 against /ux; starts three nodes itself. The
         text: apps/fetch.sh M ~/.cache/sigma/corpus/M
  s3     one stream of a proc to and from an object store, against the AWS SDK used
         directly on the same store; starts a node and a store itself`,
		Example: "  sigmactl bench start -o json\n  sigmactl bench net --plot net.svg",
	}
	c.Flags().IntVarP(&o.N, "count", "n", 0, "how many starts, dials, rounds of net, place, mr and s3, pairs of lc (default: the bench's own)")
	c.Flags().Float64Var(&o.Seconds, "seconds", 0, "length of a measured run of rate and place, of a phase of fair, of each half of a run of lc (default: the bench's own)")
	c.Flags().StringVar(&o.Corpus, "corpus", "M", "text of mr: S, M, L, as fetch.sh put it into the cache, or a directory")
	c.Flags().StringVar(&o.Load, "load", "", "what the procs of fair do: img scales images (default: they count)")
	size := c.Flags().Int64("mib", 0, "size of the object of s3, MiB (default: 256)")
	c.Flags().StringVar(&plot, "plot", "", "also draw it, as an SVG file")
	c.PreRunE = func(_ *cobra.Command, args []string) error {
		switch {
		case !slices.Contains(a.hooks.BenchNames, args[0]):
			return usage("there is no bench %q; there are %s", args[0], strings.Join(a.hooks.BenchNames, ", "))
		case o.N < 0:
			return usage("-n %d: cannot be negative", o.N)
		case *size < 0 || *size > 10<<10:
			return usage("--mib %d: an object has 1 to 10240 MiB", *size)
		case plot != "" && filepath.Ext(plot) != ".svg":
			return usage("--plot %s: it is written as SVG; name the file .svg", plot)
		}
		return nil
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if plot != "" { // say now what would fail after minutes
			if err := os.WriteFile(plot, nil, 0o644); err != nil {
				return fmt.Errorf("--plot: %w", err)
			}
		}
		o.Bytes = *size << 20
		r, err := a.hooks.Bench(ctx, args[0], cl, o)
		if err != nil {
			return err
		}
		if err := a.print(r, r.Table); err != nil || plot == "" {
			return err
		}
		var svg bytes.Buffer
		if err := r.Plot(&svg); err != nil {
			return err
		}
		return os.WriteFile(plot, svg.Bytes(), 0o644)
	})
	return a.data(c, false)
}
