package resolve

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// world is a realm of servers in memory. Endpoint links lead to the server whose
// name is their target; the node of server "x@n" is n.
type world struct {
	servers map[string]*server
	asked   []string // every question, as "server verb /names"
	noStat  bool
}

type server struct {
	w    *world
	name string
	root *node
	dead bool // it takes connections, and answers nothing
	down bool // it takes no connections
	// answer, when set, is what the server says to everything.
	answer func(names []string) (tree.Attr, []Entry, *Stop, error)
}

type node struct {
	mode   uint32
	target string
	kids   map[string]*node
}

// realm makes a world from lines "SERVER:PATH", "SERVER:PATH -> TARGET" (a
// symbolic link) and "SERVER:PATH => SERVER" (an endpoint link). A path that ends
// in a slash is a directory.
func realm(lines ...string) *world {
	w := &world{servers: make(map[string]*server)}
	w.server("root")
	for _, line := range lines {
		name, rest, _ := strings.Cut(line, ":")
		path, target, sym := strings.Cut(rest, " -> ")
		n := &node{mode: tree.ModeFile, target: target}
		if sym {
			n.mode = tree.ModeSymlink
		} else if p, to, ep := strings.Cut(rest, " => "); ep {
			path, n.mode, n.target = p, tree.ModeEndpoint, to
			if to != "nowhere" {
				w.server(to)
			}
		} else if strings.HasSuffix(path, "/") {
			n.mode, n.kids = tree.ModeDir, make(map[string]*node)
		}
		at := w.server(name).root
		names := strings.FieldsFunc(path, func(r rune) bool { return r == '/' })
		for _, d := range names[:len(names)-1] {
			if at.kids[d] == nil {
				at.kids[d] = &node{mode: tree.ModeDir, kids: make(map[string]*node)}
			}
			at = at.kids[d]
		}
		at.kids[names[len(names)-1]] = n
	}
	return w
}

func (w *world) server(name string) *server {
	if w.servers[name] == nil {
		w.servers[name] = &server{w: w, name: name, root: &node{mode: tree.ModeDir, kids: make(map[string]*node)}}
	}
	return w.servers[name]
}

// resolver is one on node n1.
func (w *world) resolver() *Resolver[*server] {
	cfg := Config[*server]{
		Root:     func(context.Context) (*server, error) { return w.servers["root"], nil },
		Dial:     w.dial,
		Here:     func(l tree.Attr) bool { return strings.HasSuffix(l.Target, "@n1") },
		Node:     func() string { return "n1" },
		Patience: 50 * time.Millisecond, Timeout: 50 * time.Millisecond,
	}
	if !w.noStat {
		cfg.Stat = func(ctx context.Context, s *server, names []string) (tree.Attr, *Stop, error) {
			return s.walk(ctx, "stat", names, false)
		}
	}
	return New(cfg)
}

func (w *world) dial(ctx context.Context, l tree.Attr) (*server, error) {
	w.asked = append(w.asked, "dial "+l.Target)
	s := w.servers[l.Target]
	switch {
	case s == nil:
		return nil, api.E(api.Unavailable, "dial", l.Target, "nobody listens there")
	case s.down:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return s, nil
}

func (n *node) attr() tree.Attr { return tree.Attr{Mode: n.mode | 0o644, Target: n.target} }

// walk does what a server does with names: up to the first link, or with the
// last one even if that is a link.
func (s *server) walk(ctx context.Context, verb string, names []string, follow bool) (tree.Attr, *Stop, error) {
	s.w.asked = append(s.w.asked, fmt.Sprintf("%s %s %s", s.name, verb, Join(names)))
	if s.dead {
		<-ctx.Done()
		return tree.Attr{}, nil, ctx.Err()
	}
	if s.answer != nil {
		a, _, stop, err := s.answer(names)
		return a, stop, err
	}
	at := s.root
	for i, name := range names {
		if at.mode != tree.ModeDir {
			return tree.Attr{}, nil, api.E(api.NotDir, verb, name, "no directory")
		}
		if at = at.kids[name]; at == nil {
			return tree.Attr{}, nil, api.E(api.NotFound, verb, name, "no such file")
		}
		if link := at.mode == tree.ModeSymlink || at.mode == tree.ModeEndpoint; link && (follow || i < len(names)-1) {
			return tree.Attr{}, &Stop{i + 1, at.attr()}, nil
		}
	}
	return at.attr(), nil, nil
}

func (s *server) Links(ctx context.Context, names []string) (out []Entry, stop *Stop, err error) {
	if s.answer != nil {
		_, out, stop, err = s.answer(names)
		return out, stop, err
	}
	if _, stop, err := s.walk(ctx, "links", names, true); err != nil || stop != nil {
		return nil, stop, err
	}
	at := s.root
	for _, name := range names {
		at = at.kids[name]
	}
	if at.mode != tree.ModeDir {
		return nil, nil, api.E(api.NotDir, "links", Join(names), "no directory")
	}
	for name, n := range at.kids {
		if n.mode == tree.ModeEndpoint {
			out = append(out, Entry{name, n.attr()})
		}
	}
	slices.SortFunc(out, func(a, b Entry) int { return strings.Compare(a.Name, b.Name) })
	return out, nil, nil
}

// get is where path leads: "server /names".
func (w *world) get(path string) (string, error) { return w.run(path, true) }

// lget does not follow a link that is the last name.
func (w *world) lget(path string) (string, error) { return w.run(path, false) }

func (w *world) run(path string, follow bool) (at string, err error) {
	w.asked = nil
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	err = w.resolver().Do(ctx, path, func(ctx context.Context, s *server, names []string) (*Stop, error) {
		in, cancel := context.WithTimeout(ctx, 50*time.Millisecond) // the caller's own
		defer cancel()
		_, stop, err := s.walk(in, "get", names, follow)
		if stop == nil && err == nil {
			at = s.name + " " + Join(names)
		}
		if errors.Is(err, context.DeadlineExceeded) {
			err = api.E(api.Unavailable, "get", path, "no answer")
		}
		return stop, err
	})
	return at, err
}

func leads(t *testing.T, w *world, path, want string) {
	t.Helper()
	if got, err := w.get(path); err != nil || got != want {
		t.Errorf("%.100q leads to %q, %v, want %q; asked %q", path, got, err, want, w.asked)
	}
}

func fails(t *testing.T, w *world, path string, want api.Kind, says ...string) {
	t.Helper()
	got, err := w.get(path)
	if api.KindOf(err) != want {
		t.Errorf("%.100q leads to %q, kind %q (%v), want %q; asked %q", path, got, api.KindOf(err), err, want, w.asked)
		return
	}
	for _, s := range says {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("%.100q fails with %q, which does not say %q", path, err, s)
		}
	}
}
