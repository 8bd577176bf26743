package sigma

import (
	"context"
	"fmt"
	"io/fs"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/memfs"
	"sigmaos/naming/ninep"
	"sigmaos/naming/tree"
)

// peers serve a tree in memory to whoever dials.
type peers struct {
	t     *testing.T
	fs    tree.FS
	gate  chan struct{} // where it is there, dials wait for it, whatever their ctx says
	dials atomic.Int64
	open  atomic.Int64 // connections that are served
	wg    sync.WaitGroup
}

func newPeers(t *testing.T) *peers {
	t.Helper()
	m := memfs.New(memfs.Options{Mode: 0o777})
	p := &peers{t: t, fs: m}
	t.Cleanup(func() {
		p.wg.Wait()
		m.Close()
		leaktest.None(t)
	})
	return p
}

func (p *peers) dial(_ context.Context, t api.Target) (ninep.Conn, error) {
	p.dials.Add(1)
	if p.gate != nil {
		<-p.gate
	}
	if t.Service == "dead" {
		return nil, api.E(api.Unavailable, "dial", t.Service, "its node is dead")
	}
	a, b := net.Pipe()
	p.open.Add(1)
	p.wg.Go(func() {
		defer p.open.Add(-1)
		ninep.Serve(context.Background(), a, api.Caller{Realm: "r1"}, p.fs, ninep.Options{})
	})
	return b, nil
}

func service(i int) api.Target { return api.Target{Service: fmt.Sprint("s", i), Node: "n1"} }

func TestATargetIsDialledOnce(t *testing.T) {
	p := newPeers(t)
	p.gate = make(chan struct{})
	v := newServers(p.dial, nil)
	defer v.close()
	got := make([]*server, 20)
	var wg sync.WaitGroup
	for i := range got {
		wg.Go(func() {
			var err error
			if got[i], err = v.get(t.Context(), service(1)); err != nil {
				t.Error(err)
			}
		})
	}
	// A call that ends does not end the dial that others wait for.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := v.get(ctx, service(1)); api.KindOf(err) != api.Canceled {
		t.Errorf("a call whose ctx has ended: %v", err)
	}
	close(p.gate)
	wg.Wait()
	for i, s := range got {
		if s != got[0] {
			t.Errorf("call %d has a connection of its own", i)
		}
	}
	if n := p.dials.Load(); n != 1 {
		t.Errorf("%d dials", n)
	}
	if _, err := got[0].Root.Stat(t.Context()); err != nil {
		t.Errorf("the connection is not usable: %v", err)
	}
	// A lost one is replaced.
	got[0].c.Close()
	if s, err := v.get(t.Context(), service(1)); err != nil || s == got[0] {
		t.Errorf("after it was lost: %v, %v", s, err)
	}
}

// What is being dialled when the names are closed is not kept, and not left open.
func TestCloseEndsWhatIsBeingDialled(t *testing.T) {
	p := newPeers(t)
	p.gate = make(chan struct{})
	v := newServers(p.dial, nil)
	errs := make(chan error, 1)
	go func() {
		_, err := v.get(t.Context(), service(1))
		errs <- err
	}()
	for p.dials.Load() == 0 {
		time.Sleep(time.Millisecond)
	}
	closed := make(chan struct{})
	go func() { v.close(); close(closed) }()
	for !v.empty() { // until close has begun
		time.Sleep(time.Millisecond)
	}
	close(p.gate)
	<-closed
	if err := <-errs; err == nil {
		t.Error("the call got a connection that was closed")
	}
	p.wg.Wait()
	if n := p.open.Load(); n != 0 {
		t.Errorf("%d connections are left", n)
	}
	p.gate = nil
	if _, err := v.get(t.Context(), service(1)); err != nil {
		t.Errorf("used again after close: %v", err)
	}
	v.close()
}

// empty reports whether nothing is listed.
func (v *servers) empty() bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return len(v.list) == 0
}

