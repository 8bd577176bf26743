package img

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
	"sigmaos/sigma/tasks"
)

const tick = 200 * time.Millisecond

// leader is the coordinator that leads, for one term.
type leader struct {
	t    *job.Term
	spec *Spec
	st   *State

	q        *tasks.Queue
	parallel int
	procs    *job.Attempts[tasks.Task]
	pause    job.Backoff
}

func newLeader(t *job.Term, s *Summary) job.Work {
	return &leader{t: t, spec: &s.Spec, st: &s.State}
}

// Do runs attempts until every image has its result.
func (l *leader) Do(ctx context.Context) error {
	if err := l.plan(ctx); err != nil {
		return err
	}
	l.procs = job.NewAttempts[tasks.Task](ctx)
	defer l.procs.End()
	t := time.NewTicker(tick)
	defer t.Stop()
	l.st.Phase = Scaling
	for total := len(l.q.Tasks()); l.q.Count(tasks.Done)+l.q.Count(tasks.Failed) < total; {
		if err := l.fill(ctx); err != nil {
			return err
		}
		if err := l.t.Save(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return api.E(api.Unavailable, "img", l.spec.Name, "the term has ended")
		case e := <-l.procs.Events:
			l.procs.Took(e)
			if e.Began {
				continue
			}
			if err := l.settle(ctx, e.Of, e.Outcome); err != nil {
				return err
			}
		case <-t.C:
		}
	}
	return nil
}

// fill begins attempts while there is room.
func (l *leader) fill(ctx context.Context) error {
	for l.procs.Len() < l.parallel && l.pause.Over() {
		t, ok, err := l.q.Acquire(ctx)
		if err != nil || !ok {
			return err
		}
		var im image
		if err := json.Unmarshal(t.Payload, &im); err != nil {
			return err
		}
		d := workerDesc(l.spec.Program, work{Job: l.t.Dir, Options: l.spec.Options, Attempt: t.Attempt, Limit: l.spec.TaskLimit,
			In: path.Join(l.spec.In, im.Name), Out: path.Join(l.spec.Out, im.Name), Taken: im.Taken})
		l.procs.Begin(t, d, l.spec.TaskLimit)
	}
	return nil
}

// settle takes an attempt's end.
func (l *leader) settle(ctx context.Context, t tasks.Task, o job.Outcome) error {
	v, r, failure := judge(o, l.spec.TaskLimit)
	switch v {
	case hopeless:
		return &job.Failure{Err: failure}
	case made, refused:
		b, err := json.Marshal(r)
		if err != nil {
			return err
		}
		l.pause.Reset()
		l.t.Progress()
		_, err = l.q.Done(ctx, t.ID, t.Attempt, b)
		return err
	case back:
		l.pause.More()
		if t.Returns < job.MaxReturns {
			return l.q.Back(ctx, t.ID, t.Attempt)
		}
	}
	return l.q.Failed(ctx, t.ID, t.Attempt, failure.Error())
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

// Update counts the tasks, as long as there is a queue.
func (l *leader) Update() {
	if l.q == nil {
		return
	}
	l.st.count(l.results())
	l.st.Total, l.st.Running, l.st.Attempts, l.st.Failures, l.st.Returned = 0, 0, 0, 0, 0
	for _, t := range l.q.Tasks() {
		l.st.Total++
		l.st.Attempts += t.Attempt
		l.st.Failures += t.Failure
		l.st.Returned += t.Returns
		if t.State == tasks.Running {
			l.st.Running++
		}
	}
}

// Conclude writes every image's result.
func (l *leader) Conclude(ctx context.Context) error {
	if l.q == nil {
		return nil
	}
	all := l.results()
	l.st.Parts = (len(all) + perPart - 1) / perPart
	for i := range l.st.Parts {
		b, err := json.Marshal(all[i*perPart : min((i+1)*perPart, len(all))])
		if err != nil {
			return err
		}
		if _, err := l.t.PutFile(ctx, partOf(l.t.Dir, i), b); err != nil {
			return err
		}
	}
	return nil
}

// Clean removes the queue.
func (l *leader) Clean(ctx context.Context) {
	if err := l.t.RemoveAll(ctx, l.t.Dir+"/tasks"); err != nil && api.KindOf(err) != api.NotFound {
		l.t.Note("%v", err)
	}
}

func partOf(dir string, i int) string { return fmt.Sprintf("%s/images-%03d", dir, i) }
