package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/lmittmann/tint"
	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"sigmaos/ctl"
	"sigmaos/roles"
	"sigmaos/roles/config"
	"sigmaos/runtime/oom"
)

// exitError carries a status through cobra.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

// usageError is wrong use: status 2.
type usageError struct{ error }

func usage(format string, args ...any) error { return usageError{fmt.Errorf(format, args...)} }

// settings reads the configuration; what is wrong in it is wrong use.
func settings(load func() (config.Config, error)) (config.Config, error) {
	cfg, err := load()
	if err == nil {
		err = roles.Check(cfg.Roles)
	}
	if err != nil {
		err = usageError{err}
	}
	return cfg, err
}

// sigmad runs the node agent and returns its exit status.
func sigmad(args []string) int {
	root := &cobra.Command{
		Use:   "sigmad",
		Short: "The node agent of σOS",
		Long: `sigmad makes this machine a node of σOS: it starts procs in σcontainers and
answers for them. Everything can be said in one YAML file, as flags or in
SIGMA_* variables.

On one machine, to try it: sigmad dev`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usage("there is no command %q; sigmad --help lists them", args[0])
			}
			return nil
		},
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{ctl.FlagError(err)} })
	load := config.Bind(root.Flags(), config.Default())
	root.RunE = func(cmd *cobra.Command, _ []string) error {
		cfg, err := settings(load)
		if err != nil {
			return err
		}
		return serve(cfg, nil, nil)
	}
	root.AddCommand(devCommand())
	root.SetArgs(args)
	cmd, err := root.ExecuteC()
	var exit exitError
	var use usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		return int(exit)
	case errors.As(err, &use):
		fmt.Fprintf(os.Stderr, "sigmad: %v\nusage: %s\n", err, cmd.UseLine())
		return 2
	}
	fmt.Fprintln(os.Stderr, "sigmad:", err)
	return 1
}

func devCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dev [flags] [-- CMD ARGS…]",
		Short: "A local cluster in one command",
		Long: `dev runs a whole cluster on this machine until it is interrupted. With CMD it
runs that once the cluster is ready, with SIGMA_CONTEXT set, stops everything
and exits with CMD's status. It prints to stderr only.

With --nodes N there are N nodes, each a process with an equal part of the
machine; node n2's socket is n2/sock in the run directory of the first.`,
		Example:       "  sigmad dev\n  sigmad dev --nodes 3\n  sigmad dev -- sigmactl run ./prog",
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	load := config.Bind(cmd.Flags(), config.Dev())
	nodes := cmd.Flags().Int("nodes", 1, "nodes of the cluster")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		cfg, err := settings(load)
		if err != nil {
			return err
		}
		if len(args) > 0 && cmd.ArgsLenAtDash() != 0 {
			return usage("dev: %q is no flag; a command to run goes behind --", args[0])
		}
		if *nodes < 1 || *nodes > maxDevNodes {
			return usage("dev: --nodes %d: 1 to %d", *nodes, maxDevNodes)
		}
		score, err := oom.Score(os.Getpid()) // a node lowers it for itself
		if err != nil {
			return err
		}
		if *nodes > 1 {
			cfg = share(cfg, *nodes)
		}
		d, err := planDev(cfg, *nodes)
		if err != nil {
			return err
		}
		if *nodes > 1 {
			cfg = d.first()
		}
		return serve(cfg, d.start, func(ctx context.Context, s *roles.System, took time.Duration) (err error) {
			defer func() { err = errors.Join(err, d.stop()) }()
			if *nodes > 1 {
				begin := time.Now()
				if err := d.await(ctx, s); err != nil {
					return err
				}
				took += time.Since(begin)
			}
			if len(args) > 0 {
				return runWith(ctx, s, args, score)
			}
			if !isFollower() {
				greet(s, took, *nodes)
			}
			<-ctx.Done()
			return nil
		})
	}
	return cmd
}

// leaveCores keeps sigmad's own threads to half of the cores. Its work is short
// and wakes up often; on more threads than that most of it was waking them, and
// every core is worth more to procs (2 cores: 415 → 480 starts/s).
func leaveCores() {
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(max(1, runtime.NumCPU()/2))
	}
}

