package resolve

import (
	"context"
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
	// equal while they live. Connections are the caller's to keep and to end; they
	// outlive ctx.
	Dial func(ctx context.Context, link tree.Attr) (S, error)
	// Here reports whether a link's server is on the caller's node.
	Here func(link tree.Attr) bool
	// Stat tells what names are at a server, or that it met a link before the last
	// of them. Optional: with it ~any skips servers that were dialled before and
	// do not answer now, and ~local looks for Node's entry before it lists all.
	Stat func(ctx context.Context, s S, names []string) (tree.Attr, *Stop, error)
	// Node is the caller's node, "" if it is not known.
	Node func() string
	// Patience bounds one server of a union, and every listing; default 2 s.
	Patience time.Duration
	// Timeout bounds the dialling of any other server; default 10 s.
	Timeout time.Duration
}

// Resolver finds places. It has no state of its own.
type Resolver[S Server] struct{ cfg Config[S] }

// New returns a Resolver.
func New[S Server](cfg Config[S]) *Resolver[S] {
	if cfg.Patience == 0 {
		cfg.Patience = 2 * time.Second
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 10 * time.Second
	}
	if cfg.Here == nil {
		cfg.Here = func(tree.Attr) bool { return false }
	}
	if cfg.Node == nil {
		cfg.Node = func() string { return "" }
	}
	return &Resolver[S]{cfg}
}

// Op does something with names at a server, or stops at a link. It may be called
// several times, but not again once it has done something. Its deadline is that
// of ctx.
type Op[S Server] func(ctx context.Context, s S, names []string) (*Stop, error)

// Do resolves path until op has done its work there.
func (r *Resolver[S]) Do(ctx context.Context, path string, op Op[S]) error {
	w, err := r.begin(ctx, path)
	if err != nil {
		return err
	}
	for {
		if err := w.choose(ctx); err != nil {
			return err
		}
		stop, err := op(ctx, w.server, w.names)
		if stop == nil || err != nil {
			return err
		}
		if err := w.follow(ctx, *stop); err != nil {
			return err
		}
	}
}

// Ends is Do for what dials a link instead of walking through it, which needs not lead
// to a server of files. Where ~local or ~any is the last name, op is not called: list
// has the links that it may stand for, the best first, which are in a directory of s.
func (r *Resolver[S]) Ends(ctx context.Context, path string, op Op[S]) (list []Entry, s S, err error) {
	w, err := r.begin(ctx, path)
	for err == nil {
		i := union(w.names)
		switch {
		case i < 0:
			var stop *Stop
			if stop, err = op(ctx, w.server, w.names); stop == nil || err != nil {
				return nil, s, err
			}
			err = w.follow(ctx, *stop)
		case i == len(w.names)-1:
			if list, err = w.entries(ctx, i); list != nil || err != nil {
				return list, w.server, err
			}
		default:
			var m *member[S]
			if m, err = w.pick(ctx, i); err == nil && m != nil {
				err = w.take(ctx, i, m)
			}
		}
	}
	return nil, s, err
}

// Abs returns path with its ~local and ~any replaced by the names of the
// servers that they stand for at this moment. Other links stay as they are.
func (r *Resolver[S]) Abs(ctx context.Context, path string) (string, error) {
	names, _, err := Clean(path)
	if err != nil {
		return "", err
	}
	var out []string
	for {
		i := union(names)
		if i < 0 {
			return Join(append(out, names...)), nil
		}
		out = append(out, names[:i]...)
		name, err := r.nameOf(ctx, append(slices.Clip(out), names[i]))
		if err != nil {
			return "", err
		}
		out, names = append(out, name), names[i+1:]
	}
}

// nameOf names the entry that the last of names, ~local or ~any, stands for.
func (r *Resolver[S]) nameOf(ctx context.Context, names []string) (string, error) {
	w, err := r.begin(ctx, Join(names))
	for err == nil {
		// A link before it may lead to a ~local of its own.
		i := union(w.names)
		var m *member[S]
		if m, err = w.pick(ctx, i); err != nil || m == nil {
			continue
		}
		if i == len(w.names)-1 {
			return m.Name, nil
		}
		err = w.take(ctx, i, m)
	}
	return "", err
}

