package ctl

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/sigma/admin"
	"sigmaos/sigma/job"
	"sigmaos/sigma/mr"
)

func (a *app) mr() *cobra.Command {
	top := &cobra.Command{Use: "mr", Short: "MapReduce jobs over the realm's files",
		Example: "  sigmactl mr run --app wc --in /ux/~local/corpus --out /ux/~local/counts\n  sigmactl mr status"}
	v := &jobs[mr.Summary, *mr.Summary]{a: a, kind: mr.Jobs, columns: "APP\tMAPS\tREDUCES", bars: mrBars, report: mrReport}
	v.row = func(s *mr.Summary) string {
		m, r := s.State.Maps, s.State.Reduces
		return fmt.Sprintf("%s\t%d/%d\t%d/%d", s.Spec.App, m.Done, m.Total, r.Done, r.Total)
	}
	v.whole = func(context.Context, *admin.Client, *mr.Summary) error { return nil }
	v.ok = func(*mr.Summary) bool { return true }
	status := &cobra.Command{Use: "status [JOB]", Short: "Say how far a job is, or list all", Args: cobra.MaximumNArgs(1), RunE: a.with(v.status),
		Example: "  sigmactl mr status\n  sigmactl mr status wc-k3x2ab -o json"}
	top.AddCommand(a.mrRun(v), a.data(status, false), v.resume(), v.remove(`, and what they wrote so far stays too: the directories .mr-… beside the
output and mr-… where its intermediate files are`))
	return top
}

// mrFlags are the flags of mr run, as they are typed.
type mrFlags struct {
	jobFlags
	spec  mr.Spec
	split string
}

func (a *app) mrRun(v *jobs[mr.Summary, *mr.Summary]) *cobra.Command {
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
	f.add(fl, &f.spec.Spec, "APP", "128MiB", "directory for the output", "replace the parts of an earlier job in there", "failures of one task that end the job", 10*time.Minute, "mapper or reducer")
	fl.StringVar(&f.spec.App, "app", "", "which of the program's jobs; its first without it")
	fl.StringArrayVar(&f.spec.In, "in", nil, "a file or directory to read; repeats")
	fl.StringVar(&f.spec.Intermediate, "intermediate", "/ux/~local", "directory for intermediate files")
	fl.IntVar(&f.spec.Reducers, "reducers", 4, "reducers, and parts of the output")
	fl.StringVar(&f.split, "split", "", "bytes of input for one mapper, also as 4MiB (default: by the size of the input)")
	c.PreRunE = func(c *cobra.Command, args []string) error {
		if n := c.ArgsLenAtDash(); len(args) > 0 && n != 0 {
			return usage("the job's arguments go behind --: sigmactl mr run … -- %s", args[0])
		}
		f.spec.Args = args
		return f.check()
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) (err error) {
		if f.spec.Program, err = a.jobProgram(ctx, cl, "mr", f.spec.Program); err != nil {
			return err
		}
		s, err := mr.Submit(ctx, cl.Client, f.spec)
		if err != nil {
			return err
		}
		return v.started(ctx, cl, s.Name, f.detach, nil)
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
	if err := parseMemory(f.memory, &f.spec.Memory); err != nil {
		return err
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
		f.spec.Name = job.NewName(name)
	}
	return nil
}
