package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/mr"
)

func (a *app) mr() *cobra.Command {
	top := &cobra.Command{Use: "mr", Short: "MapReduce jobs over the realm's files", Args: cobra.NoArgs,
		Example: "  sigmactl mr run --app wc --in /ux/~local/corpus --out /ux/~local/counts\n  sigmactl mr status",
		RunE:    func(*cobra.Command, []string) error { return usage("say which: run, status, resume or rm") }}
	top.AddCommand(a.mrRun(), a.mrStatus(), a.mrResume(), a.mrRemove())
	return top
}

// mrFlags are the flags of mr run, as they are typed.
type mrFlags struct {
	spec          mr.Spec
	memory, split string
	detach        bool
}

func (a *app) mrRun() *cobra.Command {
	var f mrFlags
	c := &cobra.Command{Use: "run --app APP --in PATH --out DIR [flags] [-- ARGS…]", Short: "Run a job, and show how far it is", Args: cobra.ArbitraryArgs,
		Long: `run starts a job and waits for its end. The program that σOS brings has these:

  wc     counts words
  grep   finds the lines that match a regular expression, which goes behind --
  index  says which files a word is in

--program takes any other whose main function is mr.Main (docs/MR.md); a local file
is uploaded first. Input and output are paths of the realm, in /ux, /s3 or, when
small, elsewhere; ~local is this node in --in and --out, and each mapper's own in
--intermediate. The output directory must be new or empty; its files are part-00000
and so on, one for each reducer, each sorted by key.

An interrupt leaves the job running: mr status, mr resume to watch it again, mr rm to
end it.`,
		Example: "  sigmactl mr run --app wc --in /s3/~local/corpus --out /s3/~local/counts/1 --reducers 8\n" +
			"  sigmactl mr run --app grep --in /ux/~local/corpus --out /ux/~local/found -- 'whal(e|ing)'\n" +
			"  sigmactl mr run --program ./mine --in /ux/~local/corpus --out /ux/~local/out --intermediate /s3/~any"}
	fl := c.Flags()
	fl.StringVar(&f.spec.App, "app", "", "which of the program's jobs; its first without it")
	fl.StringVar(&f.spec.Program, "program", "", "the job's program: a local file or a path of the realm (default: the one that σOS brings)")
	fl.StringArrayVar(&f.spec.In, "in", nil, "a file or directory to read; repeats")
	fl.StringVar(&f.spec.Out, "out", "", "directory for the output")
	fl.BoolVar(&f.spec.Overwrite, "overwrite", false, "replace the parts of an earlier job in there")
	fl.StringVar(&f.spec.Intermediate, "intermediate", "/ux/~local", "directory for intermediate files")
	fl.IntVar(&f.spec.Reducers, "reducers", 4, "reducers, and parts of the output")
	fl.StringVar(&f.split, "split", "", "bytes of input for one mapper, also as 4MiB (default: by the size of the input)")
	fl.StringVar(&f.memory, "memory", "128MiB", "memory of a mapper or reducer")
	fl.IntVar(&f.spec.Tries, "tries", 4, "failures of one task that end the job")
	fl.DurationVar(&f.spec.TaskLimit, "task-limit", 10*time.Minute, "time for one attempt of a task")
	fl.IntVar(&f.spec.Parallel, "parallel", 0, "procs at a time (default: two for each node, at least 4)")
	fl.StringVar(&f.spec.Name, "name", "", "name of the job (default: made from --app)")
	fl.BoolVarP(&f.detach, "detach", "d", false, "do not wait: print the name and leave")
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if n := c.ArgsLenAtDash(); len(args) > 0 && n != 0 {
			return usage("the job's arguments go behind --: sigmactl mr run … -- %s", args[0])
		}
		f.spec.Args = args
		return f.check()
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		if err := a.mrProgram(ctx, cl, &f.spec); err != nil {
			return err
		}
		s, err := mr.Submit(ctx, cl.Client, f.spec)
		if err != nil {
			return err
		}
		if f.detach {
			return a.print(map[string]string{"job": s.Name}, func(w io.Writer) error { _, err := fmt.Fprintln(w, s.Name); return err })
		}
		return a.mrWatch(ctx, cl, s.Name)
	})
	return a.data(c, false)
}

func (f *mrFlags) check() (err error) {
	switch {
	case len(f.spec.In) == 0:
		return usage("say what to read: --in PATH")
	case f.spec.Out == "":
		return usage("say where the output goes: --out DIR")
	case f.spec.App == "" && f.spec.Program == "":
		return usage("say which job: --app wc, grep or index, or a --program of your own")
	}
	if f.spec.Memory, err = parseSize(f.memory); err != nil {
		return usage("--memory %q: want a whole number of bytes above 0, or one with KiB, MiB or GiB", f.memory)
	}
	if f.split != "" {
		if f.spec.SplitBytes, err = parseSize(f.split); err != nil {
			return usage("--split %q: want a whole number of bytes above 0, or one with KiB, MiB or GiB", f.split)
		}
	}
	if f.spec.Name == "" {
		name := f.spec.App
		if name == "" {
			name = "job"
		}
		f.spec.Name = mr.NewName(name)
	}
	return nil
}

