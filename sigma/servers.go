package sigma

import (
	"context"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/ninep"
	"sigmaos/naming/resolve/over9p"
	"sigmaos/naming/tree"
)

// server is a connection with who serves a part of the name space.
type server struct {
	c *ninep.Client
	over9p.Server
}

const (
	serverTime = 5 * time.Second  // to reach a server
	maxServers = 1024             // connections that are kept
	idleTime   = 10 * time.Second // after which one that holds nothing may make room
)

// rootTarget is the realm's root. No link leads to it: the target of a link to a
// service has a node.
var rootTarget = api.Target{Service: "named"}

// servers keeps one connection for each target that was dialled. Who asks for a
// target that is being dialled waits for that; each dial is bounded, and does not
// end with the call that began it.
type servers struct {
	dial  func(ctx context.Context, t api.Target) (ninep.Conn, error)
	fence *tree.Fence
	max   int

	mu   sync.Mutex
	list map[api.Target]*reached
	ctx  context.Context // of what is being dialled; Close begins a new one
	stop context.CancelFunc
}

// reached is a server that is being dialled or was.
type reached struct {
	done chan struct{} // closed when s or err is there
	s    *server
	err  error
	used time.Time // guarded by the mu of servers
}

func newServers(dial func(context.Context, api.Target) (ninep.Conn, error), fence *tree.Fence) *servers {
	v := &servers{dial: dial, fence: fence, max: maxServers, list: make(map[api.Target]*reached)}
	v.ctx, v.stop = context.WithCancel(context.Background())
	return v
}

// get returns the living connection to a target, made when there is none.
func (v *servers) get(ctx context.Context, t api.Target) (*server, error) {
	r, old, err := v.find(t)
	if old != nil {
		old.c.Close()
	}
	if err != nil {
		return nil, err
	}
	select {
	case <-r.done:
		return r.s, r.err
	default:
	}
	select {
	case <-r.done:
		return r.s, r.err
	case <-ctx.Done():
		return nil, ended(ctx)
	}
}

// find is the target's entry, begun when there is none. old has made room for it.
func (v *servers) find(t api.Target) (r *reached, old *server, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	r = v.list[t]
	if r == nil || r.over() {
		delete(v.list, t)
		if old, err = v.roomLocked(); err != nil {
			return nil, nil, err
		}
		r = &reached{done: make(chan struct{})}
		v.list[t] = r
		go v.reach(v.ctx, t, r) // close waits for it
	}
	r.used = time.Now()
	return r, old, nil
}

// over reports whether the connection is no more, or never was.
func (r *reached) over() bool {
	select {
	case <-r.done:
	default:
		return false
	}
	if r.err != nil {
		return true
	}
	select {
	case <-r.s.c.Done():
		return true
	default:
		return false
	}
}

// roomLocked makes room for one more: of those that are lost, else of the one
// whose server holds nothing for us and that was not used for longest.
func (v *servers) roomLocked() (old *server, err error) {
	if len(v.list) < v.max {
		return nil, nil
	}
	var idle *reached
	var at api.Target
	for t, r := range v.list {
		switch {
		case r.over():
			delete(v.list, t)
		case t == rootTarget || time.Since(r.used) < idleTime || !r.idle():
		case idle == nil || r.used.Before(idle.used):
			idle, at = r, t
		}
	}
	switch {
	case len(v.list) < v.max:
		return nil, nil
	case idle == nil:
		return nil, api.E(api.Busy, "open", "", "this program uses %d servers of the name space at once; close what is not needed", len(v.list))
	}
	delete(v.list, at)
	return idle.s, nil
}

func (r *reached) idle() bool {
	select {
	case <-r.done:
		return r.err == nil && r.s.c.Idle()
	default:
		return false
	}
}

// reach dials.
func (v *servers) reach(ctx context.Context, t api.Target, r *reached) {
	defer close(r.done)
	ctx, cancel := context.WithTimeout(ctx, serverTime)
	defer cancel()
	conn, err := v.dial(ctx, t)
	if err != nil {
		r.err = err
		return
	}
	if r.s, r.err = v.attach(ctx, conn); r.err != nil && ctx.Err() != nil {
		r.err = api.E(api.Unavailable, "open", "", "what listens there does not serve files, or does not answer")
	}
}

func (v *servers) attach(ctx context.Context, conn ninep.Conn) (*server, error) {
	c, err := ninep.NewClient(ctx, conn)
	if err != nil {
		return nil, err
	}
	root, _, err := c.Attach(ctx, "", v.fence)
	if err != nil {
		c.Close()
		return nil, err
	}
	return &server{c, over9p.Server{Root: root}}, nil
}

// close ends all connections, and those that are being made; get makes new ones.
func (v *servers) close() {
	v.mu.Lock()
	list := v.list
	v.list = make(map[api.Target]*reached)
	v.stop()
	v.ctx, v.stop = context.WithCancel(context.Background())
	v.mu.Unlock()
	for _, r := range list {
		if <-r.done; r.err == nil {
			r.s.c.Close()
		}
	}
}
