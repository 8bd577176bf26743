// Package viewtest is a realm for tests of what shows one: trees in memory, each
// behind a connection of its own as servers are, which a test can cut.
package viewtest

import (
	"context"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
	"sigmaos/net/fdpass"
)

// Realm is a view.Source. The tree of name "" is the root; an endpoint link with a
// tree's name as its target leads to that.
type Realm struct {
	t      testing.TB
	Caller api.Caller
	Local  string // the target that ~local means
	servers
}

// servers are shared by all callers' realms.
type servers struct {
	mu    *sync.Mutex
	trees map[string]*Tree
}

// Tree is one server of a Realm.
type Tree struct {
	FS tree.FS

	mu    sync.Mutex
	dead  bool
	mute  bool
	conns []*conn
	dials int
}

type conn struct {
	of   *Realm
	c    *ninep.Client
	root *ninep.Fid
	stop func()
}

// New makes a realm whose root is fs; nil: an empty one in memory.
func New(t testing.TB, fs tree.FS) *Realm {
	t.Helper()
	r := &Realm{t: t, Caller: api.Caller{Node: "n1", Realm: "r1", Operator: true}}
	r.servers = servers{mu: new(sync.Mutex), trees: make(map[string]*Tree)}
	r.Add("", fs)
	t.Cleanup(r.close)
	return r
}

// As is the same realm for another caller, with connections of its own.
func (r *Realm) As(c api.Caller) *Realm {
	return &Realm{t: r.t, Caller: c, Local: r.Local, servers: r.servers}
}

// Add makes a server; nil: of an empty tree in memory.
func (r *Realm) Add(name string, fs tree.FS) *Tree {
	if fs == nil {
		m := memfs.New(memfs.Options{MaxBytes: 256 << 20})
		r.t.Cleanup(func() { m.Close() })
		fs = m
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	t := &Tree{FS: fs}
	r.trees[name] = t
	return t
}

// Tree returns a server.
func (r *Realm) Tree(name string) *Tree {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.trees[name]
}

func (r *Realm) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, t := range r.trees {
		t.Cut()
	}
}

// Root connects with the root.
func (r *Realm) Root(ctx context.Context) (*ninep.Fid, error) {
	return r.reach(ctx, "")
}

// Through connects with what a link leads to.
func (r *Realm) Through(ctx context.Context, link tree.Attr) (*ninep.Fid, error) {
	return r.reach(ctx, link.Target)
}

// Here reports whether a link is the local one.
func (r *Realm) Here(link tree.Attr) bool { return r.Local != "" && link.Target == r.Local }

func (r *Realm) reach(ctx context.Context, name string) (*ninep.Fid, error) {
	t := r.Tree(name)
	if t == nil {
		return nil, api.E(api.NotFound, "dial", name, "nobody listens there")
	}
	return t.connect(ctx, r)
}

// Kill cuts the server off and keeps it from being reached; Revive ends that.
func (t *Tree) Kill() {
	t.mu.Lock()
	t.dead = true
	t.mu.Unlock()
	t.Cut()
}

// Revive lets the server be reached again.
func (t *Tree) Revive() { t.mu.Lock(); defer t.mu.Unlock(); t.dead, t.mute = false, false }

// Mute makes the server one that does not answer who connects.
func (t *Tree) Mute() { t.mu.Lock(); defer t.mu.Unlock(); t.mute = true }

// Dials is how often somebody tried to connect.
func (t *Tree) Dials() int { t.mu.Lock(); defer t.mu.Unlock(); return t.dials }

// Cut ends the connections with the server.
func (t *Tree) Cut() {
	t.mu.Lock()
	list := t.conns
	t.conns = nil
	t.mu.Unlock()
	for _, c := range list {
		c.c.Close()
		c.stop()
	}
}

func (t *Tree) connect(ctx context.Context, of *Realm) (*ninep.Fid, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, k := range t.conns {
		select {
		case <-k.root.Done():
		default:
			if k.of == of {
				return k.root, nil
			}
		}
	}
	t.dials++
	switch {
	case t.dead:
		return nil, api.E(api.Unavailable, "dial", "", "its node is dead")
	case t.mute:
		<-ctx.Done()
		return nil, ctx.Err()
	}
	k, err := connect(ctx, t.FS, of.Caller)
	if err != nil {
		return nil, err
	}
	k.of = of
	t.conns = append(t.conns, k)
	return k.root, nil
}

func connect(ctx context.Context, fs tree.FS, c api.Caller) (*conn, error) {
	a, b, err := pair()
	if err != nil {
		return nil, err
	}
	sctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { ninep.Serve(sctx, a, c, fs, ninep.Options{}) })
	k := &conn{stop: func() { cancel(); wg.Wait() }}
	if k.c, err = ninep.NewClient(ctx, b); err == nil {
		k.root, _, err = k.c.Attach(ctx, "", nil)
	}
	if err != nil {
		k.stop()
	}
	return k, err
}

// pair is a connected pair of stream sockets, over which b takes descriptors.
func pair() (a, b *fdpass.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	if a, err = fdpass.New(fds[0]); err != nil {
		unix.Close(fds[1])
		return nil, nil, err
	}
	if b, err = fdpass.New(fds[1], fdpass.Take); err != nil {
		a.Close()
	}
	return a, b, err
}
