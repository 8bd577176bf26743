package job

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// Kind is a kind of jobs. J is one as it is kept and listed.
type Kind[J any, P Kept[J]] struct {
	Name string // jobs are in /Name

	// Env is the environment by which a job's program knows that it is a
	// coordinator of the job in a directory.
	Env func(dir string) []string
}

// Kept is a job: what it is told, and how far it is.
type Kept[J any] interface {
	*J
	Head() (*Spec, *State)    // in these:
	Parts() (spec, state any) // the kind's own, to be filled from JSON
}

const (
	coordinators   = 3
	coordinatorCPU = 100 // mCPU
	coordinatorMem = 96 << 20
	coordsDir      = "/coords"
)

// Root is the directory of a realm where jobs of the kind are kept.
func (k Kind[J, P]) Root() string { return "/" + k.Name }

// Dir is where a job is kept.
func (k Kind[J, P]) Dir(name string) string { return k.Root() + "/" + name }

// NewName makes a name for a job, which begins so.
func NewName(begin string) string {
	return strings.Trim(begin[:min(len(begin), 20)]+"-"+strings.ToLower(rand.Text()[:6]), "-")
}

// Submit starts a job whose spec is whole: it writes down what is to be done,
// registers coordinators with initd, and starts them. Where something fails the job
// is removed again.
func (k Kind[J, P]) Submit(ctx context.Context, c *sigma.Client, j P) error {
	spec, st := j.Head()
	spec.ID, spec.Created, st.Phase = strings.ToLower(rand.Text()[:12]), time.Now(), Submitted
	if err := c.Names().MkdirAll(ctx, k.Root(), 0o775); err != nil {
		return err
	}
	if err := c.Names().Mkdir(ctx, k.Dir(spec.Name), 0o775); err != nil {
		if api.KindOf(err) == api.Exists {
			err = api.E(api.Exists, k.Name, spec.Name, "there is a job of this name (%s status; %s rm %s)", k.Name, k.Name, spec.Name)
		}
		return err
	}
	err := k.write(ctx, c.Names(), j)
	if err == nil {
		err = k.start(ctx, c, spec)
	}
	if err != nil {
		k.Remove(context.WithoutCancel(ctx), c, spec.Name)
	}
	return err
}

// write makes the files of a new job.
func (k Kind[J, P]) write(ctx context.Context, n *sigma.Names, j P) error {
	head, _ := j.Head()
	dir := k.Dir(head.Name)
	spec, state := j.Parts()
	return Each(3, func(i int) error {
		if i == 2 {
			return n.Mkdir(ctx, dir+coordsDir, 0o775)
		}
		b, err := json.Marshal([]any{spec, state}[i])
		if err == nil {
			_, err = n.PutFile(ctx, dir+[]string{"/spec", "/state"}[i], b, sigma.Exclusive())
		}
		return err
	})
}

// start registers coordinators, so that the job goes on when the whole system comes
// back, and starts them.
func (k Kind[J, P]) start(ctx context.Context, c *sigma.Client, s *Spec) error {
	return Each(2*coordinators, func(i int) error {
		if i >= coordinators {
			_, err := c.Spawn(ctx, k.apart(ctx, c.Names(), s))
			return err
		}
		err := c.InitAdd(ctx, k.initName(s.Name, i), k.coordinator(s), false)
		if api.KindOf(err) == api.Exists {
			err = nil
		}
		return err
	})
}

// coordinator is how one is started. Its arguments are for people: which one leads
// is in the file leader.
func (k Kind[J, P]) coordinator(s *Spec) *sigma.Desc {
	return &sigma.Desc{Program: s.Program, Args: []string{"coordinator", s.Name, rand.Text()[:6]}, Name: k.Name + "-coord", Class: sigma.LC,
		MCPU: coordinatorCPU, Memory: coordinatorMem, Env: k.Env(k.Dir(s.Name))}
}

// apart is one in another failure domain than the others, where there are enough
// nodes for that.
func (k Kind[J, P]) apart(ctx context.Context, n *sigma.Names, s *Spec) *sigma.Desc {
	d := k.coordinator(s)
	if nodes, err := n.ReadDir(ctx, "/ux", "", 0); err == nil && len(nodes) >= coordinators {
		d.Group = k.Name + "-" + s.Name
	}
	return d
}

func (k Kind[J, P]) initName(name string, i int) string {
	return fmt.Sprintf("%s-%s-%d", k.Name, name, i+1)
}

// unregister takes a job out of initd's hands.
func (k Kind[J, P]) unregister(ctx context.Context, c *sigma.Client, name string) error {
	return Each(coordinators, func(i int) error {
		err := c.InitRemove(ctx, k.initName(name, i))
		if api.KindOf(err) == api.NotFound {
			err = nil
		}
		return err
	})
}

// Each calls fn at the same time for 0 to n-1, and returns an error of one.
func Each(n int, fn func(i int) error) error {
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
