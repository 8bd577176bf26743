// Package ctl is sigmactl: one file a verb. It sees sigma and api only; what a
// verb needs from the rest of the system is given to it as a hook.
package ctl

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// Hooks are the verbs' ways into parts of the system that ctl does not import.
type Hooks struct {
	// Digest is the content digest of a local program and its size, after a
	// check that it can be a proc.
	Digest func(path string) (digest string, size int64, err error)
	// Doctor checks the machine; clean also removes what killed runs left, groups
	// below one root only where it is not "".
	Doctor func(ctx context.Context, clean bool, root string) []api.Check
	// Attack tries the rows of hostile procs on the cluster; each is told as it is
	// known, and none of its runs may take longer than patience.
	Attack func(ctx context.Context, c *admin.Client, patience time.Duration, each func(api.AttackRow)) (api.AttackReport, error)
	// Bench runs one of BenchNames and returns what prints and draws itself.
	Bench      func(ctx context.Context, name string, c *admin.Client, o BenchOptions) (BenchResult, error)
	BenchNames []string
	// Mount shows the realm as a directory, Serve9P to plain 9P clients, until ctx
	// ends.
	Mount   func(ctx context.Context, connect Connect, o MountOptions) error
	Serve9P func(ctx context.Context, connect Connect, o ServeOptions) error
}

// exit carries a status through cobra.
type exit int

func (e exit) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is wrong use: status 2.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// app is what the verbs share.
type app struct {
	hooks    Hooks
	opt      admin.Options
	output   string
	out, err io.Writer
}

// Main runs sigmactl and returns its exit status: 2 for wrong use, 1 for
// failure, a proc's own where one ran.
func Main(args []string, version string, hooks Hooks) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	return run(ctx, args, version, hooks, os.Stdout, os.Stderr)
}

func run(ctx context.Context, args []string, version string, hooks Hooks, out, errw io.Writer) int {
	a := &app{hooks: hooks, out: out, err: errw}
	root := a.root(version)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errw)
	root.InitDefaultCompletionCmd(args...)
	if c, _, err := root.Find([]string{"completion"}); err == nil {
		strict(c)
	}
	cmd, err := root.ExecuteContextC(ctx)
	var code exit
	var use usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &use):
		fmt.Fprintf(errw, "sigmactl: %v\nusage: %s\n", err, cmd.UseLine())
		return 2
	}
	fmt.Fprintln(errw, "sigmactl:", err)
	return 1
}

func (a *app) root(version string) *cobra.Command {
	root := &cobra.Command{
		Use:           "sigmactl",
		Short:         "Run and look after procs on σOS",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there is no verb %q; sigmactl --help lists them", args[0])
			}
			return cmd.Help()
		},
	}
	root.PersistentFlags().StringVar(&a.opt.Context, "context", "", "cluster: its name, the path of its socket, or a realm's token file (SIGMA_CONTEXT)")
	root.PersistentFlags().StringVar(&a.opt.Realm, "realm", "", "realm to act in (SIGMA_REALM; \"default\")")
	root.AddCommand(a.run(), a.spawn(), a.wait(), a.ps(), a.logs(), a.kill(), a.why(), a.top(), a.ls(), a.cat(), a.put(), a.cp(), a.rm(), a.mkdir(), a.stat(), a.watch(), a.sql(), a.mount(), a.serve9p(), a.realm(), a.node(), a.cluster(), a.ep(), a.programs(), a.dump(), a.info(), a.doctor(), a.bench())
	root.AddCommand(a.mr(), a.img(), a.init(), a.backup(), a.restore(), a.events())
	strict(root)
	return root
}

// data marks a verb as one that prints data: it gets -o.
func (a *app) data(c *cobra.Command, wide bool) *cobra.Command {
	formats := "json"
	if wide {
		formats = "json or wide"
	}
	c.Flags().StringVarP(&a.output, "output", "o", "", "output format: "+formats)
	check := c.PreRunE
	c.PreRunE = func(cmd *cobra.Command, args []string) error {
		if a.output != "" && a.output != "json" && !(wide && a.output == "wide") {
			return usage("-o %s: the formats are %s", a.output, formats)
		}
		if check != nil {
			return check(cmd, args)
		}
		return nil
	}
	return c
}

// print writes v as JSON when that was asked for, else calls text.
func (a *app) print(v any, text func(w io.Writer) error) error {
	if a.output == "json" {
		e := json.NewEncoder(a.out)
		e.SetIndent("", "  ")
		return e.Encode(v)
	}
	return text(a.out)
}

// line writes one of many: as JSON on a line of its own when that was asked for.
func (a *app) line(v any, format string, args ...any) error {
	if a.output == "json" {
		return json.NewEncoder(a.out).Encode(v)
	}
	_, err := fmt.Fprintf(a.out, format, args...)
	return err
}

// connect reaches the cluster; the caller closes.
func (a *app) connect(ctx context.Context) (*admin.Client, error) {
	return admin.Connect(ctx, a.opt)
}

// with runs fn on a connection.
func (a *app) with(fn func(ctx context.Context, c *admin.Client, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		c, err := a.connect(cmd.Context())
		if err != nil {
			return err
		}
		defer c.Close()
		return fn(cmd.Context(), c, args)
	}
}
