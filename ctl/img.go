package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/img"
)

func (a *app) img() *cobra.Command {
	top := &cobra.Command{Use: "img", Short: "Scale images: a directory of them, or as a service", Args: cobra.NoArgs,
		Example: "  sigmactl img run --in ./photos --out ./small --size 640x640\n  sigmactl img serve /svc/img",
		RunE: func(*cobra.Command, []string) error {
			return usage("say which: run, status, resume, rm, serve or submit")
		}}
	top.AddCommand(a.imgRun(), a.imgStatus(), a.imgResume(), a.imgRemove(), a.imgServe(), a.imgSubmit())
	return top
}

// imgFlags are the flags of img run, as they are typed.
type imgFlags struct {
	spec                  img.Spec
	size, memory, in, out string
	detach                bool
}

func (a *app) imgRun() *cobra.Command {
	var f imgFlags
	c := &cobra.Command{Use: "run --in DIR --out DIR --size WxH [flags]", Short: "Scale all images of a directory, a proc for each", Args: cobra.NoArgs,
		Long: `run scales every image in and below a directory so that it fits the size, and waits
for the end. JPEG, PNG, GIF (the first frame), WebP and BMP are read; a photograph
becomes a JPEG, other images a PNG, or all what --format says. An image that is
smaller than the size stays as large as it is. A result has the image's name, with
.jpg or .png behind it where it has another ending.

A path that begins with / is the realm's (/ux, /s3, …). Any other directory, or
local:DIR, is one of this machine: images are copied to scratch space of the realm
first, results back, and the copies removed.

What is no image, or would need more memory than a worker has, is named with the
reason; the others are done. Status: 0 when every image was scaled, 1 when not.

An interrupt leaves the job running: img status, img resume to watch it again, img rm
to end it.`,
		Example: "  sigmactl img run --in ./photos --out ./small --size 640x640\n" +
			"  sigmactl img run --in /s3/~local/photos --out /s3/~local/thumbs/1 --size 128x128 --format png"}
	fl := c.Flags()
	fl.StringVar(&f.in, "in", "", "directory of images")
	fl.StringVar(&f.out, "out", "", "directory for the results, new or empty")
	fl.BoolVar(&f.spec.Overwrite, "overwrite", false, "replace files of the same names in there")
	imgOptions(fl.StringVar, fl.IntVar, &f.size, &f.spec.Options)
	fl.StringVar(&f.memory, "memory", "384MiB", "memory of a worker")
	fl.IntVar(&f.spec.Tries, "tries", 4, "failures of a worker that end its image")
	fl.DurationVar(&f.spec.TaskLimit, "task-limit", time.Minute, "time for one attempt")
	fl.IntVar(&f.spec.Parallel, "parallel", 0, "workers at a time (default: two for each node, at least 4)")
	fl.StringVar(&f.spec.Name, "name", "", "name of the job (default: made)")
	fl.StringVar(&f.spec.Program, "program", "", "the program: a local file or a path of the realm (default: the one that σOS brings)")
	fl.BoolVarP(&f.detach, "detach", "d", false, "do not wait: print the name and leave")
	c.PreRunE = func(*cobra.Command, []string) error { return f.check() }
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) error {
		var err error
		if f.spec.Program, err = a.imgProgram(ctx, cl, f.spec.Program); err != nil {
			return err
		}
		copies := newCopies(a, cl, f.in, f.out, f.spec.Name)
		if err := copies.in(ctx, &f.spec); err != nil {
			return err
		}
		s, err := img.Submit(ctx, cl.Client, f.spec)
		if err != nil {
			copies.remove(ctx)
			return err
		}
		if f.detach {
			return a.print(map[string]string{"job": s.Name}, func(w io.Writer) error { _, err := fmt.Fprintln(w, s.Name); return err })
		}
		return a.imgWatch(ctx, cl, s.Name, copies)
	})
	return a.data(c, false)
}

// imgOptions adds the flags that run and submit share.
func imgOptions(str func(p *string, name, value, usage string), num func(p *int, name string, value int, usage string), size *string, o *img.Options) {
	str(size, "size", "", "WIDTHxHEIGHT that a result fits into, as 640x640")
	str(&o.Format, "format", "", "jpeg or png (default: what suits the image)")
	num(&o.Quality, "quality", 85, "of a JPEG, 1 to 100")
}

func imgSize(size string, o *img.Options) (err error) {
	if size == "" {
		return usage("say how large: --size 640x640")
	}
	if o.Width, o.Height, err = img.ParseSize(size); err != nil {
		return usage("--size %q: want WIDTHxHEIGHT, as 640x640", size)
	}
	if o.Format != "" && o.Format != "jpeg" && o.Format != "png" {
		return usage("--format %s: jpeg or png", o.Format)
	}
	return nil
}