// mrProgram makes the spec's program one of the realm.
func (a *app) mrProgram(ctx context.Context, cl *admin.Client, s *mr.Spec) error {
	if s.Program == "" {
		s.Program = "/bin/mr"
		if exe, err := os.Executable(); err == nil {
			if p := filepath.Join(filepath.Dir(exe), "procs", "mr"); isFile(p) {
				s.Program = p
			}
		}
	}
	d := &api.ProcDesc{Program: s.Program}
	err := a.local(ctx, cl, d)
	s.Program = d.Program
	return err
}

func isFile(path string) bool {
	st, err := os.Stat(path)
	return err == nil && st.Mode().IsRegular()
}

func (a *app) mrStatus() *cobra.Command {
	c := &cobra.Command{Use: "status [JOB]", Short: "Say how far a job is, or list all", Args: cobra.MaximumNArgs(1), Example: "  sigmactl mr status\n  sigmactl mr status wc-k3x2ab -o json"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if len(args) == 1 {
			s, err := mr.Status(ctx, cl.Client, args[0])
			if err != nil {
				return err
			}
			return a.print(s, func(w io.Writer) error { return mrReport(w, s) })
		}
		list, err := mr.List(ctx, cl.Client)
		if err != nil {
			return err
		}
		return a.print(list, func(w io.Writer) error {
			tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
			fmt.Fprintln(tw, "JOB\tAPP\tAGE\tPHASE\tMAPS\tREDUCES\tOUT")
			for _, s := range list {
				st := &s.State
				fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%d/%d\t%d/%d\t%s\n", s.Spec.Name, s.Spec.App, age(time.Since(s.Spec.Created)), st.Phase, st.Maps.Done, st.Maps.Total, st.Reduces.Done, st.Reduces.Total, s.Spec.Out)
			}
			return tw.Flush()
		})
	})
	return a.data(c, false)
}

func (a *app) mrResume() *cobra.Command {
	c := &cobra.Command{Use: "resume JOB", Short: "Watch a job, with new coordinators where it has none", Args: cobra.ExactArgs(1), Example: "  sigmactl mr resume wc-k3x2ab",
		Long: `resume goes on with a job that was started before: it starts coordinators where
none is left, and waits for the end as mr run does. What is finished is not done
again. After all machines were down, σOS does that by itself.`}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if _, err := mr.Resume(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		return a.mrWatch(ctx, cl, args[0])
	})
	return a.data(c, false)
}

func (a *app) mrRemove() *cobra.Command {
	c := &cobra.Command{Use: "rm JOB", Short: "Forget a job; one that runs is ended", Args: cobra.ExactArgs(1), Example: "  sigmactl mr rm wc-k3x2ab",
		Long: `rm forgets a job. Its output stays. Of one that runs, all procs end within some
seconds, and what they wrote so far stays too: the directories .mr-… beside the
output and mr-… where its intermediate files are.`}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if _, err := mr.Status(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		if err := mr.Remove(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		return a.print(map[string]string{"removed": args[0]}, func(io.Writer) error { return nil })
	})
	return a.data(c, false)
}

// nodeBack is how long mrWatch waits for a lost node to be back.
const nodeBack = 30 * time.Second

// mrWatch shows a job until it has ended; its failure is ours.
func (a *app) mrWatch(ctx context.Context, cl *admin.Client, name string) error {
	b := newBars(a.err)
	s, err := mr.Wait(ctx, cl.Client, name, b.show)
	for since := time.Now(); err != nil && ctx.Err() == nil && cl.Gone() && time.Since(since) < nodeBack; {
		var next *admin.Client
		if next, err = a.connect(ctx); err != nil { // the node may be starting again
			time.Sleep(200 * time.Millisecond)
			continue
		}
		defer next.Close()
		cl, since = next, time.Now()
		s, err = mr.Wait(ctx, cl.Client, name, b.show)
	}
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintf(a.err, "sigmactl: the job goes on; sigmactl mr resume %s shows it again, mr rm %s ends it\n", name, name)
			return exit(130)
		}
		return err
	}
	if err := a.print(s, func(w io.Writer) error { return mrReport(w, s) }); err != nil {
		return err
	}
	if s.State.Phase == mr.Failed {
		return exit(1)
	}
	return nil
}
