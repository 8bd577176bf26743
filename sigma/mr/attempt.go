package mr

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/job"
	"sigmaos/sigma/tasks"
)

// nodeAway is how long until a node that cannot be reached counts as lost.
const nodeAway = 8 * time.Second

// attempt is one proc for one task.
type attempt struct {
	kind  string
	task  tasks.Task
	stop  context.CancelFunc
	began time.Time      // when it said Started
	used  map[string]int // reduce: the attempts of maps whose files it was given
}

// begin starts a proc for a task.
func (l *leader) begin(kind string, t tasks.Task) {
	a := &attempt{kind: kind, task: t}
	l.attempts[a] = true
	a.stop = l.procs.Begin(a, l.desc(a), l.spec.TaskLimit)
}

// oneThread keeps an attempt's Go code to one thread at a time: it is the jobs that
// run side by side.
const oneThread = "GOMAXPROCS=1"

// desc is the proc of an attempt.
func (l *leader) desc(a *attempt) *sigma.Desc {
	w := work{
		Role: a.kind, Job: l.dir, App: l.spec.App, Args: l.spec.Args, Task: a.task.ID, Attempt: a.task.Attempt, Bins: l.spec.Reducers,
		Mid: l.spec.mid(), Memory: l.spec.Memory, Limit: l.spec.TaskLimit, Spawned: time.Now().UnixNano(),
	}
	var near string
	if a.kind == "map" {
		w.Split = splitOf(a.task)
		near = w.Split.near()
	} else {
		fmt.Sscanf(a.task.ID, "%d", &w.Bin)
		w.Out = l.spec.aside()
		a.used = make(map[string]int)
		w.Dirs, w.Runs = l.runs(a.used)
		near = mostRuns(w.Dirs, w.Runs)
	}
	d := &sigma.Desc{Program: l.spec.Program, Name: "mr-" + a.kind, Memory: l.spec.Memory, Env: append(w.env(), oneThread)}
	if near != "" {
		d.Near = []string{near}
	}
	return d
}

// splitOf is what a map task reads.
func splitOf(t tasks.Task) (s split) {
	json.Unmarshal(t.Payload, &s)
	return s
}

// runs lists what the finished maps have made.
func (l *leader) runs(used map[string]int) (dirs []string, out []mapRuns) {
	place := make(map[string]int)
	for _, t := range l.maps.Tasks() {
		var r result
		if t.State != tasks.Done || json.Unmarshal(t.Result, &r) != nil || len(r.Runs) == 0 {
			continue
		}
		d, ok := place[r.Dir]
		if !ok {
			d = len(dirs)
			place[r.Dir] = d
			dirs = append(dirs, r.Dir)
		}
		used[t.ID] = t.Winner
		out = append(out, mapRuns{Task: t.ID, Dir: d, Attempt: t.Winner, Sizes: r.Runs})
	}
	return dirs, out
}

// settle takes the news of an attempt.
func (l *leader) settle(ctx context.Context, e job.Event[*attempt]) error {
	a, o := e.Of, e.Outcome
	if e.Began {
		a.began = time.Now()
		return nil
	}
	delete(l.attempts, a)
	q := l.queue(a.kind)
	var r result
	json.Unmarshal(o.Status.Data, &r)
	switch {
	case o.Late:
		return q.Failed(ctx, a.task.ID, a.task.Attempt, l.told(a, o, fmt.Sprintf("it took longer than the limit of %v for one attempt", l.spec.TaskLimit)))
	case o.Err != nil && a.task.State == tasks.Done: // a copy was faster
		return nil
	case o.Refused():
		return &job.Failure{Err: o.Err}
	case o.Err != nil:
		return l.back(ctx, a)
	case o.Status.OK():
		return l.done(ctx, a, o)
	case r.Lost != "":
		return l.lost(ctx, a, r.Lost)
	case r.Retry, o.NoVerdict(), o.Status.State == api.Killed, o.Status.State == api.Signal && o.Status.Signal == 9:
		return l.back(ctx, a)
	}
	return q.Failed(ctx, a.task.ID, a.task.Attempt, l.told(a, o, o.Status.String()))
}

