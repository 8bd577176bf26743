package roles

import (
	"context"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
)

// pathServer is a tree as the node asks it for one path.
type pathServer struct {
	c *ninep.Client
	over9p.Server
	own bool // σOS's: that of the realm's root
}

// resolvePath says what is published at a path: the caller may dial that, or each of
// several in this order. Who may publish a service outside, named has checked when the
// link was made; so the mark is looked at here, and not taken from the caller.
func (s *System) resolvePath(ctx context.Context, c api.Caller, path string) (out []api.Target, err error) {
	way := newWay(s, c)
	defer way.close()
	list, in, err := way.resolver().Ends(ctx, path, func(ctx context.Context, ps *pathServer, names []string) (*resolve.Stop, error) {
		w, err := ps.Root.Stat(ctx, names...)
		switch {
		case err != nil:
			return nil, err
		case w.Link:
			return over9p.StopAt(w), nil
		case w.Attr.Mode&tree.ModeType == tree.ModeSymlink:
			return &resolve.Stop{Names: len(names), Link: w.Attr}, nil
		case w.Attr.Mode&tree.ModeType != tree.ModeEndpoint:
			return nil, api.E(api.Invalid, "dial", path, "nothing listens there: it is no endpoint link")
		}
		out = append(out, dialled(ps, w.Attr))
		return nil, nil
	})
	for _, e := range list {
		out = append(out, dialled(in, e.Link))
	}
	return out, err
}

// dialled is what who dials a link of a server's is to be connected with.
func dialled(ps *pathServer, link tree.Attr) api.Target {
	if link.Published && ps.own {
		return api.Target{External: link.Target}
	}
	return linkTarget(link)
}

// linkTarget is what an endpoint link leads to.
func linkTarget(link tree.Attr) api.Target {
	if name, ok := strings.CutPrefix(link.Target, "svc:"); ok {
		service, node, _ := strings.Cut(name, "@")
		return api.Target{Service: service, Node: node}
	}
	return api.Target{Endpoint: api.Endpoint(link.Target)}
}
