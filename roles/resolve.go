package roles

import (
	"context"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
	"sigmaos/net/control"
)

// pathServer is a tree as the node asks it for one path.
type pathServer struct {
	c *ninep.Client
	over9p.Server
}

// resolvePath says what is published at a path: the caller may dial that. Who
// may publish a service outside, named has checked when the link was made; so the
// mark is looked at here, and not taken from the caller.
func (s *System) resolvePath(ctx context.Context, c api.Caller, path string) (t api.Target, err error) {
	trusted := make(map[*pathServer]bool) // those of σOS itself
	r, end := s.resolver(ctx, c, func(ps *pathServer) { trusted[ps] = true })
	defer end()
	err = r.Do(ctx, path, func(ctx context.Context, ps *pathServer, names []string) (*resolve.Stop, error) {
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
		case w.Attr.Published && trusted[ps]:
			t = api.Target{External: w.Attr.Target}
		default:
			t = linkTarget(w.Attr)
		}
		return nil, nil
	})
	return t, err
}

// resolver walks the realm's name space as c, for as long as ctx; end closes its
// connections. root is told of the servers of the realm's root.
func (s *System) resolver(ctx context.Context, c api.Caller, root func(*pathServer)) (r *resolve.Resolver[*pathServer], end func()) {
	var open []*ninep.Client
	end = func() {
		for _, c := range open {
			c.Close()
		}
	}
	server := func(p control.Passed) (*pathServer, error) {
		conn, err := connOf(p)
		if err != nil {
			return nil, err
		}
		cl, err := ninep.NewClient(ctx, conn)
		if err != nil {
			return nil, err
		}
		open = append(open, cl)
		root, _, err := cl.Attach(ctx, "", nil)
		return &pathServer{cl, over9p.Server{Root: root}}, err
	}
	r = resolve.New(resolve.Config[*pathServer]{
		Root: func(ctx context.Context) (*pathServer, error) {
			p, err := s.Proxy.Dial(ctx, c, api.Target{Service: namedService})
			if err != nil {
				return nil, err
			}
			ps, err := server(p)
			if root != nil && err == nil {
				root(ps)
			}
			return ps, err
		},
		Dial: func(ctx context.Context, link tree.Attr) (*pathServer, error) {
			p, err := s.Proxy.Dial(ctx, c, linkTarget(link))
			if err != nil {
				return nil, err
			}
			return server(p)
		},
		Here: func(link tree.Attr) bool {
			t := linkTarget(link)
			node, _, _, ok := t.Endpoint.Parse()
			return ok && node == s.nodeNum || t.Service != "" && t.Node == s.Config.Node
		},
	})
	return r, end
}

// linkTarget is what an endpoint link leads to.
func linkTarget(link tree.Attr) api.Target {
	if name, ok := strings.CutPrefix(link.Target, "svc:"); ok {
		service, node, _ := strings.Cut(name, "@")
		return api.Target{Service: service, Node: node}
	}
	return api.Target{Endpoint: api.Endpoint(link.Target)}
}