func (f *imgFlags) check() (err error) {
	switch {
	case f.in == "":
		return usage("say where the images are: --in DIR")
	case f.out == "":
		return usage("say where the results go: --out DIR")
	case f.detach && (isLocal(f.in) || isLocal(f.out)):
		return usage("--detach is for directories of the realm: nobody would be there to copy the results")
	}
	if err := imgSize(f.size, &f.spec.Options); err != nil {
		return err
	}
	if f.spec.Memory, err = parseSize(f.memory); err != nil {
		return usage("--memory %q: want a whole number of bytes above 0, or one with KiB, MiB or GiB", f.memory)
	}
	if f.spec.Name == "" {
		f.spec.Name = img.NewName()
	}
	return nil
}

// imgProgram is the program of jobs and services, in the realm.
func (a *app) imgProgram(ctx context.Context, cl *admin.Client, program string) (string, error) {
	if program == "" {
		program = "/bin/img"
		if exe, err := os.Executable(); err == nil {
			if p := filepath.Join(filepath.Dir(exe), "procs", "img"); isFile(p) {
				program = p
			}
		}
	}
	d := &api.ProcDesc{Program: program}
	err := a.local(ctx, cl, d)
	return d.Program, err
}

func (a *app) imgStatus() *cobra.Command {
	c := &cobra.Command{Use: "status [JOB|PATH]", Short: "Say how far a job is, what a service did, or list all jobs", Args: cobra.MaximumNArgs(1),
		Example: "  sigmactl img status\n  sigmactl img status img-k3x2ab -o json\n  sigmactl img status /svc/img"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		switch {
		case len(args) == 0:
			return a.imgList(ctx, cl)
		case strings.HasPrefix(args[0], "/"):
			return a.imgStats(ctx, cl, args[0])
		}
		s, err := img.Status(ctx, cl.Client, args[0])
		if err == nil {
			err = s.Results(ctx, cl.Client)
		}
		if err != nil {
			return err
		}
		return a.print(s, func(w io.Writer) error { return imgReport(w, s) })
	})
	return a.data(c, false)
}

func (a *app) imgList(ctx context.Context, cl *admin.Client) error {
	list, err := img.List(ctx, cl.Client)
	if err != nil {
		return err
	}
	return a.print(list, func(w io.Writer) error {
		tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
		fmt.Fprintln(tw, "JOB\tAGE\tPHASE\tDONE\tFAILED\tSIZE\tOUT")
		for _, s := range list {
			st := &s.State
			fmt.Fprintf(tw, "%s\t%s\t%s\t%d/%d\t%d\t%s\t%s\n", s.Spec.Name, age(time.Since(s.Spec.Created)), st.Phase, st.Done, st.Total, st.Failed, img.Size(s.Spec.Width, s.Spec.Height), s.Spec.Out)
		}
		return tw.Flush()
	})
}

func (a *app) imgResume() *cobra.Command {
	c := &cobra.Command{Use: "resume JOB", Short: "Watch a job, with a new coordinator where it has none", Args: cobra.ExactArgs(1), Example: "  sigmactl img resume img-k3x2ab",
		Long: `resume goes on with a job that was started before: it starts a coordinator where
none is left, and waits for the end as img run does. Images that are done are not
done again. After all machines were down, σOS does that by itself.`}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if _, err := img.Resume(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		return a.imgWatch(ctx, cl, args[0], nil)
	})
	return a.data(c, false)
}

func (a *app) imgRemove() *cobra.Command {
	c := &cobra.Command{Use: "rm JOB", Short: "Forget a job; one that runs is ended", Args: cobra.ExactArgs(1), Example: "  sigmactl img rm img-k3x2ab"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if _, err := img.Status(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		if err := img.Remove(ctx, cl.Client, args[0]); err != nil {
			return err
		}
		return a.print(map[string]string{"removed": args[0]}, func(io.Writer) error { return nil })
	})
	return a.data(c, false)
}

// imgWatch shows a job until it has ended, and brings its results here where that
// was asked for; images that failed are our failure.
func (a *app) imgWatch(ctx context.Context, cl *admin.Client, name string, copies *copies) error {
	b := newBars(a.err)
	s, err := img.Wait(ctx, cl.Client, name, func(s *img.Summary) { b.showImg(s) })
	if err != nil {
		if ctx.Err() != nil {
			fmt.Fprintf(a.err, "sigmactl: the job goes on; sigmactl img resume %s shows it again, img rm %s ends it\n", name, name)
			return exit(130)
		}
		return err
	}
	if err := copies.out(ctx, s); err != nil {
		return err
	}
	if err := a.print(s, func(w io.Writer) error { return imgReport(w, s) }); err != nil {
		return err
	}
	if s.State.Phase == img.Failed || s.State.Failed > 0 {
		return exit(1)
	}
	return nil
}
