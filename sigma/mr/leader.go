package mr

import (
	"context"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
	"sigmaos/sigma/tasks"
)

// leader is the coordinator that leads, for one term.
type leader struct {
	t    *job.Term
	n    *sigma.Names // fenced
	s    space
	dir  string
	spec *Spec
	st   *State
	apps []App

	since time.Time // from when on the phase's time is not in st

	maps, reduces *tasks.Queue
	cores         int // procs that can compute at a time
	parallel      int // attempts at a time

	attempts map[*attempt]bool // under way
	procs    *job.Attempts[*attempt]
	took     map[string][]time.Duration // attempts of a kind that succeeded
	pause    job.Backoff
	away     map[string]time.Time // since when directories cannot be reached
	doubted  map[string]bool      // finished maps of which a reducer could not read a file
}

func newLeader(t *job.Term, s *Summary, apps []App) *leader {
	return &leader{t: t, n: t.Names, s: newRealm(t.Names), dir: t.Dir, spec: &s.Spec, st: &s.State, apps: apps, since: time.Now()}
}

// Do is the job, from where it is.
func (l *leader) Do(ctx context.Context) error {
	if err := l.plan(ctx); err != nil {
		return err
	}
	for {
		if err := l.schedule(ctx); err != nil {
			return err
		}
		whole, err := l.publish(ctx)
		if err != nil || whole {
			return err
		}
	}
}

// Update puts the time until now into the phase.
func (l *leader) Update() {
	now := time.Now()
	if l.st.Phase != job.Submitted {
		*l.st.Spent.of(l.st.Phase) += now.Sub(l.since)
	}
	l.since = now
}

// Conclude has nothing to do: all that is to be kept is in the state.
func (l *leader) Conclude(context.Context) error { return nil }

// plan cuts the input, once, and sees to it that all tasks are there.
func (l *leader) plan(ctx context.Context) (err error) {
	if l.cores, l.parallel, err = job.Parallel(ctx, l.spec.Parallel); err != nil {
		return err
	}
	return job.Each(2, func(i int) error { return []func(context.Context) error{l.planMaps, l.planReduces}[i](ctx) })
}

func (l *leader) planReduces(ctx context.Context) (err error) {
	if l.reduces, err = l.t.Queue(ctx, "reduces"); err != nil {
		return err
	}
	return job.Submit(ctx, l.reduces, l.parallel, make([]any, l.spec.Reducers)...)
}

func (l *leader) planMaps(ctx context.Context) (err error) {
	l.maps, err = l.t.Plan(ctx, "maps", l.parallel, func(ctx context.Context) (out []any, err error) {
		splits, err := l.splits(ctx)
		for _, s := range splits {
			out = append(out, s)
		}
		if job.Lasting(err) {
			err = &job.Failure{Err: err}
		}
		return out, err
	})
	if err == nil && l.st.Files == 0 { // who made the plan ended before it said of what
		if files, err := find(ctx, l.s, l.spec.In); err == nil {
			l.measure(files)
		}
	}
	return err
}

// measure notes how much the input is.
func (l *leader) measure(files []found) {
	l.st.Files, l.st.Bytes = len(files), 0
	for _, f := range files {
		l.st.Bytes += f.size
	}
}

// splits checks what the job was asked to do, and cuts its input.
func (l *leader) splits(ctx context.Context) ([]split, error) {
	app, err := choose(l.apps, l.spec.App)
	if err == nil {
		var j Job
		if j, err = app.New(l.spec.Args); err == nil && (j.Map == nil || j.Reduce == nil) {
			err = api.E(api.Invalid, "mr", app.Name, "it lacks a Map or a Reduce")
		}
	}
	if err != nil {
		return nil, api.E(api.Invalid, "mr", l.spec.App, "%v", err)
	}
	files, err := l.ends(ctx)
	if err != nil {
		return nil, err
	}
	l.measure(files)
	var splits []split
	for _, s := range stretches(files) {
		want := closing(s.bytes, s.coresFor(l.st.Bytes, l.cores))
		if size := l.spec.SplitBytes; size != 0 {
			want = evenly(size, l.st.Bytes)
		}
		more, err := cut(ctx, l.s, s.files, want)
		if err != nil {
			return nil, job.Reachable(ctx, l.n, err, l.spec.In...)
		}
		splits = append(splits, more...)
	}
	return splits, nil
}

// ends takes the output and lists the input: side by side, but where old parts go
// that may be below the input.
func (l *leader) ends(ctx context.Context) (files []found, err error) {
	both := func(i int) (err error) {
		if i == 0 {
			return l.takeOutput(ctx)
		}
		if files, err = find(ctx, l.s, l.spec.In); err != nil {
			err = job.Reachable(ctx, l.n, err, l.spec.In...)
		}
		return err
	}
	if !l.spec.Overwrite {
		err = job.Each(2, both)
		return files, err
	}
	if err = both(0); err == nil {
		err = both(1)
	}
	return files, err
}

// takeOutput makes the output directory this job's: it was empty, or is emptied of
// an older job's parts.
func (l *leader) takeOutput(ctx context.Context) error {
	names, err := l.t.TakeOutput(ctx)
	if err != nil {
		return err
	}
	for _, name := range names {
		if !l.spec.Overwrite || !strings.HasPrefix(name, partPrefix) {
			return api.E(api.Exists, "mr", l.spec.Out, "the output directory has %s in it; name another, or replace an earlier job's with --overwrite", name)
		}
		if err := l.n.Remove(ctx, l.spec.Out+"/"+name); err != nil && api.KindOf(err) != api.NotFound {
			return err
		}
	}
	return l.n.MkdirAll(ctx, l.spec.aside(), 0o775)
}
