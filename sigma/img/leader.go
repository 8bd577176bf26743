package img

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/tasks"
)

const (
	tick      = 200 * time.Millisecond
	saveEvery = 300 * time.Millisecond
	saveShare = 20 // of the time goes into saving, at most one part in so many
	// An attempt that came back delays the next by pauseLeast, doubled up to
	// pauseMost. An image that came back maxReturns times fails with each more.
	pauseLeast = 50 * time.Millisecond
	pauseMost  = time.Second
	maxReturns = 200
	windUp     = 3 * time.Second // for attempts to be ended
)

// leader is the coordinator that leads, for one term. All that it writes is behind
// the term's fence where the server knows fences.
type leader struct {
	*coordinator
	n    *sigma.Names // fenced
	spec *Spec

	st       State
	saved    time.Time     // of st
	cost     time.Duration // of saving
	q        *tasks.Queue
	parallel int

	running  int
	outcomes chan outcome
	pause    time.Time // no attempt begins before
	pauses   int       // attempts in a row that came back
}

// outcome is the end of an attempt.
type outcome struct {
	task tasks.Task
	attempt
}

// failure ends the job for good.
type failure struct{ err error }

func (f *failure) Error() string { return f.err.Error() }
func (f *failure) Unwrap() error { return f.err }

// run does what is left of the job. An error leaves it to the next leader.
func (l *leader) run(ctx context.Context) error {
	_, st, err := load(ctx, l.n, l.dir)
	if err != nil || st.Phase.Final() {
		return err
	}
	l.st = *st
	l.st.Terms++
	if l.st.Started.IsZero() {
		l.st.Started = time.Now()
	}
	if err = l.plan(ctx); err == nil {
		err = l.schedule(ctx)
	}
	var f *failure
	switch {
	case err == nil:
		return l.finish(ctx, nil)
	case errors.As(err, &f):
		return l.finish(ctx, f.err)
	case ctx.Err() != nil:
		return err
	}
	if api.KindOf(err) != api.Conflict { // of a fence: another leads
		if l.errs++; l.errs >= patience {
			return l.finish(ctx, err)
		}
	}
	return err
}

// schedule runs attempts until every image has its result.
func (l *leader) schedule(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	l.outcomes = make(chan outcome, 64)
	defer l.endAttempts(cancel)
	t := time.NewTicker(tick)
	defer t.Stop()
	l.st.Phase = Scaling
	for total := len(l.q.Tasks()); l.q.Count(tasks.Done)+l.q.Count(tasks.Failed) < total; {
		if err := l.fill(ctx); err != nil {
			return err
		}
		if time.Since(l.saved) > max(saveEvery, saveShare*l.cost) {
			if err := l.save(ctx); err != nil {
				return err
			}
		}
		select {
		case <-ctx.Done():
			return api.E(api.Unavailable, "img", l.spec.Name, "the term has ended")
		case o := <-l.outcomes:
			l.running--
			if err := l.settle(ctx, o); err != nil {
				return err
			}
		case <-t.C:
		}
	}
	return nil
}

// fill begins attempts while there is room.
func (l *leader) fill(ctx context.Context) error {
	for l.running < l.parallel && time.Now().After(l.pause) {
		t, ok, err := l.q.Acquire(ctx)
		if err != nil || !ok {
			return err
		}
		var im image
		if err := json.Unmarshal(t.Payload, &im); err != nil {
			return err
		}
		d := workerDesc(l.spec.Program, work{Job: l.dir, Options: l.spec.Options, Attempt: t.Attempt, Limit: l.spec.TaskLimit,
			In: path.Join(l.spec.In, im.Name), Out: path.Join(l.spec.Out, im.Name), Taken: im.Taken})
		l.running++
		out, limit := l.outcomes, l.spec.TaskLimit
		go func() { out <- outcome{t, try(ctx, d, limit)} }()
	}
	return nil
}

// endAttempts ends those under way, and waits a while for that.
func (l *leader) endAttempts(cancel func()) {
	cancel()
	end := time.After(windUp)
	for ; l.running > 0; l.running-- {
		select {
		case <-l.outcomes:
		case <-end:
			out, left := l.outcomes, l.running // whoever is late finds somebody who listens
			go func() {
				for range left {
					<-out
				}
			}()
			l.running = 0
			return
		}
	}
}

// settle takes an attempt's end.
func (l *leader) settle(ctx context.Context, o outcome) error {
	id, n := o.task.ID, o.task.Attempt
	switch o.verdict {
	case hopeless:
		return &failure{o.err}
	case made, refused:
		b, err := json.Marshal(o.report)
		if err != nil {
			return err
		}
		l.pauses, l.errs = 0, 0
		_, err = l.q.Done(ctx, id, n, b)
		return err
	case back:
		l.pause = time.Now().Add(min(pauseLeast<<min(l.pauses, 10), pauseMost))
		l.pauses++
		if o.task.Returns < maxReturns {
			return l.q.Back(ctx, id, n)
		}
	}
	return l.q.Failed(ctx, id, n, o.err.Error())
}

// results are those of the images that have one, in the order of their names.
func (l *leader) results() (out []Result) {
	for _, t := range l.q.Tasks() {
		var im image
		var r report
		json.Unmarshal(t.Payload, &im)
		switch t.State {
		case tasks.Done:
			json.Unmarshal(t.Result, &r)
			r.Attempts = t.Winner
		case tasks.Failed:
			r.Error, r.Attempts = fmt.Sprintf("%s (tried %d times)", t.Error, t.Failure), t.Attempt
		default:
			continue
		}
		r.Name = im.Name
		out = append(out, r.Result)
	}
	return out
}

// save writes down how far the job is.
func (l *leader) save(ctx context.Context) error {
	begin := time.Now()
	if l.q != nil {
		l.st.count(l.results())
		l.st.Total, l.st.Running, l.st.Attempts, l.st.Failures, l.st.Returned = 0, l.running, 0, 0, 0
		for _, t := range l.q.Tasks() {
			l.st.Total++
			l.st.Attempts += t.Attempt
			l.st.Failures += t.Failure
			l.st.Returned += t.Returns
		}
	}
	b, err := json.Marshal(l.st)
	if err != nil {
		return err
	}
	if _, err = l.n.PutFile(ctx, l.dir+"/state", b); err == nil {
		l.saved = time.Now()
		l.cost = l.saved.Sub(begin)
	}
	return err
}

// finish writes every image's result, and then makes the job final.
func (l *leader) finish(ctx context.Context, failed error) error {
	if l.q != nil {
		all := l.results()
		l.st.Parts = (len(all) + perPart - 1) / perPart
		for i := range l.st.Parts {
			b, err := json.Marshal(all[i*perPart : min((i+1)*perPart, len(all))])
			if err != nil {
				return err
			}
			if _, err := l.n.PutFile(ctx, partOf(l.dir, i), b); err != nil {
				return err
			}
		}
	}
	if err := l.freeOutput(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	l.st.Phase, l.st.Ended = Done, time.Now()
	if failed != nil {
		l.st.Phase, l.st.Error = Failed, failed.Error()
	}
	return l.save(ctx)
}

func taskID(i int) string             { return fmt.Sprintf("%06d", i) }
func partOf(dir string, i int) string { return fmt.Sprintf("%s/images-%03d", dir, i) }