func TestServersAreBounded(t *testing.T) {
	p := newPeers(t)
	v := newServers(p.dial, nil)
	v.max = 3
	defer v.close()
	get := func(i int) *server {
		t.Helper()
		s, err := v.get(t.Context(), service(i))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	ago := func(i int, d time.Duration) { v.mu.Lock(); v.list[service(i)].used = time.Now().Add(-d); v.mu.Unlock() }
	one, two, three := get(1), get(2), get(3)
	fid, _, err := one.Root.Walk(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer fid.Forget()
	for i := 1; i <= 3; i++ {
		ago(i, time.Hour)
	}
	ago(3, 2*time.Hour)
	get(2) // lately used
	get(4) // in the place of 3, which holds nothing and was not used for longest
	if _, err := three.Root.Stat(t.Context()); api.KindOf(err) != api.Unavailable {
		t.Errorf("what made room: %v, want kind %q", err, api.Unavailable)
	}
	// 1 holds a place, 2 and 4 were used just now.
	if _, err := v.get(t.Context(), service(5)); api.KindOf(err) != api.Busy {
		t.Errorf("with all in use: %v, want kind %q", err, api.Busy)
	}
	two.c.Close()
	get(5)
	if n := len(v.list); n != 3 {
		t.Errorf("%d are kept", n)
	}
	// Failures keep no room.
	five := get(5)
	five.c.Close()
	for range 10 {
		if _, err := v.get(t.Context(), api.Target{Service: "dead"}); api.KindOf(err) != api.Unavailable || len(v.list) > 3 {
			t.Fatalf("%v, with %d kept", err, len(v.list))
		}
	}
	if _, err := one.Root.Stat(t.Context()); err != nil {
		t.Errorf("one that is in use: %v", err)
	}
}

// A link of a tenant's own server may say anything: nothing of it is the realm's
// root.
func TestALinkDoesNotLeadToTheRoot(t *testing.T) {
	p := newPeers(t)
	n := newNames(nil, nil)
	n.servers = newServers(p.dial, nil)
	defer n.Close()
	for _, target := range []string{"", "svc:", "svc:@", "svc:named", "svc:named@"} {
		if _, err := n.Through(t.Context(), tree.Attr{Mode: tree.ModeEndpoint, Target: target}); api.KindOf(err) != api.NotFound {
			t.Errorf("through a link to %q: %v, want kind %q", target, err, api.NotFound)
		}
	}
	if _, err := n.Through(t.Context(), tree.Attr{Mode: tree.ModeEndpoint, Target: "10.0.0.1:80", Published: true}); api.KindOf(err) != api.NotDir {
		t.Errorf("through a published one: %v, want kind %q", err, api.NotDir)
	}
	if n := p.dials.Load(); n != 0 {
		t.Errorf("%d dials", n)
	}
}

// What is done to a path is done to what it leads to; endpoint links are followed
// where a slash says so.
func TestChmodAndTruncateFollowLinks(t *testing.T) {
	p := newPeers(t)
	n := newNames(nil, nil)
	n.servers = newServers(p.dial, nil)
	defer n.Close()
	ctx := t.Context()
	ok := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	ok(n.Mkdir(ctx, "/d", 0o755))
	_, err := n.PutFile(ctx, "/d/f", []byte("0123456789"))
	ok(err)
	ok(n.Symlink(ctx, "d/f", "/link"))
	ok(n.Symlink(ctx, "link", "/twice"))
	ok(n.Symlink(ctx, "none", "/dangling"))
	ok(n.Symlink(ctx, "round", "/round"))
	ok(n.Publish(ctx, "/svc", "svc:box@n1", "")) // a server of the same tree
	has := func(path string, mode uint32, size int64) {
		t.Helper()
		if i, err := n.Lstat(ctx, path); err != nil || i.Attr.Mode != mode || i.Attr.Size != size {
			t.Errorf("%s has mode %o and %d bytes, %v; want %o, %d", path, i.Attr.Mode, i.Attr.Size, err, mode, size)
		}
	}
	link, err := n.Lstat(ctx, "/twice")
	ok(err)
	for i, path := range []string{"/d/f", "/link", "/twice", "/svc/link", "/svc/twice"} {
		mode := uint32(0o600 + i)
		ok(n.Chmod(ctx, path, fs.FileMode(mode)))
		ok(n.Truncate(ctx, path, int64(i)))
		has("/d/f", tree.ModeFile|mode, int64(i))
	}
	has("/twice", link.Attr.Mode, link.Attr.Size)
	ok(n.Chmod(ctx, "/svc", 0o600))
	has("/svc", tree.ModeEndpoint|0o600, int64(len("svc:box@n1")))
	root, err := n.Stat(ctx, "/")
	ok(err)
	ok(n.Chmod(ctx, "/svc/", 0o770))
	has("/", tree.ModeDir|0o770, root.Attr.Size)
	has("/svc", tree.ModeEndpoint|0o600, int64(len("svc:box@n1")))
	for name, tt := range map[string]struct {
		err  error
		kind api.Kind
	}{
		"a dangling link":             {n.Chmod(ctx, "/dangling", 0o600), api.NotFound},
		"a link to itself":            {n.Chmod(ctx, "/round", 0o600), api.Loop},
		"truncate of a dangling link": {n.Truncate(ctx, "/dangling", 0), api.NotFound},
		"truncate of a directory":     {n.Truncate(ctx, "/d", 0), api.IsDir},
		"truncate of a server's root": {n.Truncate(ctx, "/svc", 0), api.IsDir},
		"a path that is none":         {n.Chmod(ctx, "d", 0o600), api.Invalid},
	} {
		if api.KindOf(tt.err) != tt.kind {
			t.Errorf("%s: %v, want kind %q", name, tt.err, tt.kind)
		}
	}
}
