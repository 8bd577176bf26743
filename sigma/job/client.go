package job

import (
	"context"
	"encoding/json"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
)

// load reads a job.
func (k Kind[J, P]) load(ctx context.Context, n *sigma.Names, dir string) (P, error) {
	j := P(new(J))
	spec, state := j.Parts()
	return j, Each(2, func(i int) error {
		path := dir + []string{"/spec", "/state"}[i]
		b, _, err := n.GetFile(ctx, path)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(b, []any{spec, state}[i]); err != nil {
			return api.E(api.Internal, k.Name, path, "%v", err)
		}
		return nil
	})
}

// Status reads a job.
func (k Kind[J, P]) Status(ctx context.Context, c *sigma.Client, name string) (P, error) {
	if !nameForm.MatchString(name) {
		return nil, api.E(api.Invalid, k.Name, name, "that is no name of a job")
	}
	j, err := k.load(ctx, c.Names(), k.Dir(name))
	if api.KindOf(err) == api.NotFound {
		err = api.E(api.NotFound, k.Name, name, "there is no such job (%s status lists them)", k.Name)
	}
	if err != nil {
		return nil, err
	}
	return j, nil
}

// List reads all jobs of the realm.
func (k Kind[J, P]) List(ctx context.Context, c *sigma.Client) (out []P, err error) {
	list, err := c.Names().ReadDir(ctx, k.Root(), "", 0)
	if api.KindOf(err) == api.NotFound {
		return nil, nil
	}
	for _, i := range list {
		j, jerr := k.Status(ctx, c, i.Name())
		if kind := api.KindOf(jerr); kind == api.NotFound || kind == api.Invalid {
			continue
		}
		if jerr != nil {
			return out, jerr
		}
		out = append(out, j)
	}
	return out, err
}

// present counts the coordinators of a job that are there.
func (k Kind[J, P]) present(ctx context.Context, n *sigma.Names, name string) (int, error) {
	list, err := n.ReadDir(ctx, k.Dir(name)+coordsDir, "", 0)
	return len(list), err
}

// Resume starts coordinators of a job that has none and has not ended. It returns
// what the job is.
func (k Kind[J, P]) Resume(ctx context.Context, c *sigma.Client, name string) (P, error) {
	j, err := k.Status(ctx, c, name)
	if err != nil {
		return nil, err
	}
	spec, st := j.Head()
	if st.Phase.Final() {
		return j, nil
	}
	if there, err := k.present(ctx, c.Names(), name); err != nil || there > 0 {
		return j, err
	}
	return j, k.start(ctx, c, spec)
}

// Remove forgets a job. Of one that has not ended, the coordinators and what they
// have started end within some seconds; files that were written stay.
func (k Kind[J, P]) Remove(ctx context.Context, c *sigma.Client, name string) error {
	if !nameForm.MatchString(name) {
		return api.E(api.Invalid, k.Name, name, "that is no name of a job")
	}
	if err := k.unregister(ctx, c, name); err != nil {
		return err
	}
	if j, err := k.load(ctx, c.Names(), k.Dir(name)); err == nil {
		spec, _ := j.Head()
		freeOutput(ctx, c.Names(), k.Name, spec)
	}
	return c.Names().RemoveAll(ctx, k.Dir(name))
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
func (k Kind[J, P]) Wait(ctx context.Context, c *sigma.Client, name string, fn func(P)) (P, error) {
	var last string
	there := time.Now()
	looked := there
	for {
		j, err := k.Status(ctx, c, name)
		if err == nil {
			_, state := j.Parts()
			b, _ := json.Marshal(state)
			if string(b) != last && fn != nil {
				fn(j)
			}
			last = string(b)
			if _, st := j.Head(); st.Phase.Final() {
				return j, nil
			}
		} else if !Transient(err) || ctx.Err() != nil || c.Gone() {
			return nil, err
		}
		if now := time.Now(); now.Sub(looked) > time.Second {
			looked = now
			if n, err := k.present(ctx, c.Names(), name); err != nil || n > 0 {
				there = now
			}
			if now.Sub(there) > deserted {
				k.Resume(ctx, c, name) // if that fails, it is tried again
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
