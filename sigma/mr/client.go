package mr

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Summary is a job as it is listed.
type Summary struct {
	Spec  Spec  `json:"spec"`
	State State `json:"state"`
}

// NewName makes a name for a job of an app.
func NewName(app string) string {
	return strings.Trim(app[:min(len(app), 20)]+"-"+strings.ToLower(rand.Text()[:6]), "-")
}

// Submit starts a job: it writes down what is to be done, registers three
// coordinators with initd, and starts them. Where something fails the job is
// removed again.
func Submit(ctx context.Context, c *sigma.Client, s Spec) (*Spec, error) {
	s.ID, s.Created = strings.ToLower(rand.Text()[:12]), time.Now()
	if err := s.normalize(); err != nil {
		return nil, err
	}
	n := c.Names()
	for i := range s.In {
		if err := fixed(ctx, n, &s.In[i]); err != nil {
			return nil, err
		}
	}
	if err := fixed(ctx, n, &s.Out); err != nil {
		return nil, err
	}
	if err := n.MkdirAll(ctx, Root, 0o775); err != nil {
		return nil, err
	}
	if err := n.Mkdir(ctx, s.dir(), 0o775); err != nil {
		if api.KindOf(err) == api.Exists {
			err = api.E(api.Exists, "mr", s.Name, "there is a job of this name (mr status; mr rm %s)", s.Name)
		}
		return nil, err
	}
	err := submit(ctx, c, &s)
	if err != nil {
		Remove(context.WithoutCancel(ctx), c, s.Name)
		return nil, err
	}
	return &s, nil
}

// fixed replaces ~local and ~any in a path that others are to use: scratch space
// is that of the node which is meant now; to buckets any way will do.
func fixed(ctx context.Context, n *sigma.Names, p *string) (err error) {
	if strings.HasPrefix(*p, "/ux/") {
		*p, err = n.AbsPath(ctx, *p)
	}
	*p = strings.TrimRight(*p, "/")
	return err
}

func submit(ctx context.Context, c *sigma.Client, s *Spec) error {
	n := c.Names()
	if err := n.Mkdir(ctx, s.dir()+coordsDir, 0o775); err != nil {
		return err
	}
	for name, v := range map[string]any{"/spec": s, "/state": State{Phase: Submitted}} {
		b, err := json.Marshal(v)
		if err != nil {
			return err
		}
		if _, err := n.PutFile(ctx, s.dir()+name, b, sigma.Exclusive()); err != nil {
			return err
		}
	}
	if err := register(ctx, c, s); err != nil {
		return err
	}
	return startCoordinators(ctx, c, s)
}

// register has initd start the coordinators when the whole system comes back.
func register(ctx context.Context, c *sigma.Client, s *Spec) error {
	return each(coordinators, func(i int) error {
		err := c.InitAdd(ctx, initName(s, i), coordinatorDesc(s), false)
		if api.KindOf(err) == api.Exists {
			err = nil
		}
		return err
	})
}

func startCoordinators(ctx context.Context, c *sigma.Client, s *Spec) error {
	return each(coordinators, func(int) error {
		_, err := c.Spawn(ctx, apart(ctx, c.Names(), s, coordinatorDesc(s)))
		return err
	})
}

// each calls fn at the same time for 0 to n-1, and returns an error of one.
func each(n int, fn func(i int) error) error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = fn(i) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// Status reads a job.
func Status(ctx context.Context, c *sigma.Client, name string) (*Summary, error) {
	if !jobName.MatchString(name) {
		return nil, api.E(api.Invalid, "mr", name, "that is no name of a job")
	}
	spec, st, err := load(ctx, c.Names(), Root+"/"+name)
	if api.KindOf(err) == api.NotFound {
		err = api.E(api.NotFound, "mr", name, "there is no such job (mr status lists them)")
	}
	if err != nil {
		return nil, err
	}
	return &Summary{*spec, *st}, nil
}

// List reads all jobs of the realm, the oldest first.
func List(ctx context.Context, c *sigma.Client) (out []Summary, err error) {
	list, err := c.Names().ReadDir(ctx, Root, "", 0)
	if api.KindOf(err) == api.NotFound {
		return nil, nil
	}
	for _, i := range list {
		s, serr := Status(ctx, c, i.Name())
		if k := api.KindOf(serr); k == api.NotFound || k == api.Invalid {
			continue
		}
		if serr != nil {
			return out, serr
		}
		out = append(out, *s)
	}
	return out, err
}

// Present counts the coordinators of a job that are there.
func Present(ctx context.Context, c *sigma.Client, name string) (int, error) {
	list, err := c.Names().ReadDir(ctx, Root+"/"+name+coordsDir, "", 0)
	return len(list), err
}

// Resume starts coordinators of a job that has none and has not ended. It returns
// what the job is.
func Resume(ctx context.Context, c *sigma.Client, name string) (*Summary, error) {
	s, err := Status(ctx, c, name)
	if err != nil || s.State.Phase.Final() {
		return s, err
	}
	if there, err := Present(ctx, c, name); err != nil || there > 0 {
		return s, err
	}
	if err := register(ctx, c, &s.Spec); err != nil {
		return s, err
	}
	return s, startCoordinators(ctx, c, &s.Spec)
}

// Remove forgets a job. Of one that has not ended, the coordinators and what they
// have started end within some seconds; its files are left.
func Remove(ctx context.Context, c *sigma.Client, name string) error {
	s := Spec{Name: name}
	if !jobName.MatchString(name) {
		return api.E(api.Invalid, "mr", name, "that is no name of a job")
	}
	err := each(coordinators, func(i int) error {
		err := c.InitRemove(ctx, initName(&s, i))
		if api.KindOf(err) == api.NotFound {
			err = nil
		}
		return err
	})
	if err != nil {
		return err
	}
	return c.Names().RemoveAll(ctx, s.dir())
}

const (
	lookEvery = 150 * time.Millisecond
	// deserted is how long a job may be without any coordinator until whoever waits
	// for it starts new ones.
	deserted = 3 * time.Second
)

// Wait returns when the job has ended, and calls fn each time that its state has
// changed. Where all coordinators are gone it starts others. When c is lost, it
// returns; the job goes on.
func Wait(ctx context.Context, c *sigma.Client, name string, fn func(*Summary)) (*Summary, error) {
	var last string
	there := time.Now()
	looked := there
	for {
		s, err := Status(ctx, c, name)
		if err == nil {
			b, _ := json.Marshal(s.State)
			if string(b) != last && fn != nil {
				fn(s)
			}
			if last = string(b); s.State.Phase.Final() {
				return s, nil
			}
		} else if !transient(err) || ctx.Err() != nil || c.Gone() {
			return nil, err
		}
		if now := time.Now(); now.Sub(looked) > time.Second {
			looked = now
			if n, err := Present(ctx, c, name); err != nil || n > 0 {
				there = now
			}
			if now.Sub(there) > deserted {
				Resume(ctx, c, name) // if that fails, it is tried again
				there = now
			}
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(lookEvery):
		}
	}
}