// walk is one resolution under way.
type walk[S Server] struct {
	*Resolver[S]
	path   string
	server S
	base   []string // where server's root is in the realm
	names  []string // from there
	links  int
}

func (r *Resolver[S]) begin(ctx context.Context, path string) (*walk[S], error) {
	names, _, err := Clean(path)
	if err != nil {
		return nil, err
	}
	w := &walk[S]{Resolver: r, path: path, names: names}
	w.server, err = r.cfg.Root(ctx)
	return w, err
}

func (w *walk[S]) e(kind api.Kind, format string, args ...any) error {
	return api.E(kind, "path", show(w.path), format, args...)
}

// nonsense is an answer that no honest server gives.
func (w *walk[S]) nonsense(format string, args ...any) error {
	return w.e(api.Unavailable, "the server of %s makes no sense: "+format, append([]any{show(Join(w.base))}, args...)...)
}

func (w *walk[S]) count() error {
	if w.links++; w.links > MaxLinks {
		return w.e(api.Loop, "more than %d links; do they lead in a circle?", MaxLinks)
	}
	return nil
}

// follow goes on behind a link.
func (w *walk[S]) follow(ctx context.Context, s Stop) error {
	if err := w.count(); err != nil {
		return err
	}
	if s.Names < 1 || s.Names > len(w.names) {
		return w.nonsense("it stopped behind %d of %d names", s.Names, len(w.names))
	}
	at, rest := w.names[:s.Names], w.names[s.Names:]
	switch t := s.Link.Mode & tree.ModeType; t {
	case tree.ModeSymlink:
		return w.restart(ctx, at, s.Link.Target, rest)
	case tree.ModeEndpoint:
		srv, err := w.dial(ctx, s.Link, w.cfg.Timeout)
		if err == nil {
			w.enter(srv, at, rest)
		}
		return err
	default:
		return w.nonsense("it stopped at %s, which is no link but of type %o", show(Join(at)), t)
	}
}

// dial connects to the server behind an endpoint link, within limit.
func (w *walk[S]) dial(ctx context.Context, link tree.Attr, limit time.Duration) (s S, err error) {
	err = w.ask(ctx, limit, func(ctx context.Context) (err error) {
		s, err = w.cfg.Dial(ctx, link)
		return err
	})
	return s, err
}

// ask runs one question with a deadline of its own.
func (w *walk[S]) ask(ctx context.Context, limit time.Duration, question func(ctx context.Context) error) error {
	qctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	err := question(qctx)
	if err != nil && qctx.Err() != nil && ctx.Err() == nil {
		return w.e(api.Unavailable, "a server on the way did not answer within %v", limit)
	}
	return err
}

// enter goes on at another server, whose root is at the names that were walked.
func (w *walk[S]) enter(s S, at, rest []string) {
	w.server, w.base, w.names = s, slices.Concat(w.base, at), slices.Clone(rest)
}

// restart puts a symbolic link's target in its place and begins again: at the
// same server where the path still leads through it, else at the root.
func (w *walk[S]) restart(ctx context.Context, at []string, target string, rest []string) error {
	if target == "" {
		return w.e(api.NotFound, "a symbolic link on the way is empty")
	}
	path := target
	if target[0] != '/' {
		dir := slices.Concat(w.base, at[:len(at)-1])
		path = Join(dir) + "/" + target
	}
	names, _, err := Clean(path)
	if err != nil {
		return w.e(api.KindOf(err), "the link %s leads nowhere: %v", show(Join(slices.Concat(w.base, at))), err)
	}
	names = append(names, rest...)
	if len(names) > maxNames || len(Join(names)) > tree.MaxPath {
		return w.e(api.TooLarge, "its links make it longer than %d names or %d bytes", maxNames, tree.MaxPath)
	}
	if len(w.base) <= len(names) && slices.Equal(w.base, names[:len(w.base)]) {
		w.names = names[len(w.base):]
		return nil
	}
	root, err := w.cfg.Root(ctx)
	w.server, w.base, w.names = root, nil, names
	return err
}
