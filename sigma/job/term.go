package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/tasks"
)

// Work is what a kind's leader does, in one term.
type Work interface {
	// Do does what is left of the job. ctx ends with the term.
	Do(ctx context.Context) error

	// Update brings the state up to date; it is called before each time that the
	// state is written.
	Update()

	// Conclude writes what must be kept of things that Clean removes. It is called
	// once Do has ended the job.
	Conclude(ctx context.Context) error

	// Clean removes what the job leaves beside its output and its state. A leader
	// before may have begun with that. What cannot be removed is noted.
	Clean(ctx context.Context)
}

// Failure is an error that ends the job for good.
type Failure struct{ Err error }

func (f *Failure) Error() string { return f.Err.Error() }
func (f *Failure) Unwrap() error { return f.Err }

const (
	saveEvery = 300 * time.Millisecond
	saveShare = 20 // of the time goes into saving, at most one part in so many
	patience  = 10 // errors of a kind that should pass, until the job has failed
	maxNotes  = 20
)

// Term is the time for which one coordinator leads.
type Term struct {
	*sigma.Names // fenced
	Dir          string
	Spec         *Spec
	State        *State

	kind       string
	state      any // with State in it
	work       Work
	unregister func(context.Context) error
	standbys   func(context.Context)
	errs       *int
	saved      time.Time
	cost       time.Duration // of saving
}

// lead does what is left of the job. An error leaves it to the next leader.
func (t *Term) lead(ctx context.Context) error {
	if t.State.Phase.Final() {
		return nil
	}
	t.State.Terms++
	if t.State.Started.IsZero() {
		t.State.Started = time.Now()
	}
	if t.State.Phase == Ending { // the leader before has decided
		return t.end(ctx)
	}
	err := t.do(ctx)
	var f *Failure
	switch {
	case err == nil:
		return t.decide(ctx, nil)
	case errors.As(err, &f):
		return t.decide(ctx, f.Err)
	case ctx.Err() != nil:
		return err
	}
	if api.KindOf(err) != api.Conflict { // of a fence: another leads
		if *t.errs++; *t.errs >= patience {
			return t.decide(ctx, err)
		}
	}
	return err
}

// do runs Do with standbys beside it.
func (t *Term) do(ctx context.Context) error {
	sctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() { t.standbys(sctx) })
	defer wg.Wait()
	defer stop()
	return t.work.Do(ctx)
}

// decide says how the job ends. From then on nothing else can come of it, whoever
// leads; so what it needed can go.
func (t *Term) decide(ctx context.Context, failed error) error {
	if err := t.work.Conclude(ctx); err != nil {
		return err
	}
	if failed != nil {
		t.State.Error = failed.Error()
	}
	if err := t.Enter(ctx, Ending); err != nil {
		return err
	}
	return t.end(ctx)
}

// end cleans up and makes the job final.
func (t *Term) end(ctx context.Context) error {
	t.clean(ctx)
	if err := t.unregister(ctx); err != nil {
		t.Note("initd: %v", err) // it is tried again, at the latest by who is started by it
	}
	phase := Done
	if t.State.Error != "" {
		phase = Failed
	}
	t.State.Ended = time.Now()
	return t.Enter(ctx, phase)
}

// clean removes what is left over, all of it at the same time.
func (t *Term) clean(ctx context.Context) {
	var free, plan error
	steps := []func(){
		func() { t.work.Clean(ctx) },
		func() { free = freeOutput(ctx, t.Names, t.kind, t.Spec) },
		func() { plan = t.RemoveAll(ctx, t.Dir+planFile) },
	}
	Each(len(steps), func(i int) error { steps[i](); return nil })
	if free != nil {
		t.Note("%s is not given back: %v", t.Spec.Out, free)
	}
	if plan != nil {
		t.Note("%v", plan)
	}
}

// Enter begins a phase, and writes that down.
func (t *Term) Enter(ctx context.Context, p Phase) error {
	if t.State.Phase == p {
		return nil
	}
	t.begin(p)
	return t.save(ctx)
}

