package img

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	coordinatorCPU = 100 // mCPU
	coordinatorMem = 96 << 20
	coordsDir      = "/coords"
	again          = 500 * time.Millisecond // after a term that ended in an error
	patience       = 10                     // errors of a kind that should pass, until the job has failed
)

// coordinator leads a job, or waits to where another does.
type coordinator struct {
	n    *sigma.Names
	dir  string
	me   string // its entry in coords
	errs int    // terms in a row that ended in an error
}

func runCoordinator(w *work) {
	ctx := context.Background()
	sigma.Started(ctx)
	c := &coordinator{n: sigma.Self().Names(), dir: w.Job, me: rand.Text()[:10]}
	leave(c.run(ctx))
}

// leave ends a coordinator or a service.
func leave(err error) {
	st := sigma.Status{}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		text := err.Error()
		st = sigma.Status{Code: 1, Message: text[:min(len(text), api.MaxMessage)]}
	}
	sigma.Exited(st)
	os.Exit(st.Code)
}

// run takes part until the job has ended.
func (c *coordinator) run(ctx context.Context) error {
	presence, stop := context.WithCancel(ctx)
	defer stop()
	go c.bePresent(presence)
	for {
		spec, st, err := load(ctx, c.n, c.dir)
		switch {
		case api.KindOf(err) == api.NotFound:
			return nil // the job was removed
		case err == nil && st.Phase.Final():
			return c.end(ctx, spec)
		case err == nil:
			err = c.lead(ctx, spec)
		}
		if err == nil {
			c.errs = 0
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %v\n", time.Now().Format(time.TimeOnly), err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(again):
		}
	}
}

// load reads a job.
func load(ctx context.Context, n *sigma.Names, dir string) (*Spec, *State, error) {
	spec, st := new(Spec), new(State)
	for name, v := range map[string]any{"/spec": spec, "/state": st} {
		b, _, err := n.GetFile(ctx, dir+name)
		if err != nil {
			return nil, nil, err
		}
		if err := json.Unmarshal(b, v); err != nil {
			return nil, nil, api.E(api.Internal, "img", dir+name, "%v", err)
		}
	}
	return spec, st, nil
}

// bePresent keeps an entry for this coordinator that goes when it does, for those
// who wait for the job.
func (c *coordinator) bePresent(ctx context.Context) {
	for ctx.Err() == nil {
		l, err := c.n.NewLease(ctx)
		if err == nil {
			if _, err = c.n.PutFile(ctx, c.dir+coordsDir+"/"+c.me, nil, sigma.WithLease(l.ID)); err == nil {
				select {
				case <-ctx.Done():
				case <-l.Lost():
				}
			}
			cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 2*time.Second)
			l.Close(cctx)
			cancel()
		}
		select {
		case <-ctx.Done():
		case <-time.After(again):
		}
	}
}

// lead waits for its term, and leads until the job or the term has ended.
func (c *coordinator) lead(ctx context.Context, spec *Spec) error {
	term, err := c.n.Elect(ctx, c.dir+"/leader", []byte(c.me))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-term.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	l := &leader{coordinator: c, n: term.Names(), spec: spec}
	err = l.run(ctx)
	rctx, rcancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer rcancel()
	if rerr := term.Resign(rctx); err == nil && !transient(rerr) {
		err = rerr
	}
	return err
}

// end takes a job that has ended out of initd's hands and removes what only its
// run needed.
func (c *coordinator) end(ctx context.Context, spec *Spec) error {
	if err := sigma.Self().InitRemove(ctx, initName(spec)); err != nil && api.KindOf(err) != api.NotFound {
		return err
	}
	for _, p := range []string{"/tasks", "/plan"} {
		if err := c.n.RemoveAll(ctx, c.dir+p); err != nil && api.KindOf(err) != api.NotFound {
			return err
		}
	}
	return nil
}

// coordinatorDesc is how a coordinator of a job is started.
func coordinatorDesc(spec *Spec) *sigma.Desc {
	return &sigma.Desc{Program: spec.Program, Name: "img-coord", Class: sigma.LC, MCPU: coordinatorCPU, Memory: coordinatorMem, Env: env(work{Role: "coordinator", Job: spec.dir()})}
}

func initName(spec *Spec) string { return "img-" + spec.Name }
