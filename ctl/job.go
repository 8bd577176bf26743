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
	"github.com/spf13/pflag"

	"sigmaos/api"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/job"
)

// jobs are the verbs that kinds of jobs have in common.
type jobs[J any, P job.Kept[J]] struct {
	a       *app
	kind    job.Kind[J, P]
	columns string           // of a list, between AGE and OUT; with tabs
	row     func(P) string   // in these
	bars    func(P) []string // how far it is
	report  func(io.Writer, P) error
	whole   func(context.Context, *admin.Client, P) error // adds what is not in the state
	ok      func(P) bool                                  // of one that is done
}

// jobFlags are those that run has for each kind.
type jobFlags struct {
	memory string
	detach bool
}

func (f *jobFlags) add(fl *pflag.FlagSet, s *job.Spec, begin, memory, out, overwrite, failures string, limit time.Duration, procs string) {
	fl.StringVar(&s.Program, "program", "", "the job's program: a local file or a path of the realm (default: the one that σOS brings)")
	fl.StringVar(&s.Out, "out", "", out)
	fl.BoolVar(&s.Overwrite, "overwrite", false, overwrite)
	fl.StringVar(&f.memory, "memory", memory, "memory of a "+procs)
	fl.IntVar(&s.Tries, "tries", 4, failures)
	fl.DurationVar(&s.TaskLimit, "task-limit", limit, "time for one attempt")
	fl.IntVar(&s.Parallel, "parallel", 0, "procs at a time (default: two for each core of the cluster, at least 4)")
	fl.StringVar(&s.Name, "name", "", "name of the job (default: "+begin+"-…)")
	fl.BoolVarP(&f.detach, "detach", "d", false, "do not wait: print the name and leave")
}

// parseMemory is parseSize of the flag --memory.
func parseMemory(text string, to *int64) (err error) {
	if *to, err = parseSize(text); err != nil {
		return usage("--memory %q: want a whole number of bytes above 0, or one with KiB, MiB or GiB", text)
	}
	return nil
}

// jobProgram is a program of the realm: a local file is uploaded, and "" is the one
// of this name that σOS brings.
func (a *app) jobProgram(ctx context.Context, cl *admin.Client, name, program string) (string, error) {
	if program == "" {
		program = "/bin/" + name
		if exe, err := os.Executable(); err == nil {
			p := filepath.Join(filepath.Dir(exe), "procs", name)
			if st, err := os.Stat(p); err == nil && st.Mode().IsRegular() {
				program = p
			}
		}
	}
	d := &api.ProcDesc{Program: program}
	err := a.local(ctx, cl, d)
	return d.Program, err
}

// started shows a job that was submitted, unless nobody wants to wait for it.
func (v *jobs[J, P]) started(ctx context.Context, cl *admin.Client, name string, detach bool, end func(context.Context, P) error) error {
	if detach {
		return v.a.print(map[string]string{"job": name}, func(w io.Writer) error { _, err := fmt.Fprintln(w, name); return err })
	}
	return v.watch(ctx, cl, name, end)
}

// status says how far a job is, or lists all.
func (v *jobs[J, P]) status(ctx context.Context, cl *admin.Client, args []string) error {
	if len(args) == 0 {
		return v.list(ctx, cl)
	}
	j, err := v.kind.Status(ctx, cl.Client, args[0])
	if err == nil {
		err = v.whole(ctx, cl, j)
	}
	if err != nil {
		return err
	}
	return v.a.print(j, func(w io.Writer) error { return v.say(w, j) })
}

func (v *jobs[J, P]) list(ctx context.Context, cl *admin.Client) error {
	list, err := v.kind.List(ctx, cl.Client)
	if err != nil {
		return err
	}
	return v.a.print(list, func(w io.Writer) error {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintf(tw, "JOB\tAGE\tPHASE\t%s\tOUT\n", v.columns)
		for _, j := range list {
			s, st := j.Head()
			fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", s.Name, age(time.Since(s.Created)), st.Phase, v.row(j), s.Out)
		}
		return tw.Flush()
	})
}

// say is the report, with what all kinds begin with.
func (v *jobs[J, P]) say(w io.Writer, j P) error {
	s, st := j.Head()
	fmt.Fprintf(w, "job %s: %s", s.Name, st.Phase)
	if took := st.Took(); took > 0 {
		fmt.Fprintf(w, " after %s", ms(took))
	}
	if err := v.report(w, j); err != nil {
		return err
	}
	for _, n := range st.Notes {
		fmt.Fprintln(w, "note:", n)
	}
	return nil
}

func (v *jobs[J, P]) resume() *cobra.Command {
	name := v.kind.Name
	c := &cobra.Command{Use: "resume JOB", Short: "Watch a job, with new coordinators where it has none", Args: cobra.ExactArgs(1), Example: "  sigmactl " + name + " resume " + name + "-k3x2ab",
		Long: `resume goes on with a job that was started before: it starts coordinators where
none is left, and waits for the end as run does. What is finished is not done again.
After all machines were down, σOS does that by itself.`}
	c.RunE = v.a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if _, err := v.kind.Resume(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		return v.watch(ctx, cl, args[0], nil)
	})
	return v.a.data(c, false)
}

func (v *jobs[J, P]) remove(more string) *cobra.Command {
	name := v.kind.Name
	c := &cobra.Command{Use: "rm JOB", Short: "Forget a job; one that runs is ended", Args: cobra.ExactArgs(1), Example: "  sigmactl " + name + " rm " + name + "-k3x2ab",
		Long: `rm forgets a job. Its output stays. Of one that runs, all procs end within some
seconds` + more + `.`}
	c.RunE = v.a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if _, err := v.kind.Status(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		if err := v.kind.Remove(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		return v.a.print(map[string]string{"removed": args[0]}, func(io.Writer) error { return nil })
	})
	return v.a.data(c, false)
}

// nodeBack is how long watch waits for a lost node to be back.
const nodeBack = 30 * time.Second

// watch shows a job until it has ended; its failure is ours. end, if it is not nil,
// is called before the report.
func (v *jobs[J, P]) watch(ctx context.Context, cl *admin.Client, name string, end func(context.Context, P) error) error {
	b := newBars(v.a.err)
	show := func(j P) {
		_, st := j.Head()
		b.show(v.bars(j), st.Phase.Final())
	}
	j, err := v.kind.Wait(ctx, cl.Client, name, show)
	for since := time.Now(); err != nil && ctx.Err() == nil && cl.Gone() && time.Since(since) < nodeBack; {
		var next *admin.Client
		if next, err = v.a.connect(ctx); err != nil { // the node may be starting again
			time.Sleep(200 * time.Millisecond)
			continue
		}
		defer next.Close()
		cl, since = next, time.Now()
		j, err = v.kind.Wait(ctx, cl.Client, name, show)
	}
	if err != nil && ctx.Err() != nil {
		fmt.Fprintf(v.a.err, "sigmactl: the job goes on; sigmactl %[1]s resume %[2]s shows it again, %[1]s rm %[2]s ends it\n", v.kind.Name, name)
		return exit(130)
	}
	if err == nil {
		err = v.whole(ctx, cl, j)
	}
	if err == nil && end != nil {
		err = end(ctx, j)
	}
	if err == nil {
		err = v.a.print(j, func(w io.Writer) error { return v.say(w, j) })
	}
	if err != nil {
		return err
	}
	if _, st := j.Head(); st.Phase == job.Failed || !v.ok(j) {
		return exit(1)
	}
	return nil
}
