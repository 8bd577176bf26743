package roles

import (
	"context"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
)

// way is the node's way through a realm's name space, as one caller: the servers
// that it has dialled, each once, until it is closed.
type way struct {
	s *System
	c api.Caller

	mu      sync.Mutex
	closed  bool
	servers map[api.Target]*pathServer
}

func newWay(s *System, c api.Caller) *way {
	return &way{s: s, c: c, servers: make(map[api.Target]*pathServer)}
}

// server dials a server, unless that was done before and it is still there.
func (w *way) server(ctx context.Context, t api.Target) (*pathServer, error) {
	w.mu.Lock()
	ps := w.servers[t]
	w.mu.Unlock()
	if ps != nil {
		select {
		case <-ps.Root.Done():
		default:
			return ps, nil
		}
	}
	p, err := w.s.Proxy.Dial(ctx, w.c, t)
	if err != nil {
		return nil, err
	}
	conn, err := connOf(p)
	if err != nil {
		return nil, err
	}
	cl, err := ninep.NewClient(ctx, conn)
	if err != nil {
		return nil, err
	}
	root, _, err := cl.Attach(ctx, "", nil)
	if err != nil {
		cl.Close()
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		cl.Close()
		return nil, errWayClosed
	}
	if old := w.servers[t]; old != nil && old != ps { // somebody else was faster
		cl.Close()
		return old, nil
	} else if old != nil {
		old.c.Close()
	}
	ps = &pathServer{c: cl, Server: over9p.Server{Root: root}, own: t == (api.Target{Service: namedService})}
	w.servers[t] = ps
	return ps, nil
}

var errWayClosed = api.E(api.Unavailable, "dial", "", "the node is stopping")

func (w *way) resolver() *resolve.Resolver[*pathServer] {
	return resolve.New(resolve.Config[*pathServer]{
		Root: func(ctx context.Context) (*pathServer, error) {
			return w.server(ctx, api.Target{Service: namedService})
		},
		Dial: func(ctx context.Context, link tree.Attr) (*pathServer, error) { return w.server(ctx, linkTarget(link)) },
		Stat: func(ctx context.Context, ps *pathServer, names []string) (tree.Attr, *resolve.Stop, error) {
			return ps.Stat(ctx, names)
		},
		Node: func() string { return w.s.Config.Node },
		Here: func(link tree.Attr) bool {
			t := linkTarget(link)
			node, _, _, ok := t.Endpoint.Parse()
			return ok && node == w.s.nodeNum || t.Service != "" && t.Node == w.s.Config.Node
		},
	})
}

func (w *way) close() {
	w.mu.Lock()
	list := w.servers
	w.closed, w.servers = true, nil
	w.mu.Unlock()
	for _, ps := range list {
		ps.c.Close()
	}
}

// How many ways are kept, and how long behind their last user.
const (
	maxWays = 64
	wayTime = 10 * time.Second
)

// ways keeps those of the callers of this moment.
type ways struct {
	s *System

	mu     sync.Mutex
	closed bool
	kept   map[wayKey]*keptWay
}

// wayKey is what servers see of a caller, but for which of its procs it is.
type wayKey struct {
	realm, user string
	class       api.Class
	operator    bool
}

type keptWay struct {
	*way
	users int
	idle  *time.Timer
}

func newWays(s *System) *ways { return &ways{s: s, kept: make(map[wayKey]*keptWay)} }

// enter is c's way until it calls leave.
func (ws *ways) enter(c api.Caller) (w *way, leave func(), err error) {
	c.Proc, c.Address = "", ""
	k := wayKey{c.Realm, c.User, c.Class, c.Operator}
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if ws.closed {
		return nil, nil, errWayClosed
	}
	kept := ws.kept[k]
	if kept == nil {
		if len(ws.kept) >= maxWays {
			w := newWay(ws.s, c)
			return w, w.close, nil
		}
		kept = &keptWay{way: newWay(ws.s, c)}
		ws.kept[k] = kept
	}
	if kept.idle != nil {
		kept.idle.Stop()
	}
	kept.users++
	return kept.way, func() { ws.leave(k, kept) }, nil
}

func (ws *ways) leave(k wayKey, kept *keptWay) {
	ws.mu.Lock()
	defer ws.mu.Unlock()
	if kept.users--; kept.users > 0 || ws.closed {
		return
	}
	kept.idle = time.AfterFunc(wayTime, func() {
		ws.mu.Lock()
		over := kept.users == 0 && ws.kept[k] == kept
		if over {
			delete(ws.kept, k)
		}
		ws.mu.Unlock()
		if over {
			kept.close()
		}
	})
}

func (ws *ways) close() error {
	ws.mu.Lock()
	ws.closed = true
	list := ws.kept
	ws.kept = nil
	ws.mu.Unlock()
	for _, kept := range list {
		if kept.idle != nil {
			kept.idle.Stop()
		}
		kept.way.close()
	}
	return nil
}