// Pass begins a phase that may be a short one and that a leader who takes over finds
// out for itself: it is written down with the next Save.
func (t *Term) Pass(ctx context.Context, p Phase) error {
	if t.State.Phase != p {
		t.begin(p)
	}
	return t.Save(ctx)
}

func (t *Term) begin(p Phase) {
	t.work.Update() // what was until now is of the phase before
	t.State.Phase = p
}

// Save writes the state when it was not written for a while.
func (t *Term) Save(ctx context.Context) error {
	if time.Since(t.saved) < max(saveEvery, saveShare*t.cost) {
		return nil
	}
	return t.save(ctx)
}

func (t *Term) save(ctx context.Context) error {
	begin := time.Now()
	t.work.Update()
	b, err := json.Marshal(t.state)
	if err != nil {
		return err
	}
	if _, err = t.PutFile(ctx, t.Dir+"/state", b); err == nil {
		t.saved = time.Now()
		t.cost = t.saved.Sub(begin)
	}
	return err
}

// Progress says that something was done: errors before it count no more.
func (t *Term) Progress() { *t.errs = 0 }

// Note adds a note to the state.
func (t *Term) Note(format string, args ...any) {
	if len(t.State.Notes) < maxNotes {
		t.State.Notes = append(t.State.Notes, fmt.Sprintf(format, args...))
	}
}

const planFile = "/plan"

// Plan opens the job's queue of a name. The first leader fills it, with a task for
// each payload that plan returns: the file plan says that all are submitted. atOnce is
// as for Submit.
func (t *Term) Plan(ctx context.Context, name string, atOnce int, plan func(context.Context) ([]any, error)) (*tasks.Queue, error) {
	_, err := t.Stat(ctx, t.Dir+planFile)
	if err == nil {
		return t.Queue(ctx, name)
	}
	if api.KindOf(err) != api.NotFound {
		return nil, err
	}
	if err := t.Enter(ctx, Planning); err != nil {
		return nil, err
	}
	var list []any
	var q *tasks.Queue
	err = Each(2, func(i int) (err error) {
		if i == 0 {
			list, err = plan(ctx)
		} else {
			q, err = t.emptyQueue(ctx, name)
		}
		return err
	})
	if err == nil {
		err = Submit(ctx, q, atOnce, list...)
	}
	if err == nil {
		_, err = t.PutFile(ctx, t.Dir+planFile, []byte("planned\n"))
	}
	return q, err
}

// emptyQueue makes a queue in the place of what a leader left that did not fill it.
func (t *Term) emptyQueue(ctx context.Context, name string) (*tasks.Queue, error) {
	if err := t.RemoveAll(ctx, t.Dir+"/"+name); err != nil && api.KindOf(err) != api.NotFound {
		return nil, err
	}
	return t.Queue(ctx, name)
}

// Queue takes over one of the job's queues.
func (t *Term) Queue(ctx context.Context, name string) (*tasks.Queue, error) {
	return tasks.Open(ctx, tasks.In(t.Names), t.Dir+"/"+name, tasks.Options{Tries: t.Spec.Tries})
}

// Submit adds a task for each payload. The first atOnce will be given out at once.
func Submit(ctx context.Context, q *tasks.Queue, atOnce int, payloads ...any) error {
	list := make([]tasks.New, len(payloads))
	for i, p := range payloads {
		b, err := json.Marshal(p)
		if err != nil {
			return err
		}
		list[i] = tasks.New{ID: TaskID(i), Payload: b, Begun: i < atOnce}
	}
	return q.SubmitAll(ctx, list)
}

// TaskID is the id of the i-th task.
func TaskID(i int) string { return fmt.Sprintf("%05d", i) }

// Parallel is how many procs can compute at a time, and how many attempts there are
// at a time: what the spec says, or twice as many, so that the next has been asked for
// when one ends or waits.
func Parallel(ctx context.Context, asked int) (cores, attempts int, err error) {
	if asked > 0 {
		return asked, asked, nil
	}
	cores, err = sigma.Self().Cores(ctx)
	return max(1, cores), max(4, 2*cores), err
}
