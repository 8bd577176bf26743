package job

import (
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	spawnTime = 30 * time.Second // for a Spawn to be taken
	startTime = time.Hour        // in the queue
	killTime  = 2 * time.Second
	limitMore = 5 * time.Second // beyond the limit, for a proc that does not end itself
	windUp    = 3 * time.Second // for attempts to be ended
	// An attempt that came back delays the next by pauseLeast, doubled up to
	// pauseMost. MaxReturns times are too many.
	pauseLeast = 50 * time.Millisecond
	pauseMost  = time.Second
	MaxReturns = 200
)

// Outcome is how a proc ended.
type Outcome struct {
	Proc   sigma.ProcID
	Status sigma.Status
	Late   bool  // it was ended because of the time limit
	Err    error // there is no Status
}

// Run starts a proc and waits for its end; started, if it is not nil, is called in
// between. When ctx ends, so does the proc.
func Run(ctx context.Context, d *sigma.Desc, limit time.Duration, started func(sigma.ProcID)) (o Outcome) {
	sctx, cancel := context.WithTimeout(ctx, spawnTime)
	o.Proc, o.Err = sigma.Spawn(sctx, d)
	cancel()
	if o.Err != nil {
		return o
	}
	wctx, cancel := context.WithTimeout(ctx, startTime)
	err := sigma.WaitStart(wctx, o.Proc)
	cancel()
	if err == nil && started != nil {
		started(o.Proc)
	}
	wctx, cancel = context.WithTimeout(ctx, limit+limitMore)
	defer cancel()
	if _, ended := err.(*sigma.ExitError); err == nil || ended {
		o.Status, err = sigma.WaitExit(wctx, o.Proc)
	}
	if err != nil {
		o.Err, o.Late = err, ctx.Err() == nil && wctx.Err() != nil
		end(ctx, o.Proc)
	}
	return o
}

// end kills a proc that nobody waits for any more.
func end(ctx context.Context, id sigma.ProcID) {
	kctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), killTime)
	defer cancel()
	sigma.Kill(kctx, id, 0)
}

// Event is news of an attempt: that it began, or how it ended.
type Event[A any] struct {
	Of    A
	Began bool
	Outcome
}

// Attempts are procs under way, of one who reads Events until none is left.
type Attempts[A any] struct {
	Events chan Event[A]
	ctx    context.Context
	cancel context.CancelFunc
	n      int
}

// NewAttempts makes room for them. They end with ctx.
func NewAttempts[A any](ctx context.Context) *Attempts[A] {
	a := &Attempts[A]{Events: make(chan Event[A], 64)}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// Begin starts a proc and has its news sent to Events; stop ends it.
func (a *Attempts[A]) Begin(of A, d *sigma.Desc, limit time.Duration) (stop context.CancelFunc) {
	ctx, stop := context.WithCancel(a.ctx)
	a.n++
	go func() {
		defer stop()
		o := Run(ctx, d, limit, func(id sigma.ProcID) { a.Events <- Event[A]{Of: of, Began: true, Outcome: Outcome{Proc: id}} })
		a.Events <- Event[A]{Of: of, Outcome: o}
	}()
	return stop
}

// Took counts an event that was read.
func (a *Attempts[A]) Took(e Event[A]) {
	if !e.Began {
		a.n--
	}
}

// Len is how many are under way.
func (a *Attempts[A]) Len() int { return a.n }

// End ends those under way, and waits a while for that.
func (a *Attempts[A]) End() {
	a.cancel()
	late := time.After(windUp)
	for a.n > 0 {
		select {
		case e := <-a.Events:
			a.Took(e)
		case <-late:
			go func(left int) { // whoever is late finds somebody who listens
				for left > 0 {
					if e := <-a.Events; !e.Began {
						left--
					}
				}
			}(a.n)
			return
		}
	}
}

// Backoff delays attempts after some that came back.
type Backoff struct {
	until time.Time
	n     int // in a row
}

// Over reports whether the next attempt may begin.
func (b *Backoff) Over() bool { return time.Now().After(b.until) }

// Delay is how long to wait after so many that came back.
func Delay(returns int) time.Duration { return min(pauseLeast<<min(returns, 10), pauseMost) }

// More delays the next.
func (b *Backoff) More() {
	b.until = time.Now().Add(Delay(b.n))
	b.n++
}

// Reset forgets what came back: one has succeeded.
func (b *Backoff) Reset() { b.n = 0 }

// Refused says that no proc can be started like this one, now or later.
func (o *Outcome) Refused() bool { return o.Err != nil && o.Proc == "" && Lasting(o.Err) }

// NoVerdict says that nobody can tell from the status whether the task is at fault.
func (o *Outcome) NoVerdict() bool {
	switch o.Status.State {
	case api.Exited:
		return o.Status.Code == overCode
	case api.OOM, api.Signal, api.Killed:
		return false
	}
	return true // lost, evicted, refused
}
