package mr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/tasks"
)

// leader is the coordinator that leads, for one term. All that it writes is behind
// the term's fence where the server knows fences.
type leader struct {
	*coordinator
	n    *sigma.Names // fenced
	s    space
	spec *Spec

	st    State
	saved time.Time // of st
	since time.Time // from when on the phase's time is not in st

	maps, reduces *tasks.Queue
	parallel      int

	attempts map[*attempt]bool // under way
	outcomes chan outcome
	took     map[string][]time.Duration // attempts of a kind that succeeded
	pause    time.Time                  // no attempt begins before
	pauses   int                        // attempts in a row that came back
	away     map[string]time.Time       // since when directories cannot be reached
	doubted  map[string]bool            // finished maps of which a reducer could not read a file
}

// failure ends the job for good.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// forGood tells an error that will be the same next time from one that may pass.
func forGood(err error) bool {
	switch api.KindOf(err) {
	case api.Invalid, api.NotFound, api.Exists, api.NotDir, api.IsDir, api.Denied, api.TooLarge, api.NoCapacity, api.Unsupported:
		return true
	}
	return false
}

// run does what is left of the job. An error leaves it to the next leader.
func (l *leader) run(ctx context.Context) error {
	_, st, err := load(ctx, l.n, l.dir)
	if err != nil || st.Phase.Final() {
		return err
	}
	l.st, l.since = *st, time.Now()
	l.st.Terms++
	if l.st.Started.IsZero() {
		l.st.Started = time.Now()
	}
	if l.st.Phase == Ending { // the leader before has decided
		return l.end(ctx)
	}
	stop := l.keepStandbys(ctx)
	err = l.all(ctx)
	stop()
	var f *failure
	switch {
	case err == nil:
		return l.decide(ctx, nil)
	case errors.As(err, &f):
		return l.decide(ctx, f.err)
	case ctx.Err() != nil:
		return err
	}
	if api.KindOf(err) != api.Conflict { // of a fence: another leads
		if l.errs++; l.errs >= patience {
			return l.decide(ctx, err)
		}
	}
	return err
}

