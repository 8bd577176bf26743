package ctl

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/img"
)

func (a *app) imgServe() *cobra.Command {
	var s img.Service
	var memory string
	c := &cobra.Command{Use: "serve PATH [flags]", Short: "Start a service that scales images", Args: cobra.ExactArgs(1), Example: "  sigmactl img serve /svc/img --parallel 4 --queue 100",
		Long: `serve starts an LC proc that is published at PATH, and prints its id. Clients give
it an image at a time (img submit, or the Go package sigma/img); each is scaled by a
proc of its own. When --queue images wait, more get the error "busy" at once.

The service runs until it is killed (sigmactl kill); what it has begun it finishes
within the grace.`}
	fl := c.Flags()
	fl.StringVar(&memory, "memory", "384MiB", "memory of a worker")
	fl.IntVar(&s.Tries, "tries", 4, "failures of a worker that end its image")
	fl.DurationVar(&s.Limit, "task-limit", time.Minute, "time for one attempt")
	fl.IntVar(&s.Parallel, "parallel", 0, "workers at a time (default: two for each core of the cluster, at least 4)")
	fl.IntVar(&s.Queue, "queue", 64, "images that may wait")
	fl.StringVar(&s.Program, "program", "", "the program: a local file or a path of the realm (default: the one that σOS brings)")
	c.PreRunE = func(*cobra.Command, []string) error { return parseMemory(memory, &s.Memory) }
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) (err error) {
		s.Path = args[0]
		if s.Program, err = a.jobProgram(ctx, cl, "img", s.Program); err != nil {
			return err
		}
		id, err := img.StartService(ctx, cl.Client, s)
		if err != nil {
			return err
		}
		return a.print(map[string]string{"proc": string(id), "path": s.Path}, func(w io.Writer) error { _, err := fmt.Fprintln(w, id); return err })
	})
	return a.data(c, false)
}

func (a *app) imgSubmit() *cobra.Command {
	var q img.Request
	var size, out string
	c := &cobra.Command{Use: "submit PATH IMAGE --size WxH [--out FILE]", Short: "Have a service scale one image", Args: cobra.ExactArgs(2),
		Example: "  sigmactl img submit /svc/img photo.jpg --size 640x640 --out small.jpg\n  sigmactl img submit /svc/img /s3/~any/photos/1.jpg --size 64x64 --out /s3/~any/thumbs/1.jpg",
		Long: `submit gives an image to the service at PATH and waits for the result. IMAGE and
--out are files of this machine, or, when they begin with /, of the realm (local:/…
is an absolute path of this machine); a file of this machine has at most 8 MiB.
Without --out the result goes to standard output.`}
	imgOptions(c.Flags().StringVar, c.Flags().IntVar, &size, &q.Options)
	c.Flags().StringVar(&out, "out", "", "file for the result")
	c.PreRunE = func(*cobra.Command, []string) error {
		if a.output == "json" && out == "" {
			return usage("-o json goes to standard output; say where the result goes: --out FILE")
		}
		return imgSize(size, &q.Options)
	}
	c.RunE = a.with(func(ctx context.Context, cl *admin.Client, args []string) (err error) {
		var data []byte
		if isLocal(args[1]) {
			if data, err = readImage(strings.TrimPrefix(args[1], "local:")); err != nil {
				return err
			}
		} else {
			q.In = args[1]
		}
		if out != "" && !isLocal(out) {
			q.Out = out
		}
		for _, p := range []*string{&q.In, &q.Out} { // ~local is ours, not the service's
			if strings.HasPrefix(*p, "/ux/") {
				if *p, err = cl.Names().AbsPath(ctx, *p); err != nil {
					return err
				}
			}
		}
		r, small, err := submitImage(ctx, cl.Client, args[0], q, data)
		if err != nil {
			return err
		}
		if r.Name = args[1]; q.Out == "" {
			if out == "" {
				_, err := a.out.Write(small)
				return err
			}
			r.Out = strings.TrimPrefix(out, "local:")
			if err := os.WriteFile(r.Out, small, 0o644); err != nil {
				return err
			}
		}
		return a.print(r, func(w io.Writer) error {
			_, err := fmt.Fprintf(w, "%s %s %s → %s %s %s, %s\n", r.Name, r.From, img.Size(r.FromWidth, r.FromHeight), r.Out, r.Format, img.Size(r.Width, r.Height), ms(r.Wall))
			return err
		})
	})
	return a.data(c, false)
}

// readImage reads a file of this machine that fits into a request.
func readImage(path string) ([]byte, error) {
	st, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if st.Size() > img.MaxImage {
		return nil, api.E(api.TooLarge, "submit", path, "%s; at most %s go in a request: sigmactl cp local:%s /ux/~local/%s, and submit that path", sizeText(st.Size()), sizeText(img.MaxImage), path, filepath.Base(path))
	}
	return os.ReadFile(path)
}

func submitImage(ctx context.Context, c *sigma.Client, path string, q img.Request, data []byte) (img.Result, []byte, error) {
	svc, err := img.Dial(ctx, c, path)
	if err != nil {
		return img.Result{}, nil, err
	}
	defer svc.Close()
	return svc.Scale(ctx, q, data)
}

func (a *app) imgStats(ctx context.Context, cl *admin.Client, path string) error {
	svc, err := img.Dial(ctx, cl.Client, path)
	if err != nil {
		return err
	}
	defer svc.Close()
	s, err := svc.Stats(ctx)
	if err != nil {
		return err
	}
	return a.print(s, func(w io.Writer) error {
		_, err := fmt.Fprintf(w, "%d of %d run, %d of %d wait; %d done, %d failed, %d sent away\n", s.Running, s.Parallel, s.Waiting, s.Queue, s.Done, s.Failed, s.Busy)
		return err
	})
}
