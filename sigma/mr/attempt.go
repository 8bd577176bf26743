package mr

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/tasks"
)

const (
	spawnTime = 30 * time.Second // for a Spawn to be taken
	startTime = time.Hour        // in the queue
	killTime  = 2 * time.Second
	nodeAway  = 8 * time.Second // until a node that cannot be reached counts as lost
	limitMore = 5 * time.Second // beyond the limit, for a proc that does not end itself
)

// attempt is one proc for one task.
type attempt struct {
	kind   string
	task   tasks.Task
	cancel context.CancelFunc
	began  time.Time // when it said Started
	proc   sigma.ProcID
	used   map[string]int // reduce: the attempts of maps whose files it was given
}

// outcome is news of an attempt: that it began, or how it ended.
type outcome struct {
	a     *attempt
	began bool
	proc  sigma.ProcID
	st    sigma.Status
	late  bool // it was ended because of the time limit
	err   error
}

// begin starts a goroutine that starts a proc and waits for it. It ends with ctx,
// and the proc with it.
func (l *leader) begin(ctx context.Context, kind string, t tasks.Task) {
	a := &attempt{kind: kind, task: t}
	d := l.desc(a)
	var actx context.Context
	actx, a.cancel = context.WithCancel(ctx)
	l.attempts[a] = true
	out, limit := l.outcomes, l.spec.TaskLimit
	go func() {
		o := run(actx, d, limit, func(id sigma.ProcID) { out <- outcome{a: a, began: true, proc: id} })
		o.a = a
		out <- o
	}()
}

// run starts a proc and waits for its end.
func run(ctx context.Context, d *sigma.Desc, limit time.Duration, started func(sigma.ProcID)) (o outcome) {
	sctx, cancel := context.WithTimeout(ctx, spawnTime)
	o.proc, o.err = sigma.Spawn(sctx, d)
	cancel()
	if o.err != nil {
		return o
	}
	wctx, cancel := context.WithTimeout(ctx, startTime)
	err := sigma.WaitStart(wctx, o.proc)
	cancel()
	if err == nil {
		started(o.proc)
	}
	wctx, cancel = context.WithTimeout(ctx, limit+limitMore)
	defer cancel()
	if _, ended := err.(*sigma.ExitError); err == nil || ended {
		o.st, err = sigma.WaitExit(wctx, o.proc)
	}
	if err != nil {
		o.err, o.late = err, ctx.Err() == nil && wctx.Err() != nil
		kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
		defer cancel()
		sigma.Kill(kctx, o.proc, 0)
	}
	return o
}

// endAttempts ends those under way, and waits a while for that.
func (l *leader) endAttempts(cancel func()) {
	cancel()
	end := time.After(windUp)
	for len(l.attempts) > 0 {
		select {
		case o := <-l.outcomes:
			if !o.began {
				delete(l.attempts, o.a)
			}
		case <-end:
			out, left := l.outcomes, len(l.attempts) // whoever is late finds somebody who listens
			go func() {
				for left > 0 {
					if o := <-out; !o.began {
						left--
					}
				}
			}()
			l.attempts = make(map[*attempt]bool)
		}
	}
}

// desc is the proc of an attempt.
func (l *leader) desc(a *attempt) *sigma.Desc {
	w := work{
		Role: a.kind, Job: l.dir, App: l.spec.App, Args: l.spec.Args, Task: a.task.ID, Attempt: a.task.Attempt, Bins: l.spec.Reducers,
		Mid: l.spec.mid(), Memory: l.spec.Memory, Limit: l.spec.TaskLimit, Spawned: time.Now().UnixNano(),
	}
	if a.kind == "map" {
		json.Unmarshal(a.task.Payload, &w.Split)
	} else {
		fmt.Sscanf(a.task.ID, "%d", &w.Bin)
		w.Out = l.spec.aside()
		a.used = make(map[string]int)
		w.Dirs, w.Runs = l.runs(a.used)
	}
	b, _ := json.Marshal(w)
	return &sigma.Desc{Program: l.spec.Program, Name: "mr-" + a.kind, Memory: l.spec.Memory, Env: []string{workVar + "=" + string(b)}}
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
func (l *leader) settle(ctx context.Context, o outcome) error {
	a := o.a
	if o.began {
		a.began, a.proc = time.Now(), o.proc
		return nil
	}
	delete(l.attempts, a)
	a.cancel()
	q := l.queue(a.kind)
	var r result
	json.Unmarshal(o.st.Data, &r)
	switch {
	case o.late:
		return q.Failed(ctx, a.task.ID, a.task.Attempt, l.told(a, o, fmt.Sprintf("it took longer than the limit of %v for one attempt", l.spec.TaskLimit)))
	case o.err != nil && a.task.State == tasks.Done: // a copy was faster
		return nil
	case o.err != nil && forGood(o.err) && o.proc == "":
		return &failure{o.err}
	case o.err != nil:
		return l.back(ctx, a)
	case o.st.OK():
		return l.done(ctx, a, o)
	case r.Lost != "":
		return l.lost(ctx, a, r.Lost)
	case r.Retry, o.st.State == api.Exited && o.st.Code == exitOver, o.st.State == api.Signal && o.st.Signal == 9:
		return l.back(ctx, a)
	case o.st.State == api.Exited, o.st.State == api.OOM, o.st.State == api.Signal:
		return q.Failed(ctx, a.task.ID, a.task.Attempt, l.told(a, o, o.st.String()))
	}
	return l.back(ctx, a) // lost, evicted, killed, refused
}

// told says which task a failure is of.
func (l *leader) told(a *attempt, o outcome, what string) string {
	where := ""
	if a.kind == "map" {
		var s split
		json.Unmarshal(a.task.Payload, &s)
		if len(s) > 0 {
			where = fmt.Sprintf(" (%s %d–%d", s[0].File, s[0].Start, s[0].End)
			if len(s) > 1 {
				where += fmt.Sprintf(" and %d files more", len(s)-1)
			}
			where += ")"
		}
	}
	return fmt.Sprintf("%s %s%s, proc %s: %s", a.kind, a.task.ID, where, o.proc.Short(), what)
}

// back lets a task wait again, and the next attempt a moment.
func (l *leader) back(ctx context.Context, a *attempt) error {
	l.pause = time.Now().Add(min(pauseLeast<<min(l.pauses, 10), pauseMost))
	l.pauses++
	return l.queue(a.kind).Back(ctx, a.task.ID, a.task.Attempt)
}

// done commits a result; other attempts of the task are ended.
func (l *leader) done(ctx context.Context, a *attempt, o outcome) error {
	if _, err := l.queue(a.kind).Done(ctx, a.task.ID, a.task.Attempt, o.st.Data); err != nil {
		return err
	}
	l.pauses, l.errs = 0, 0
	if !a.began.IsZero() {
		l.took[a.kind] = append(l.took[a.kind], time.Since(a.began))
	}
	for b := range l.attempts {
		if b.kind == a.kind && b.task.ID == a.task.ID {
			b.task.State = tasks.Done
			b.cancel()
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
