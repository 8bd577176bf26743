package img

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Summary is a job as it is listed.
type Summary struct {
	Spec   Spec     `json:"spec"`
	State  State    `json:"state"`
	Images []Result `json:"images,omitempty"` // of a job that has ended
}

// NewName makes a name for a job.
func NewName() string { return "img-" + strings.ToLower(rand.Text()[:6]) }

// Submit starts a job: it writes down what is to be done, registers a coordinator
// with initd, and starts it. Where something fails the job is removed again.
func Submit(ctx context.Context, c *sigma.Client, s Spec) (*Spec, error) {
	s.ID, s.Created = strings.ToLower(rand.Text()[:12]), time.Now()
	n := c.Names()
	for _, p := range []*string{&s.In, &s.Out} {
		if err := fixed(ctx, n, p); err != nil {
			return nil, err
		}
	}
	if err := s.normalize(); err != nil {
		return nil, err
	}
	if err := n.MkdirAll(ctx, Root, 0o775); err != nil {
		return nil, err
	}
	if err := n.Mkdir(ctx, s.dir(), 0o775); err != nil {
		if api.KindOf(err) == api.Exists {
			err = api.E(api.Exists, "img", s.Name, "there is a job of this name (img status; img rm %s)", s.Name)
		}
		return nil, err
	}
	if err := submit(ctx, c, &s); err != nil {
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
	return start(ctx, c, s)
}

// start registers a coordinator, so that the job goes on when the whole system
// comes back, and starts one.
func start(ctx context.Context, c *sigma.Client, s *Spec) error {
	err := c.InitAdd(ctx, initName(s), coordinatorDesc(s), false)
	if err == nil || api.KindOf(err) == api.Exists {
		_, err = c.Spawn(ctx, coordinatorDesc(s))
	}
	return err
}

// Status reads a job.
func Status(ctx context.Context, c *sigma.Client, name string) (*Summary, error) {
	if !jobName.MatchString(name) {
		return nil, api.E(api.Invalid, "img", name, "that is no name of a job")
	}
	spec, st, err := load(ctx, c.Names(), Root+"/"+name)
	if api.KindOf(err) == api.NotFound {
		err = api.E(api.NotFound, "img", name, "there is no such job (img status lists them)")
	}
	if err != nil {
		return nil, err
	}
	return &Summary{Spec: *spec, State: *st}, nil
}

// Results adds what became of each image to the summary of a job that has ended.
func (s *Summary) Results(ctx context.Context, c *sigma.Client) error {
	s.Images = nil
	for i := range s.State.Parts {
		b, _, err := c.Names().GetFile(ctx, partOf(s.Spec.dir(), i))
		if err != nil {
			return err
		}
		var part []Result
		if err := json.Unmarshal(b, &part); err != nil {
			return api.E(api.Internal, "img", partOf(s.Spec.dir(), i), "%v", err)
		}
		s.Images = append(s.Images, part...)
	}
	return nil
}

// List reads all jobs of the realm.
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

// Resume starts a coordinator for a job that has none and has not ended. It returns
// what the job is.
func Resume(ctx context.Context, c *sigma.Client, name string) (*Summary, error) {
	s, err := Status(ctx, c, name)
	if err != nil || s.State.Phase.Final() {
		return s, err
	}
	list, err := c.Names().ReadDir(ctx, s.Spec.dir()+coordsDir, "", 0)
	if err != nil || len(list) > 0 {
		return s, err
	}
	return s, start(ctx, c, &s.Spec)
}

// Remove forgets a job. Of one that has not ended, the coordinator and its workers
// end within some seconds; files that were written stay.
func Remove(ctx context.Context, c *sigma.Client, name string) error {
	if !jobName.MatchString(name) {
		return api.E(api.Invalid, "img", name, "that is no name of a job")
	}
	if err := c.InitRemove(ctx, "img-"+name); err != nil && api.KindOf(err) != api.NotFound {
		return err
	}
	n, s := c.Names(), Spec{Name: name}
	if b, _, err := n.GetFile(ctx, s.dir()+"/spec"); err == nil && json.Unmarshal(b, &s) == nil {
		if b, _, err := n.GetFile(ctx, s.claim()); err == nil && string(b) == s.ID {
			n.Remove(ctx, s.claim())
		}
	}
	s.Name = name
	return n.RemoveAll(ctx, s.dir())
}

const (
	lookEvery = 150 * time.Millisecond
	// deserted is how long a job may be without a coordinator until whoever waits
	// for it starts another.
	deserted = 3 * time.Second
)

// Wait returns when the job has ended, and calls fn each time that its state has
// changed. Where no coordinator is left it starts one.
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
				return s, s.Results(ctx, c)
			}
		} else if !transient(err) || ctx.Err() != nil {
			return nil, err
		}
		if now := time.Now(); now.Sub(looked) > time.Second {
			looked = now
			if list, err := c.Names().ReadDir(ctx, Root+"/"+name+coordsDir, "", 0); err != nil || len(list) > 0 {
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
