package mr

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/job"
	"sigmaos/sigma/tasks"
)

const (
	tick = 200 * time.Millisecond
	// A task has a second attempt when its first takes slowFactor times as long as
	// the others did, and slowLeast more; while none has finished, after slowFirst.
	slowFactor = 3
	slowLeast  = time.Second
	slowFirst  = 30 * time.Second
)

// schedule runs attempts until every bin is reduced.
func (l *leader) schedule(ctx context.Context) error {
	l.took, l.attempts, l.procs = make(map[string][]time.Duration), make(map[*attempt]bool), job.NewAttempts[*attempt](ctx)
	defer l.procs.End()
	t := time.NewTicker(tick)
	defer t.Stop()
	l.count()
	if err := l.enter(ctx); err != nil {
		return err
	}
	for l.reduces.Count(tasks.Done) < l.spec.Reducers {
		if err := l.failed(); err != nil {
			return err
		}
		if err := l.fill(ctx); err != nil {
			return err
		}
		l.count()
		if err := l.enter(ctx); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return api.E(api.Unavailable, "mr", l.spec.Name, "the term has ended")
		case e := <-l.procs.Events:
			l.procs.Took(e)
			if err := l.settle(ctx, e); err != nil {
				return err
			}
		case <-t.C:
		}
	}
	l.count()
	return nil
}

// enter tells how far the job is.
func (l *leader) enter(ctx context.Context) error {
	if l.phase() == Reducing {
		if err := l.t.Enter(ctx, Reducing); err != nil {
			return err
		}
	}
	return l.t.Pass(ctx, l.phase())
}

func (l *leader) phase() job.Phase {
	if l.maps.Count(tasks.Done) < l.st.Maps.Total {
		return Mapping
	}
	return Reducing
}

// failed is the error of a task that has used up its tries.
func (l *leader) failed() error {
	for _, q := range []*tasks.Queue{l.maps, l.reduces} {
		for _, t := range q.Tasks() {
			if t.State == tasks.Failed {
				return &job.Failure{Err: api.E(api.Invalid, "mr", l.spec.Name, "%s (tried %d times)", t.Error, t.Failure)}
			}
			if t.Returns >= job.MaxReturns && t.State != tasks.Done {
				return &job.Failure{Err: api.E(api.Unavailable, "mr", l.spec.Name, "task %s was begun %d times and never came to an end; the last: %s", t.ID, t.Attempt, t.Error)}
			}
		}
	}
	return nil
}

// fill begins attempts while there is room: of tasks that wait, then beside slow
// ones.
func (l *leader) fill(ctx context.Context) error {
	for room := l.room(); room > 0; room = l.room() {
		kind := "map"
		if l.phase() == Reducing {
			kind = "reduce"
		}
		list, err := l.queue(kind).AcquireSome(ctx, room)
		if kind == "map" {
			list = takeTurns(list, func(t tasks.Task) string { return splitOf(t).near() })
		}
		for _, t := range list {
			l.begin(kind, t)
		}
		if err == nil && len(list) == 0 {
			var ok bool
			var t tasks.Task
			if kind, t, ok, err = l.copySlow(ctx); ok {
				l.begin(kind, t)
			} else if err == nil {
				return nil
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// room is how many attempts more may be under way.
func (l *leader) room() int {
	if !l.pause.Over() {
		return 0
	}
	return l.parallel - l.procs.Len()
}

// copySlow gives out the slowest task once more.
func (l *leader) copySlow(ctx context.Context) (kind string, t tasks.Task, ok bool, err error) {
	copies := make(map[string]int)
	for a := range l.attempts {
		copies[a.kind+a.task.ID]++
	}
	var slow *attempt
	for a := range l.attempts {
		if a.began.IsZero() || copies[a.kind+a.task.ID] > 1 || time.Since(a.began) < l.slow(a.kind) {
			continue
		}
		if slow == nil || a.began.Before(slow.began) {
			slow = a
		}
	}
	if slow == nil {
		return "", t, false, nil
	}
	t, ok, err = l.queue(slow.kind).Again(ctx, slow.task.ID)
	if ok {
		l.progress(slow.kind).Copies++
	}
	return slow.kind, t, ok, err
}

// slow is how long an attempt may take until it is one of the slow ones.
func (l *leader) slow(kind string) time.Duration {
	took := l.took[kind]
	if len(took) == 0 {
		return slowFirst
	}
	took = slices.Sorted(slices.Values(took))
	return slowFactor*took[len(took)/2] + slowLeast
}

func (l *leader) queue(kind string) *tasks.Queue {
	if kind == "map" {
		return l.maps
	}
	return l.reduces
}

func (l *leader) progress(kind string) *Progress {
	if kind == "map" {
		return &l.st.Maps
	}
	return &l.st.Reduces
}

// count brings the state's figures up to date.
func (l *leader) count() {
	var starts []time.Duration
	for kind, sum := range map[string]*Stats{"map": &l.st.MapStats, "reduce": &l.st.ReduceStats} {
		p := l.progress(kind)
		*p = Progress{Copies: p.Copies}
		*sum = Stats{}
		for _, t := range l.queue(kind).Tasks() {
			p.Total++
			p.Attempts += t.Attempt
			p.Failures += t.Failure
			p.Returned += t.Returns
			switch t.State {
			case tasks.Running:
				p.Running++
			case tasks.Done:
				p.Done++
				var r result
				if json.Unmarshal(t.Result, &r) == nil {
					sum.add(r.Stats)
					starts = append(starts, r.Stats.Start)
				}
			}
		}
	}
	if n := len(starts); n > 0 {
		slices.Sort(starts)
		l.st.StartP50, l.st.StartP90 = starts[n/2], starts[n*9/10]
	}
}
