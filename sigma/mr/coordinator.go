package mr

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	coordinators   = 3
	coordinatorCPU = 100 // mCPU
	coordinatorMem = 96 << 20
	coordsDir      = "/coords"
	again          = 500 * time.Millisecond // after a term that ended in an error
	patience       = 10                     // errors of a kind that should pass, until the job has failed
)

// coordinator is one of a job's three: it leads, or waits to.
type coordinator struct {
	n    *sigma.Names
	dir  string
	apps []App
	me   string // its entry in coords, and the content of leader: its arguments, and chance
	errs int    // terms in a row that ended in an error
}

func runCoordinator(w *work, apps []App) {
	ctx := context.Background()
	sigma.Started(ctx)
	c := &coordinator{n: sigma.Self().Names(), dir: w.Job, apps: apps, me: strings.Join(os.Args[1:], ".") + "." + rand.Text()[:10]}
	if err := c.run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
		sigma.Exited(sigma.Status{Code: 1, Message: short(err.Error())})
		os.Exit(1)
	}
	sigma.Exited(sigma.Status{})
	os.Exit(0)
}

func short(s string) string { return s[:min(len(s), api.MaxMessage)] }

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
			return unregister(ctx, spec)
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
			return nil, nil, api.E(api.Internal, "mr", dir+name, "%v", err)
		}
	}
	return spec, st, nil
}

// bePresent keeps an entry for this coordinator that goes when it does: the leader
// counts them.
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
	l := &leader{coordinator: c, n: term.Names(), s: realm{term.Names()}, spec: spec, attempts: make(map[*attempt]bool)}
	err = l.run(ctx)
	rctx, rcancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer rcancel()
	if rerr := term.Resign(rctx); err == nil && !transient(rerr) {
		err = rerr
	}
	return err
}

// apart puts a coordinator into another failure domain than the others, where there
// are enough nodes for that.
func apart(ctx context.Context, n *sigma.Names, spec *Spec, d *sigma.Desc) *sigma.Desc {
	if nodes, err := n.ReadDir(ctx, "/ux", "", 0); err == nil && len(nodes) >= coordinators {
		d.Group = "mr-" + spec.Name
	}
	return d
}

// coordinatorDesc is how a coordinator of a job is started. Its arguments are for
// people: which one leads is in the file leader.
func coordinatorDesc(spec *Spec) *sigma.Desc {
	b, _ := json.Marshal(work{Role: "coordinator", Job: spec.dir()})
	return &sigma.Desc{Program: spec.Program, Args: []string{"coordinator", spec.Name, rand.Text()[:6]}, Name: "mr-coord", Class: sigma.LC, MCPU: coordinatorCPU, Memory: coordinatorMem, Env: []string{workVar + "=" + string(b)}}
}

func initName(spec *Spec, i int) string { return fmt.Sprintf("mr-%s-%d", spec.Name, i+1) }

// unregister takes a job that has ended out of initd's hands.
func unregister(ctx context.Context, spec *Spec) error {
	for i := range coordinators {
		if err := sigma.Self().InitRemove(ctx, initName(spec, i)); err != nil && api.KindOf(err) != api.NotFound {
			return err
		}
	}
	return nil
}
