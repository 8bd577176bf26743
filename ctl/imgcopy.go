package ctl

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigmaos/api"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/img"
	"sigmaos/sigma/job"
)

// isLocal tells a path of this machine from one of the realm, which begins with /.
func isLocal(path string) bool {
	return strings.HasPrefix(path, "local:") || !strings.HasPrefix(path, "/")
}

// copies are a job's directories in the realm where it was given some of this
// machine.
type copies struct {
	a       *app
	cl      *admin.Client
	from    string // "" is a directory of the realm
	to      string
	realmIn string
	realm   string
	scratch string
}

func newCopies(a *app, cl *admin.Client, in, out, name string) *copies {
	c := &copies{a: a, cl: cl, realmIn: in, realm: out}
	if isLocal(in) {
		c.from = strings.TrimPrefix(in, "local:")
	}
	if isLocal(out) {
		c.to = strings.TrimPrefix(out, "local:")
	}
	if c.from != "" || c.to != "" {
		c.scratch = "/ux/~local/img-" + name
	}
	return c
}

// in copies images into the realm, and sets the job's paths.
func (c *copies) in(ctx context.Context, s *img.Spec) error {
	s.In, s.Out = c.realmIn, c.realm
	if c.to != "" {
		list, err := os.ReadDir(c.to)
		if err == nil && len(list) > 0 && !s.Overwrite {
			return api.E(api.Exists, "img", c.to, "the output directory has %s in it; name another, or replace files of the same names with --overwrite", list[0].Name())
		}
		if err != nil && !os.IsNotExist(err) {
			return err
		}
	}
	if c.from != "" {
		if st, err := os.Stat(c.from); err != nil || !st.IsDir() {
			return api.E(api.NotFound, "img", c.from, "no directory of this machine (a path of the realm begins with /)")
		}
	}
	n := c.cl.Names()
	if c.from == "" {
		if _, err := n.Stat(ctx, s.In); api.KindOf(err) == api.NotFound {
			if _, lerr := os.Stat(s.In); lerr == nil {
				return api.E(api.NotFound, "img", s.In, "the realm has no such directory; the one of this machine is local:%s", s.In)
			}
			return err
		}
	}
	if c.scratch == "" {
		return nil
	}
	at, err := n.AbsPath(ctx, c.scratch)
	if err != nil {
		return err
	}
	c.scratch = at
	if err := n.Mkdir(ctx, c.scratch, 0o775); err != nil {
		return err
	}
	if c.from != "" {
		s.In = c.scratch + "/in"
		if err := copyTree(ctx, place{path: c.from}, c.from, place{n: n}, s.In, true); err != nil {
			c.remove(ctx)
			return err
		}
	}
	if c.to != "" {
		s.Out = c.scratch + "/out"
	}
	return nil
}

// out copies results to this machine, and removes the copies in the realm.
func (c *copies) out(ctx context.Context, s *img.Summary) error {
	defer c.remove(ctx)
	if c.to == "" || s.State.Phase != job.Done {
		return nil
	}
	n := c.cl.Names()
	if err := copyTree(ctx, place{n: n}, s.Spec.Out, place{path: c.to}, c.to, true); err != nil {
		return err
	}
	for i, r := range s.Images { // what a person sees is where it is now
		if rel, ok := strings.CutPrefix(r.Out, s.Spec.Out+"/"); ok {
			s.Images[i].Out = filepath.Join(c.to, filepath.FromSlash(rel))
		}
	}
	s.Spec.Out = c.to
	return nil
}

// remove takes away what was copied into the realm.
func (c *copies) remove(ctx context.Context) {
	if c.scratch == "" {
		return
	}
	if err := c.cl.Names().RemoveAll(context.WithoutCancel(ctx), c.scratch); err != nil && api.KindOf(err) != api.NotFound {
		fmt.Fprintln(c.a.err, "sigmactl:", err)
	}
}