// all is the job, from where it is.
func (l *leader) all(ctx context.Context) error {
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

// enter begins a phase.
func (l *leader) enter(ctx context.Context, p Phase) error {
	if l.st.Phase == p {
		return nil
	}
	l.account()
	l.st.Phase = p
	return l.save(ctx)
}

// account puts the time until now into the phase.
func (l *leader) account() {
	now := time.Now()
	if l.st.Phase != Submitted {
		*l.st.Spent.of(l.st.Phase) += now.Sub(l.since)
	}
	l.since = now
}

func (l *leader) save(ctx context.Context) error {
	l.account()
	b, err := json.Marshal(l.st)
	if err != nil {
		return err
	}
	if _, err = l.n.PutFile(ctx, l.dir+"/state", b); err == nil {
		l.saved = time.Now()
	}
	return err
}

// decide says how the job ends. From then on nothing else can come of it, whoever
// leads; so what it needed can go.
func (l *leader) decide(ctx context.Context, failed error) error {
	if failed != nil {
		l.st.Error = failed.Error()
	}
	if err := l.enter(ctx, Ending); err != nil {
		return err
	}
	return l.end(ctx)
}

// end cleans up and makes the job final.
func (l *leader) end(ctx context.Context) error {
	l.clean(ctx)
	l.account()
	l.st.Phase, l.st.Ended = Done, time.Now()
	if l.st.Error != "" {
		l.st.Phase = Failed
	}
	if err := unregister(ctx, l.spec); err != nil {
		l.note("initd: %v", err) // who is started by it finds the job ended, and tries again
	}
	b, err := json.Marshal(l.st)
	if err != nil {
		return err
	}
	_, err = l.n.PutFile(ctx, l.dir+"/state", b)
	return err
}

func (l *leader) note(format string, args ...any) {
	if len(l.st.Notes) < 20 {
		l.st.Notes = append(l.st.Notes, fmt.Sprintf(format, args...))
	}
}

// plan cuts the input, once: the file plan says that all maps are submitted.
func (l *leader) plan(ctx context.Context) (err error) {
	o := tasks.Options{Tries: l.spec.Tries}
	_, err = l.n.Stat(ctx, l.dir+"/plan")
	if api.KindOf(err) == api.NotFound {
		if err = l.enter(ctx, Planning); err == nil {
			err = l.newPlan(ctx, o)
		}
	}
	if err != nil {
		return err
	}
	if l.maps == nil {
		if l.maps, err = tasks.Open(ctx, tasks.In(l.n), l.dir+"/maps", o); err != nil {
			return err
		}
	}
	if l.reduces, err = tasks.Open(ctx, tasks.In(l.n), l.dir+"/reduces", o); err != nil {
		return err
	}
	for i := range l.spec.Reducers {
		if err := l.reduces.Submit(ctx, taskID(i), nil); err != nil {
			return err
		}
	}
	l.parallel = l.spec.Parallel
	if l.parallel == 0 {
		nodes, err := l.n.ReadDir(ctx, "/ux", "", 0)
		if err != nil {
			return err
		}
		l.parallel = max(4, 2*len(nodes))
	}
	return nil
}

func taskID(i int) string { return fmt.Sprintf("%05d", i) }

func (l *leader) newPlan(ctx context.Context, o tasks.Options) error {
	if err := l.n.RemoveAll(ctx, l.dir+"/maps"); err != nil { // of a leader that did not finish it
		return err
	}
	splits, err := l.splits(ctx)
	if err != nil {
		if forGood(err) {
			err = &failure{err}
		}
		return err
	}
	if l.maps, err = tasks.Open(ctx, tasks.In(l.n), l.dir+"/maps", o); err != nil {
		return err
	}
	for i, s := range splits {
		b, err := json.Marshal(s)
		if err != nil {
			return err
		}
		if err := l.maps.Submit(ctx, taskID(i), b); err != nil {
			return err
		}
	}
	_, err = l.n.PutFile(ctx, l.dir+"/plan", []byte("planned\n"))
	return err
}

// splits checks what the job was asked to do, and cuts its input.
func (l *leader) splits(ctx context.Context) ([]split, error) {
	app, err := choose(l.apps, l.spec.App)
	if err == nil {
		var job Job
		if job, err = app.New(l.spec.Args); err == nil && (job.Map == nil || job.Reduce == nil) {
			err = api.E(api.Invalid, "mr", app.Name, "it lacks a Map or a Reduce")
		}
	}
	if err != nil {
		return nil, api.E(api.Invalid, "mr", l.spec.App, "%v", err)
	}
	if err := l.takeOutput(ctx); err != nil {
		return nil, err
	}
	files, err := find(ctx, l.s, l.spec.In)
	if err != nil {
		return nil, l.perhaps(ctx, err, l.spec.In...)
	}
	total := int64(0)
	for _, f := range files {
		total += f.size
	}
	l.st.Files, l.st.Bytes = len(files), total
	size := l.spec.SplitBytes
	if size == 0 {
		size = splitSize(total)
	}
	splits, err := cut(ctx, l.s, files, max(size, total/most))
	return splits, l.perhaps(ctx, err, l.spec.In...)
}

// perhaps makes "not found" on a node that is not there a thing that may pass.
func (l *leader) perhaps(ctx context.Context, err error, paths ...string) error {
	if api.KindOf(err) != api.NotFound {
		return err
	}
	return perhapsOf(ctx, l.s, err, paths...)
}

func perhapsOf(ctx context.Context, s space, err error, paths ...string) error {
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p, "/ux/")
		if !ok {
			continue
		}
		node, _, _ := strings.Cut(rest, "/")
		if _, serr := s.Stat(ctx, "/ux/"+node); serr != nil {
			return api.E(api.Unavailable, "mr", p, "node %s does not answer (%v)", node, err)
		}
	}
	return err
}

// takeOutput makes the output directory this job's: it was empty, or is emptied of
// an older job's parts.
func (l *leader) takeOutput(ctx context.Context) error {
	out := l.spec.Out
	if err := l.n.MkdirAll(ctx, out, 0o775); err != nil {
		return l.perhaps(ctx, err, out)
	}
	_, err := l.n.PutFile(ctx, l.spec.claim(), []byte(l.spec.ID), sigma.Exclusive())
	if api.KindOf(err) == api.Exists {
		b, _, gerr := l.n.GetFile(ctx, l.spec.claim())
		if gerr != nil {
			return gerr
		}
		if err = nil; string(b) != l.spec.ID {
			return api.E(api.Exists, "mr", out, "another job writes there; if that is over, remove %s", l.spec.claim())
		}
	}
	if err != nil {
		return err
	}
	list, err := l.n.ReadDir(ctx, out, "", 0)
	if err != nil {
		return err
	}
	for _, i := range list {
		switch name := i.Name(); {
		case strings.HasPrefix(name, ".mr"):
		case l.spec.Overwrite && strings.HasPrefix(name, partPrefix):
			if err := l.n.Remove(ctx, out+"/"+name); err != nil && api.KindOf(err) != api.NotFound {
				return err
			}
		default:
			return api.E(api.Exists, "mr", out, "the output directory has %s in it; name another, or replace an earlier job's with --overwrite", name)
		}
	}
	return l.n.MkdirAll(ctx, l.spec.aside(), 0o775)
}
