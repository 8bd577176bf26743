package job

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

const (
	again        = 500 * time.Millisecond // after a term that ended in an error
	standbyEvery = time.Second
	standbyStart = 10 * time.Second // for a new one to be there
)

// coordinator is one of a job's three: it leads, or waits to.
type coordinator[J any, P Kept[J]] struct {
	k    Kind[J, P]
	n    *sigma.Names
	dir  string
	work func(*Term, P) Work
	me   string // its entry in coords, and the content of leader: its arguments, and chance
	errs int    // terms in a row that ended in an error

	// forgotten says that initd has no part in the job when it has ended, as far as
	// is known: the last leader sees to that. Who finds the job ended when it begins
	// may have been started by initd all the same.
	forgotten bool
}

// Coordinate is the life of a coordinator of the job in dir. It does not return.
func (k Kind[J, P]) Coordinate(dir string, work func(*Term, P) Work) {
	ctx := context.Background()
	sigma.Started(ctx)
	c := &coordinator[J, P]{k: k, n: sigma.Self().Names(), dir: dir, work: work, me: strings.Join(os.Args[1:], ".") + "." + rand.Text()[:10]}
	if err := c.run(ctx); err != nil {
		Leave(1, err.Error(), nil)
	}
	Leave(0, "", nil)
}

// run takes part until the job has ended.
func (c *coordinator[J, P]) run(ctx context.Context) error {
	presence, stop := context.WithCancel(ctx)
	defer stop()
	go c.bePresent(presence)
	for {
		j, err := c.k.load(ctx, c.n, c.dir)
		if api.KindOf(err) == api.NotFound {
			return nil // the job was removed
		}
		if err == nil {
			if spec, st := j.Head(); st.Phase.Final() {
				if c.forgotten {
					return nil
				}
				return c.k.unregister(ctx, sigma.Self(), spec.Name)
			}
			c.forgotten = true
			err = c.lead(ctx)
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

// bePresent keeps an entry for this coordinator that goes when it does: the leader
// and those who wait count them.
func (c *coordinator[J, P]) bePresent(ctx context.Context) {
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
func (c *coordinator[J, P]) lead(ctx context.Context) error {
	won, err := c.n.ElectWhile(ctx, c.dir+"/leader", []byte(c.me), c.goesOn)
	if err == errOver {
		return nil
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() {
		select {
		case <-won.Lost():
			cancel()
		case <-ctx.Done():
		}
	}()
	err = c.term(ctx, won.Names())
	rctx, rcancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer rcancel()
	if rerr := won.Resign(rctx); err == nil && !Transient(rerr) {
		err = rerr
	}
	return err
}

// errOver ends the wait for a term in which there would be nothing to do.
var errOver = api.E(api.Conflict, "elect", "", "the job has ended")

// goesOn is errOver when the job has ended. What cannot be read is left to the term.
func (c *coordinator[J, P]) goesOn(ctx context.Context) error {
	j, err := c.k.load(ctx, c.n, c.dir)
	if api.KindOf(err) == api.NotFound {
		return errOver
	}
	if err == nil {
		if _, st := j.Head(); st.Phase.Final() {
			return errOver
		}
	}
	return nil
}

// term does what is left of the job.
func (c *coordinator[J, P]) term(ctx context.Context, n *sigma.Names) error {
	j, err := c.k.load(ctx, n, c.dir)
	if err != nil {
		return err
	}
	t := &Term{Names: n, Dir: c.dir, kind: c.k.Name, errs: &c.errs}
	t.Spec, t.State = j.Head()
	_, t.state = j.Parts()
	t.work = c.work(t, j)
	t.unregister = func(ctx context.Context) error {
		err := c.k.unregister(ctx, sigma.Self(), t.Spec.Name)
		c.forgotten = err == nil
		return err
	}
	t.standbys = func(ctx context.Context) { c.keepStandbys(ctx, n, t.Spec) }
	return t.lead(ctx)
}

// keepStandbys starts coordinators where some have gone, so that there are three,
// until ctx ends.
func (c *coordinator[J, P]) keepStandbys(ctx context.Context, n *sigma.Names, s *Spec) {
	t := time.NewTicker(standbyEvery)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		if there, err := c.k.present(ctx, n, s.Name); err == nil && there < coordinators {
			c.startStandbys(ctx, n, s, coordinators-there)
		}
	}
}

// startStandbys starts so many and waits until they have had time to be seen.
func (c *coordinator[J, P]) startStandbys(ctx context.Context, n *sigma.Names, s *Spec, count int) {
	ctx, cancel := context.WithTimeout(ctx, standbyStart)
	defer cancel()
	for range count {
		id, err := sigma.Spawn(ctx, c.k.apart(ctx, n, s))
		if err != nil {
			return
		}
		if err := sigma.WaitStart(ctx, id); err != nil { // no room for it now
			end(ctx, id)
			return
		}
	}
	select {
	case <-ctx.Done():
	case <-time.After(standbyEvery):
	}
}
