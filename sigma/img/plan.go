package img

import (
	"context"
	"io/fs"
	"path"
	"strings"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
)

// maxImages is how many one job takes.
const maxImages = 100_000

// image is a task's payload.
type image struct {
	Name  string   `json:"name"`            // below the input
	Taken []string `json:"taken,omitempty"` // endings that its result must not get
}

// plan lists the images, once.
func (l *leader) plan(ctx context.Context) (err error) {
	if _, l.parallel, err = job.Parallel(ctx, l.spec.Parallel); err != nil {
		return err
	}
	l.q, err = l.t.Plan(ctx, "tasks", l.parallel, func(ctx context.Context) (out []any, err error) {
		list, err := l.images(ctx)
		for _, im := range list {
			out = append(out, im)
		}
		if job.Lasting(err) {
			err = &job.Failure{Err: err}
		}
		return out, err
	})
	return err
}

// images finds the input, and makes room for the output.
func (l *leader) images(ctx context.Context) ([]image, error) {
	names, err := find(ctx, l.t.Names, l.spec.In)
	if err != nil {
		return nil, job.Reachable(ctx, l.t.Names, err, l.spec.In)
	}
	there, err := l.t.TakeOutput(ctx)
	if err == nil && len(there) > 0 && !l.spec.Overwrite {
		err = api.E(api.Exists, "img", l.spec.Out, "the output directory has %s in it; name another, or replace files of the same names with --overwrite", there[0])
	}
	if err != nil {
		return nil, err
	}
	for dir := range dirsOf(names) {
		if err := l.t.MkdirAll(ctx, path.Join(l.spec.Out, dir), 0o775); err != nil {
			return nil, err
		}
	}
	return images(names), nil
}

// images are the tasks of files of these names.
func images(names []string) []image {
	there := make(map[string]bool)
	for _, n := range names {
		there[n] = true
	}
	out := make([]image, len(names))
	for i, n := range names {
		out[i].Name = n
		for _, e := range endings {
			if there[n+e[0]] {
				out[i].Taken = append(out[i].Taken, e[0])
			}
		}
	}
	return out
}

// dirsOf are the directories, above the first, that names are in.
func dirsOf(names []string) map[string]bool {
	out := make(map[string]bool)
	for _, n := range names {
		if d := path.Dir(n); d != "." {
			out[d] = true
		}
	}
	return out
}

// find lists the files below a directory, in order, or the one file. Names that
// begin with a dot are left out.
func find(ctx context.Context, n *sigma.Names, in string) ([]string, error) {
	i, err := n.Stat(ctx, in+"/") // through an endpoint link at its end
	if k := api.KindOf(err); k == api.NotDir || k == api.Unsupported {
		i, err = n.Stat(ctx, in)
	}
	if err != nil {
		return nil, err
	}
	if !i.IsDir() {
		return nil, api.E(api.NotDir, "img", in, "a file; name the directory that it is in")
	}
	return findIn(ctx, n, in, "", nil)
}

func findIn(ctx context.Context, n *sigma.Names, in, dir string, out []string) ([]string, error) {
	list, err := n.ReadDir(ctx, path.Join(in, dir), "", 0)
	if err != nil {
		return nil, err
	}
	for _, i := range list {
		name := path.Join(dir, i.Name())
		switch {
		case strings.HasPrefix(i.Name(), "."):
		case i.IsDir():
			if out, err = findIn(ctx, n, in, name, out); err != nil {
				return nil, err
			}
		case i.Mode().IsRegular() || i.Mode()&fs.ModeSymlink != 0:
			out = append(out, name)
		}
		if len(out) > maxImages {
			return nil, api.E(api.TooLarge, "img", in, "more than %d files; at most that many for one job", maxImages)
		}
	}
	return out, nil
}
