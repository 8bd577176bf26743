package mr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
	"sigmaos/sigma/tasks"
)

const (
	partPrefix = "part-"
	moves      = 8 // at a time
	copyBuffer = 1 << 20
	cleanTime  = 10 * time.Second // for one node
)

// publish moves what the reducers made to its place. Which attempt's file that is,
// the queue has decided, so that it may be done twice. whole is false where a file
// is gone; its bin is reduced again.
func (l *leader) publish(ctx context.Context) (whole bool, err error) {
	if err := l.t.Pass(ctx, Publishing); err != nil {
		return false, err
	}
	list := l.reduces.Tasks()
	errs := make([]error, moves)
	var wg sync.WaitGroup
	for w := range moves {
		wg.Go(func() {
			for i := w; i < len(list) && errs[w] == nil; i += moves {
				errs[w] = l.place(ctx, list[i])
			}
		})
	}
	wg.Wait()
	whole = true
	for _, err := range errs {
		var g *gone
		if errors.As(err, &g) {
			t := list[0]
			for _, x := range list {
				if x.ID == g.of {
					t = x
				}
			}
			if _, err := l.reduces.Redo(ctx, t.ID, t.Winner); err != nil {
				return false, err
			}
			whole = false
		} else if err != nil {
			return false, err
		}
	}
	return whole, nil
}

// place moves one bin's file.
func (l *leader) place(ctx context.Context, t tasks.Task) error {
	var r result
	if err := json.Unmarshal(t.Result, &r); err != nil {
		return err
	}
	to := fmt.Sprintf("%s/%s%s", l.spec.Out, partPrefix, t.ID)
	err := l.n.Rename(ctx, r.Out, to)
	if api.KindOf(err) == api.Unsupported { // objects cannot be renamed
		err = l.copy(ctx, r.Out, to)
	}
	if api.KindOf(err) == api.NotFound { // moved before, perhaps by a leader before
		e, serr := l.s.Stat(ctx, to)
		switch {
		case serr == nil && e.size == r.Stats.OutBytes:
			return nil
		case serr == nil || api.KindOf(serr) == api.NotFound:
			if err = job.Reachable(ctx, l.n, err, l.spec.Out); api.KindOf(err) == api.NotFound {
				return &gone{t.ID, err}
			}
		default:
			return serr
		}
	}
	return err
}

// copy writes an object that is seen when it is whole.
func (l *leader) copy(ctx context.Context, from, to string) error {
	in, err := l.n.Open(ctx, from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := l.n.OpenFile(ctx, to, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	if _, err := io.CopyBuffer(struct{ io.Writer }{out}, struct{ io.Reader }{in}, make([]byte, copyBuffer)); err != nil {
		out.Abandon()
		return err
	}
	return out.Close()
}

// Clean removes what the job leaves beside its output and its state.
func (l *leader) Clean(ctx context.Context) {
	paths := []string{l.spec.aside(), l.dir + "/maps", l.dir + "/reduces"}
	mid := l.spec.mid()
	if before, after, ok := strings.Cut(mid, "/~local"); ok {
		nodes, err := l.n.ReadDir(ctx, before, "", 0)
		if err != nil {
			l.t.Note("intermediate files are not removed: %v", err)
		}
		for _, n := range nodes {
			paths = append(paths, before+"/"+n.Name()+after)
		}
	} else {
		paths = append(paths, mid)
	}
	errs := make([]error, len(paths))
	job.Each(len(paths), func(i int) error {
		cctx, cancel := context.WithTimeout(ctx, cleanTime)
		defer cancel()
		errs[i] = l.n.RemoveAll(cctx, paths[i])
		return nil
	})
	for i, err := range errs {
		if err != nil && api.KindOf(err) != api.NotFound {
			l.t.Note("%s is not removed: %v", paths[i], err)
		}
	}
}