// told says which task a failure is of.
func (l *leader) told(a *attempt, o job.Outcome, what string) string {
	where := ""
	if a.kind == "map" {
		if s := splitOf(a.task); len(s) > 0 {
			where = fmt.Sprintf(" (%s %d–%d", s[0].File, s[0].Start, s[0].End)
			if len(s) > 1 {
				where += fmt.Sprintf(" and %d files more", len(s)-1)
			}
			where += ")"
		}
	}
	return fmt.Sprintf("%s %s%s, proc %s: %s", a.kind, a.task.ID, where, o.Proc.Short(), what)
}

// back lets a task wait again, and the next attempt a moment.
func (l *leader) back(ctx context.Context, a *attempt) error {
	l.pause.More()
	return l.queue(a.kind).Back(ctx, a.task.ID, a.task.Attempt)
}

// done commits a result; other attempts of the task are ended.
func (l *leader) done(ctx context.Context, a *attempt, o job.Outcome) error {
	if _, err := l.queue(a.kind).Done(ctx, a.task.ID, a.task.Attempt, o.Status.Data); err != nil {
		return err
	}
	l.pause.Reset()
	l.t.Progress()
	if !a.began.IsZero() {
		l.took[a.kind] = append(l.took[a.kind], time.Since(a.began))
	}
	for b := range l.attempts {
		if b.kind == a.kind && b.task.ID == a.task.ID {
			b.task.State = tasks.Done
			b.stop()
		}
	}
	return nil
}

// lost has a map done again whose files a reducer could not read, unless they are
// there after all; and with it all others whose files were in a place that cannot be
// reached.
func (l *leader) lost(ctx context.Context, a *attempt, id string) error {
	for _, t := range l.maps.Tasks() {
		if t.ID != id || t.State != tasks.Done || t.Winner != a.used[id] {
			continue
		}
		redo := []tasks.Task{t}
		if dir := placeOf(t); !l.reached(ctx, dir) {
			if redo = nil; l.awayFor(dir) > nodeAway {
				redo = l.madeIn(dir)
			}
		} else if l.present(ctx, t) {
			redo = nil
		}
		for _, t := range redo {
			done, err := l.maps.Redo(ctx, t.ID, t.Winner)
			if err != nil {
				return err
			}
			if done {
				l.st.Redone++
			}
		}
	}
	return l.back(ctx, a)
}

// placeOf is the directory that a finished map's files are in.
func placeOf(t tasks.Task) string {
	var r result
	json.Unmarshal(t.Result, &r)
	return r.Dir
}

func (l *leader) reached(ctx context.Context, dir string) bool {
	_, err := l.s.Stat(ctx, dir)
	if err == nil {
		delete(l.away, dir)
	}
	return err == nil
}

// awayFor is how long a directory has been out of reach, as far as this leader has
// seen.
func (l *leader) awayFor(dir string) time.Duration {
	if l.away == nil {
		l.away = make(map[string]time.Time)
	}
	if _, ok := l.away[dir]; !ok {
		l.away[dir] = time.Now()
	}
	return time.Since(l.away[dir])
}

// madeIn are the finished maps whose files are in a directory.
func (l *leader) madeIn(dir string) (out []tasks.Task) {
	for _, t := range l.maps.Tasks() {
		if t.State == tasks.Done && placeOf(t) == dir {
			out = append(out, t)
		}
	}
	return out
}

// present reports whether all files of a finished map can be seen, and are whole
// as far as their size tells; twice damaged is taken for gone.
func (l *leader) present(ctx context.Context, t tasks.Task) bool {
	if l.doubted == nil {
		l.doubted = make(map[string]bool)
	}
	key := fmt.Sprint(t.ID, ".", t.Winner)
	if l.doubted[key] {
		return false
	}
	l.doubted[key] = true
	var r result
	json.Unmarshal(t.Result, &r)
	for i, size := range r.Runs {
		e, err := l.s.Stat(ctx, path.Join(r.Dir, runName(t.ID, t.Winner, i)))
		if err != nil || e.size != size {
			return false
		}
	}
	return true
}
