// Package over9p lets package resolve ask servers of files that are reached with
// naming/ninep: what the tenants' library and the node have in common.
package over9p

import (
	"context"

	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/tree"
)

// Server is one whose Root was attached to. A pointer to it, or to what embeds it,
// is a [resolve.Server].
type Server struct{ Root *ninep.Fid }

// Links lists the endpoint links of a directory.
func (s *Server) Links(ctx context.Context, names []string) (out []resolve.Entry, stop *resolve.Stop, err error) {
	after := ""
	for {
		list, w, end, err := s.Root.ReadDir(ctx, after, 0, true, names...)
		if err != nil || w.Link {
			return nil, StopAt(w), err
		}
		for _, e := range list {
			after = e.Name
			if e.Attr != nil && e.Attr.Mode&tree.ModeType == tree.ModeEndpoint {
				out = append(out, resolve.Entry{Name: e.Name, Link: *e.Attr})
			}
		}
		if end {
			return out, nil, nil
		}
	}
}

// Stat asks what a living server has there.
func (s *Server) Stat(ctx context.Context, names []string) (tree.Attr, *resolve.Stop, error) {
	w, err := s.Root.Stat(ctx, names...)
	return w.Attr, StopAt(w), err
}

// StopAt is the resolver's word for an operation that met a link; nil: it met none.
func StopAt(w ninep.Walked) *resolve.Stop {
	if !w.Link {
		return nil
	}
	return &resolve.Stop{Names: w.Names, Link: w.Attr}
}
