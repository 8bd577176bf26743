package resolve

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Stop is a link that an operation met: after how many names, the link's own
// included, and what it is.
type Stop struct {
	Names int
	Link  tree.Attr
}

// Entry is an endpoint link in a directory.
type Entry struct {
	Name string
	Link tree.Attr
}

// Server serves a part of the name space.
type Server interface {
	comparable
	// Links lists the endpoint links of a directory.
	Links(ctx context.Context, names []string) ([]Entry, *Stop, error)
}

// Config of a Resolver.
type Config[S Server] struct {
	// Root is the server of the realm's root.
	Root func(ctx context.Context) (S, error)
	// Dial gives the server behind an endpoint link. Servers of one link compare
	// equal while they live.
	Dial func(ctx context.Context, link tree.Attr) (S, error)
	// Here reports whether a link's server is on the caller's node.
	Here func(link tree.Attr) bool
	// Patience bounds one server of a union; default 2 s.
	Patience time.Duration
}

// Resolver finds places. It has no state of its own.
type Resolver[S Server] struct{ cfg Config[S] }

// New returns a Resolver.
func New[S Server](cfg Config[S]) *Resolver[S] {
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Second
	}
	return &Resolver[S]{cfg}
}

// Op does something with names at a server, or stops at a link. It may be called
// several times, but not again once it has done something.
type Op[S Server] func(ctx context.Context, s S, names []string) (*Stop, error)

// walk is one resolution under way.
type walk[S Server] struct {
	*Resolver[S]
	path   string
	server S
	base   []string // where server's root is in the realm
	names  []string // from there
	links  int
}

// Do resolves path until op has done its work there.
func (r *Resolver[S]) Do(ctx context.Context, path string, op Op[S]) error {
	_, err := r.do(ctx, path, op)
	return err
}

// Abs returns path with its ~local and ~any replaced by the names of the
// servers that they stand for at this moment. Other links stay as they are.
func (r *Resolver[S]) Abs(ctx context.Context, path string) (string, error) {
	names, _, err := Clean(path)
	if err != nil {
		return "", err
	}
	if union(names) < 0 {
		return Join(names), nil
	}
	var out []string
	for {
		i := union(names)
		if i < 0 {
			return Join(append(out, names...)), nil
		}
		out = append(out, names[:i]...)
		name, err := r.member(ctx, Join(out), names[i])
		if err != nil {
			return "", err
		}
		out, names = append(out, name), names[i+1:]
	}
}

// member names the entry of a directory that ~local or ~any stands for.
func (r *Resolver[S]) member(ctx context.Context, dir, which string) (name string, err error) {
	err = r.Do(ctx, dir, func(ctx context.Context, s S, names []string) (*Stop, error) {
		list, stop, err := s.Links(ctx, names)
		if err != nil || stop != nil {
			return stop, err
		}
		e, _, err := r.choose(ctx, dir, which, list)
		name = e.Name
		return nil, err
	})
	return name, err
}

func (r *Resolver[S]) do(ctx context.Context, path string, op Op[S]) (*walk[S], error) {
	names, _, err := Clean(path)
	if err != nil {
		return nil, err
	}
	w := &walk[S]{Resolver: r, path: path, names: names}
	if w.server, err = r.cfg.Root(ctx); err != nil {
		return nil, err
	}
	for {
		var stop *Stop
		if i := union(w.names); i >= 0 {
			stop, err = w.union(ctx, i)
		} else {
			stop, err = op(ctx, w.server, w.names)
			if err == nil && stop == nil {
				return w, nil
			}
		}
		if err == nil && stop != nil {
			err = w.follow(ctx, *stop)
		}
		if err != nil {
			return nil, err
		}
	}
}

func (w *walk[S]) count() error {
	if w.links++; w.links > MaxLinks {
		return api.E(api.Loop, "path", show(w.path), "more than %d links; do they lead in a circle?", MaxLinks)
	}
	return nil
}

// follow goes on behind a link.
func (w *walk[S]) follow(ctx context.Context, s Stop) error {
	if err := w.count(); err != nil {
		return err
	}
	if s.Names < 0 || s.Names > len(w.names) {
		return api.E(api.Unavailable, "path", show(w.path), "a server stopped behind the path's end")
	}
	at, rest := w.names[:s.Names], w.names[s.Names:]
	if s.Link.Mode&tree.ModeType == tree.ModeEndpoint {
		srv, err := w.cfg.Dial(ctx, s.Link)
		if err != nil {
			return err
		}
		w.enter(srv, at, rest)
		return nil
	}
	return w.restart(ctx, at, s.Link.Target, rest)
}

// enter goes on at another server, whose root is at the names that were walked.
func (w *walk[S]) enter(s S, at, rest []string) {
	w.server, w.base, w.names = s, slices.Concat(w.base, at), slices.Clone(rest)
}

// restart puts a symbolic link's target in its place and begins again: at the
// same server where the path still leads through it, else at the root.
func (w *walk[S]) restart(ctx context.Context, at []string, target string, rest []string) error {
	if target == "" {
		return api.E(api.NotFound, "path", show(w.path), "a symbolic link on the way is empty")
	}
	path := target
	if target[0] != '/' {
		dir := slices.Concat(w.base, at[:max(0, len(at)-1)])
		path = Join(dir) + "/" + target
	}
	names, _, err := Clean(path)
	if err != nil {
		return err
	}
	names = append(names, rest...)
	if len(names) > maxNames {
		return api.E(api.TooLarge, "path", show(w.path), "its links make it longer than %d names", maxNames)
	}
	if len(w.base) <= len(names) && slices.Equal(w.base, names[:len(w.base)]) {
		w.names = names[len(w.base):]
		return nil
	}
	root, err := w.cfg.Root(ctx)
	w.server, w.base, w.names = root, nil, names
	return err
}

// union walks through the ~local or ~any at names[i].
func (w *walk[S]) union(ctx context.Context, i int) (*Stop, error) {
	list, stop, err := w.server.Links(ctx, w.names[:i])
	if err != nil || stop != nil {
		return stop, err
	}
	if err := w.count(); err != nil {
		return nil, err
	}
	e, srv, err := w.choose(ctx, w.path, w.names[i], list)
	if err != nil {
		return nil, err
	}
	w.enter(srv, append(slices.Clone(w.names[:i]), e.Name), w.names[i+1:])
	return nil, nil
}

// choose picks the server that ~local or ~any stands for and dials it.
func (r *Resolver[S]) choose(ctx context.Context, path, which string, list []Entry) (e Entry, s S, err error) {
	var local, others []Entry
	for _, e := range list {
		if r.cfg.Here != nil && r.cfg.Here(e.Link) {
			local = append(local, e)
		} else {
			others = append(others, e)
		}
	}
	shuffle := func(l []Entry) { rand.Shuffle(len(l), func(i, j int) { l[i], l[j] = l[j], l[i] }) }
	shuffle(local)
	if which == Any {
		shuffle(others)
		local = append(local, others...)
	}
	if len(local) == 0 {
		return e, s, api.E(api.NotFound, "path", show(path), "%s: no server of this directory is %s", which, map[string]string{Local: "on this node", Any: "there"}[which])
	}
	for _, e = range local {
		dctx, cancel := context.WithTimeout(ctx, r.cfg.Patience)
		s, err = r.cfg.Dial(dctx, e.Link)
		cancel()
		if err == nil || ctx.Err() != nil {
			return e, s, err
		}
	}
	return e, s, api.E(api.Unavailable, "path", show(path), "%s: none of the %d servers answers; the last: %v", which, len(local), err)
}
