package img

import (
	"context"
	"encoding/json"
	"io/fs"
	"path"
	"strings"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/tasks"
)

// maxImages is how many one job takes.
const maxImages = 100_000

// image is a task's payload.
type image struct {
	Name  string   `json:"name"`            // below the input
	Taken []string `json:"taken,omitempty"` // endings that its result must not get
}

// plan lists the images, once: the file plan says that all of them are submitted.
func (l *leader) plan(ctx context.Context) (err error) {
	_, err = l.n.Stat(ctx, l.dir+"/plan")
	if api.KindOf(err) == api.NotFound {
		l.st.Phase = Planning
		if err = l.save(ctx); err == nil {
			err = l.newPlan(ctx)
		}
	}
	if err != nil {
		return err
	}
	if l.q == nil {
		if l.q, err = tasks.Open(ctx, tasks.In(l.n), l.dir+"/tasks", tasks.Options{Tries: l.spec.Tries}); err != nil {
			return err
		}
	}
	if l.parallel = l.spec.Parallel; l.parallel == 0 {
		l.parallel, err = parallel(ctx, l.n)
	}
	return err
}

// parallel is how many workers there are at a time: two for each node.
func parallel(ctx context.Context, n *sigma.Names) (int, error) {
	nodes, err := n.ReadDir(ctx, "/ux", "", 0)
	return max(4, 2*len(nodes)), err
}

func (l *leader) newPlan(ctx context.Context) error {
	if err := l.n.RemoveAll(ctx, l.dir+"/tasks"); err != nil && api.KindOf(err) != api.NotFound { // of a leader that did not finish it
		return err
	}
	names, err := find(ctx, l.n, l.spec.In)
	if err != nil {
		return ofJob(nodeGone(ctx, l.n, l.spec.In, err))
	}
	if err := l.takeOutput(ctx); err != nil {
		return ofJob(nodeGone(ctx, l.n, l.spec.Out, err))
	}
	for dir := range dirsOf(names) {
		if err := l.n.MkdirAll(ctx, path.Join(l.spec.Out, dir), 0o775); err != nil {
			return ofJob(err)
		}
	}
	if l.q, err = tasks.Open(ctx, tasks.In(l.n), l.dir+"/tasks", tasks.Options{Tries: l.spec.Tries}); err != nil {
		return err
	}
	for i, im := range images(names) {
		b, err := json.Marshal(im)
		if err != nil {
			return err
		}
		if err := l.q.Submit(ctx, taskID(i), b); err != nil {
			return err
		}
	}
	_, err = l.n.PutFile(ctx, l.dir+"/plan", []byte("planned\n"))
	return err
}

// ofJob makes an error that will be the same next time the job's own.
func ofJob(err error) error {
	if permanent(err) || api.KindOf(err) == api.Exists {
		return &failure{err}
	}
	return err
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

// takeOutput makes the output directory this job's: it was empty, or may be
// written over.
func (l *leader) takeOutput(ctx context.Context) error {
	out := l.spec.Out
	if err := l.n.MkdirAll(ctx, out, 0o775); err != nil {
		return err
	}
	_, err := l.n.PutFile(ctx, l.spec.claim(), []byte(l.spec.ID), sigma.Exclusive())
	if api.KindOf(err) == api.Exists {
		b, _, gerr := l.n.GetFile(ctx, l.spec.claim())
		if gerr != nil {
			return gerr
		}
		if err = nil; string(b) != l.spec.ID {
			return api.E(api.Exists, "img", out, "another job writes there; if that is over, remove %s", l.spec.claim())
		}
	}
	if err != nil || l.spec.Overwrite {
		return err
	}
	list, err := l.n.ReadDir(ctx, out, "", 0)
	for _, i := range list {
		if name := i.Name(); name != path.Base(l.spec.claim()) {
			return api.E(api.Exists, "img", out, "the output directory has %s in it; name another, or replace files of the same names with --overwrite", name)
		}
	}
	return err
}

// freeOutput gives the output directory back.
func (l *leader) freeOutput(ctx context.Context) error {
	b, _, err := l.n.GetFile(ctx, l.spec.claim())
	if err == nil && string(b) == l.spec.ID {
		err = l.n.Remove(ctx, l.spec.claim())
	}
	if api.KindOf(err) == api.NotFound {
		err = nil
	}
	return err
}
