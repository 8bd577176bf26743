package resolve

import (
	"context"
	"math/rand/v2"
	"slices"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// maxTries is how many servers of one union are tried.
const maxTries = 16

// member is the entry that ~local or ~any stands for.
type member[S Server] struct {
	Entry
	server S
	dialed bool
}

// choose puts servers in the places of every ~local and ~any.
func (w *walk[S]) choose(ctx context.Context) error {
	for {
		i := union(w.names)
		if i < 0 {
			return nil
		}
		m, err := w.pick(ctx, i)
		if err == nil && m != nil {
			err = w.take(ctx, i, m)
		}
		if err != nil {
			return err
		}
	}
}

// take goes on at the server that names[i] stands for.
func (w *walk[S]) take(ctx context.Context, i int, m *member[S]) (err error) {
	if err := w.count(); err != nil {
		return err
	}
	if !m.dialed {
		if m.server, err = w.dial(ctx, m.Link, w.cfg.Patience); err != nil {
			return err
		}
	}
	w.enter(m.server, append(slices.Clone(w.names[:i]), m.Name), w.names[i+1:])
	return nil
}

// pick finds what names[i] stands for. If a link lies before it, that is
// followed, and there is no member yet.
func (w *walk[S]) pick(ctx context.Context, i int) (*member[S], error) {
	list, err := w.entries(ctx, i)
	switch {
	case err != nil || list == nil:
		return nil, err
	case len(list) == 1: // what is done there will tell
		return &member[S]{Entry: list[0]}, nil
	}
	return w.living(ctx, w.union(i), list)
}

// union is the directory above names[i].
func (w *walk[S]) union(i int) string { return show(Join(slices.Concat(w.base, w.names[:i]))) }

// entries are those that names[i] may stand for, the best first. If a link lies before
// it, that is followed, and there are none yet.
func (w *walk[S]) entries(ctx context.Context, i int) ([]Entry, error) {
	above := w.names[:i:i]
	if w.names[i] == Local {
		if e, stop, err := w.own(ctx, above); err != nil || stop != nil {
			return nil, w.before(ctx, i, stop, err)
		} else if e != nil {
			return []Entry{*e}, nil
		}
	}
	var list []Entry
	var stop *Stop
	err := w.ask(ctx, w.cfg.Patience, func(ctx context.Context) (err error) {
		list, stop, err = w.server.Links(ctx, above)
		return err
	})
	if err != nil || stop != nil {
		return nil, w.before(ctx, i, stop, err)
	}
	return w.among(i, slices.DeleteFunc(list, func(e Entry) bool { return !sound(e) }))
}

// before follows a link that was met before names[i].
func (w *walk[S]) before(ctx context.Context, i int, stop *Stop, err error) error {
	switch {
	case err != nil || stop == nil:
		return err
	case stop.Names > i:
		return w.nonsense("it stopped behind %d of %d names", stop.Names, i)
	}
	return w.follow(ctx, *stop)
}

// sound says whether an entry can be what a union has: servers are not trusted
// with names that mean something else in a path.
func sound(e Entry) bool {
	return e.Link.Mode&tree.ModeType == tree.ModeEndpoint && tree.CheckName("path", e.Name) == nil && e.Name != Local && e.Name != Any
}

// own looks at the entry that is called like the caller's node, as those of /ux
// are; nothing of all that: the union must be listed.
func (w *walk[S]) own(ctx context.Context, above []string) (_ *Entry, stop *Stop, err error) {
	e := Entry{Name: w.cfg.Node()}
	if e.Name == "" || w.cfg.Stat == nil {
		return nil, nil, nil
	}
	err = w.ask(ctx, w.cfg.Patience, func(ctx context.Context) (err error) {
		e.Link, stop, err = w.cfg.Stat(ctx, w.server, append(above, e.Name))
		return err
	})
	if stop != nil && stop.Names == len(above)+1 { // Stat may stop at the last name too
		e.Link, stop = stop.Link, nil
	}
	switch {
	case api.KindOf(err) == api.NotFound:
		return nil, nil, nil
	case err != nil || stop != nil:
		return nil, stop, err
	case !sound(e) || !w.cfg.Here(e.Link):
		return nil, nil, nil
	}
	return &e, nil, nil
}

// among has those of a union that names[i] may stand for, in the order in which they
// are tried.
func (w *walk[S]) among(i int, list []Entry) ([]Entry, error) {
	rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	var local, others []Entry
	for _, e := range list {
		if w.cfg.Here(e.Link) {
			local = append(local, e)
		} else {
			others = append(others, e)
		}
	}
	which := w.names[i]
	if which == Any {
		local = append(local, others...)
	}
	switch {
	case len(local) == 0 && which == Local:
		return nil, w.e(api.NotFound, "no server of %s is on this node; %s takes one of another node", w.union(i), Any)
	case len(local) == 0:
		return nil, w.e(api.NotFound, "%s has no servers: no endpoint link is in it", w.union(i))
	}
	return local[:min(len(local), maxTries)], nil
}

// living returns the first of several servers that answers.
func (w *walk[S]) living(ctx context.Context, dir string, list []Entry) (*member[S], error) {
	var last error
	for _, e := range list {
		m := &member[S]{Entry: e, dialed: true}
		last = w.ask(ctx, w.cfg.Patience, func(ctx context.Context) (err error) {
			if m.server, err = w.cfg.Dial(ctx, e.Link); err == nil && w.cfg.Stat != nil {
				_, _, err = w.cfg.Stat(ctx, m.server, nil)
			}
			return err
		})
		switch {
		case last == nil:
			return m, nil
		case ctx.Err() != nil:
			return nil, last
		}
	}
	return nil, w.e(api.Unavailable, "none of %d servers of %s answers; the last: %v", len(list), dir, last)
}
