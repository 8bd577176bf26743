package ctl

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/sigma/admin"
	"sigmaos/sigma/img"
	"sigmaos/sigma/job"
)

func (a *app) img() *cobra.Command {
	top := &cobra.Command{Use: "img", Short: "Scale images: a directory of them, or as a service",
		Example: "  sigmactl img run --in ./photos --out ./small --size 640x640\n  sigmactl img serve /svc/img"}
	v := &jobs[img.Summary, *img.Summary]{a: a, kind: img.Jobs, columns: "DONE\tFAILED\tSIZE", bars: imgBars, report: imgReport}
	v.row = func(s *img.Summary) string {
		st := &s.State
		return fmt.Sprintf("%d/%d\t%d\t%s", st.Done, st.Total, st.Failed, img.Size(s.Spec.Width, s.Spec.Height))
	}
	v.whole = func(ctx context.Context, cl *admin.Client, s *img.Summary) error { return s.Results(ctx, cl.Client) }
	v.ok = func(s *img.Summary) bool { return s.State.Failed == 0 }
	top.AddCommand(a.imgRun(v), a.imgStatus(v), v.resume(), v.remove(""), a.imgServe(), a.imgSubmit())
	return top
}

// imgFlags are the flags of img run, as they are typed.
type imgFlags struct {
	jobFlags
	spec     img.Spec
	size, in string
}

func (a *app) imgRun(v *jobs[img.Summary, *img.Summary]) *cobra.Command {
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
	f.add(fl, &f.spec.Spec, "img", "384MiB", "directory for the results, new or empty", "replace files of the same names in there", "failures of a worker that end its image", time.Minute, "worker")
	fl.StringVar(&f.in, "in", "", "directory of images")
	imgOptions(fl.StringVar, fl.IntVar, &f.size, &f.spec.Options)
	c.PreRunE = func(*cobra.Command, []string) error { return f.check() }
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, _ []string) (err error) {
		if f.spec.Program, err = a.jobProgram(ctx, cl, "img", f.spec.Program); err != nil {
			return err
		}
		copies := newCopies(a, cl, f.in, f.spec.Out, f.spec.Name)
		if err := copies.in(ctx, &f.spec); err != nil {
			return err
		}
		s, err := img.Submit(ctx, cl.Client, f.spec)
		if err != nil {
			copies.remove(ctx)
			return err
		}
		return v.started(ctx, cl, s.Name, f.detach, copies.out)
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

func (f *imgFlags) check() error {
	switch {
	case f.in == "":
		return usage("say where the images are: --in DIR")
	case f.spec.Out == "":
		return usage("say where the results go: --out DIR")
	case f.detach && (isLocal(f.in) || isLocal(f.spec.Out)):
		return usage("--detach is for directories of the realm: nobody would be there to copy the results")
	}
	if err := imgSize(f.size, &f.spec.Options); err != nil {
		return err
	}
	if f.spec.Name == "" {
		f.spec.Name = job.NewName("img")
	}
	return parseMemory(f.memory, &f.spec.Memory)
}

func (a *app) imgStatus(v *jobs[img.Summary, *img.Summary]) *cobra.Command {
	c := &cobra.Command{Use: "status [JOB|PATH]", Short: "Say how far a job is, what a service did, or list all jobs", Args: cobra.MaximumNArgs(1),
		Example: "  sigmactl img status\n  sigmactl img status img-k3x2ab -o json\n  sigmactl img status /svc/img"}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) error {
		if len(args) > 0 && strings.HasPrefix(args[0], "/") {
			return a.imgStats(ctx, cl, args[0])
		}
		return v.status(ctx, cl, args)
	})
	return a.data(c, false)
}