// serve starts the system, runs body or waits for a signal, and stops. before runs
// first and may stop all.
func serve(cfg config.Config, before func(stop func()) (undo func() error, err error), body func(context.Context, *roles.System, time.Duration) error) error {
	leaveCores()
	begin := time.Now()
	log := slog.New(tint.NewTextHandler(os.Stderr, &tint.Options{
		Level: cfg.Level(), TimeFormat: time.TimeOnly, NoColor: !isTerminal(os.Stderr),
	}))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	followParent(stop)
	if before != nil {
		undo, err := before(stop)
		if err != nil {
			return err
		}
		defer undo()
	}
	if err := moveIn(cfg.RunDir); err != nil {
		return err
	}
	s, err := roles.Start(ctx, cfg, version, log)
	if err != nil {
		os.Remove(cfg.RunDir) // what moveIn made, where nobody uses it
		if ctx.Err() != nil && (body == nil || isFollower()) {
			log.Info("stopped while starting", "err", err)
			return nil
		}
		return err
	}
	took := time.Since(begin)
	var failed atomic.Pointer[error]
	go func() {
		select {
		case err := <-s.Failed():
			failed.Store(&err)
			stop()
		case <-ctx.Done():
		}
	}()
	if body == nil {
		log.Info("ready", "node", cfg.Node, "took", took.Round(time.Millisecond))
		<-ctx.Done()
	} else {
		err = body(ctx, s, took)
	}
	if ferr := failed.Load(); ferr != nil {
		err = errors.Join(*ferr, err)
	}
	stop() // a second interrupt ends us at once
	return errors.Join(err, s.Stop())
}

// startedIn is where sigmad was started, for what it runs and says.
var startedIn, _ = os.Getwd()

// moveIn makes the run directory that of the process: etcd looks for the sockets
// of the other nodes' peers there.
func moveIn(dir string) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("making %s (sigmad needs root): %w", dir, err)
	}
	return os.Chdir(dir)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

func greet(s *roles.System, took time.Duration, nodes int) {
	ctl := "sigmactl"
	if exe, err := os.Executable(); err == nil {
		ctl = filepath.Join(filepath.Dir(exe), "sigmactl")
		if rel, err := filepath.Rel(startedIn, ctl); err == nil && len(rel) < len(ctl) {
			ctl = rel
		}
	}
	what := "one node"
	if nodes > 1 {
		what = fmt.Sprintf("%d nodes", nodes)
	}
	fmt.Fprintf(os.Stderr, `σOS is ready after %v: %s, realm "%s". Interrupt to stop.
In another terminal:
  %s run bin/procs/hello      start a proc and see its output
  %s ps -a -o wide            procs, and where the time of their start went
  %s why PROC                 what became of one, and what to do
`, took.Round(time.Millisecond), what, roles.DefaultRealm, ctl, ctl, ctl)
}

// runWith runs a command against the cluster and returns its status. When memory
// runs out it is worth what sigmad was worth when it was started.
func runWith(ctx context.Context, s *roles.System, args []string, score int) error {
	name := args[0]
	if strings.Contains(name, "/") && !filepath.IsAbs(name) {
		name = filepath.Join(startedIn, name)
	}
	cmd := exec.Command(name, args[1:]...)
	cmd.Dir = startedIn
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+filepath.Join(s.Config.RunDir, "sock"))
	if err := cmd.Start(); err != nil {
		return err
	}
	if err := oom.Set(cmd.Process.Pid, score); err != nil {
		s.Log.Warn("the command is ended as late as sigmad when memory runs out", "err", err)
	}
	unhook := context.AfterFunc(ctx, func() { cmd.Process.Signal(syscall.SIGTERM) })
	defer unhook()
	err := cmd.Wait()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		ws := exit.Sys().(syscall.WaitStatus)
		if ws.Signaled() {
			return exitError(128 + int(ws.Signal()))
		}
		return exitError(ws.ExitStatus())
	}
	return err
}
