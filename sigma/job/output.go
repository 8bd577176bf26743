package job

import (
	"context"
	"strings"

	"sigmaos/api"
	"sigmaos/sigma"
)

// claim is the file that keeps an output directory to one job.
func claim(kind string, s *Spec) string { return s.Out + "/." + kind }

// TakeOutput makes the output directory this job's, and returns what is in there
// beside what jobs of this kind put there for a while.
func (t *Term) TakeOutput(ctx context.Context) (names []string, err error) {
	out, file := t.Spec.Out, claim(t.kind, t.Spec)
	if err := t.MkdirAll(ctx, out, 0o775); err != nil {
		return nil, Reachable(ctx, t.Names, err, out)
	}
	_, err = t.PutFile(ctx, file, []byte(t.Spec.ID), sigma.Exclusive())
	if api.KindOf(err) == api.Exists {
		b, _, gerr := t.GetFile(ctx, file)
		if gerr != nil {
			return nil, gerr
		}
		if err = nil; string(b) != t.Spec.ID {
			return nil, api.E(api.Exists, t.kind, out, "another job writes there; if that is over, remove %s", file)
		}
	}
	if err != nil {
		return nil, err
	}
	list, err := t.ReadDir(ctx, out, "", 0)
	for _, i := range list {
		if !strings.HasPrefix(i.Name(), "."+t.kind) {
			names = append(names, i.Name())
		}
	}
	return names, err
}

// freeOutput gives an output directory back, if it is this job's.
func freeOutput(ctx context.Context, n *sigma.Names, kind string, s *Spec) error {
	b, _, err := n.GetFile(ctx, claim(kind, s))
	if err == nil && string(b) == s.ID {
		err = n.Remove(ctx, claim(kind, s))
	}
	if api.KindOf(err) == api.NotFound {
		err = nil
	}
	return err
}

// Reachable makes "not found" on a node that is not there a thing that may pass.
func Reachable(ctx context.Context, n *sigma.Names, err error, paths ...string) error {
	if api.KindOf(err) != api.NotFound {
		return err
	}
	for _, p := range paths {
		rest, ok := strings.CutPrefix(p, "/ux/")
		if !ok {
			continue
		}
		node, _, _ := strings.Cut(rest, "/")
		if _, serr := n.Stat(ctx, "/ux/"+node+"/"); serr != nil {
			return api.E(api.Unavailable, "find", p, "node %s does not answer (%v)", node, err)
		}
	}
	return err
}

// NodeOf is the node in whose scratch space a path is that names one; "" is none.
func NodeOf(path string) string {
	rest, ok := strings.CutPrefix(path, "/ux/")
	node, _, _ := strings.Cut(rest, "/")
	if !ok || strings.HasPrefix(node, "~") {
		return ""
	}
	return node
}

// Transient says that an error is the system's state of this moment.
func Transient(err error) bool {
	switch api.KindOf(err) {
	case api.Unavailable, api.Deadline, api.Canceled:
		return true
	}
	return false
}

// Lasting tells an error that will be the same next time from one that may pass.
func Lasting(err error) bool {
	switch api.KindOf(err) {
	case api.Invalid, api.NotFound, api.Exists, api.NotDir, api.IsDir, api.Denied, api.TooLarge, api.NoCapacity, api.Unsupported, api.Loop:
		return true
	}
	return false
}
