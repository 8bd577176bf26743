package ninep

import (
	"context"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// pair is a connected pair of stream sockets.
func pair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		out[i], err = net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
	}
	return out[0], out[1]
}

func caller(user string) api.Caller {
	return api.Caller{Node: "n1", Realm: "r1", User: user, Operator: user == ""}
}

// serve serves fs to c and returns the other end; when the test ends, so does
// the server.
func serve(t testing.TB, c api.Caller, fs tree.FS, o Options) net.Conn {
	t.Helper()
	a, b := pair(t)
	serveOn(t, a, c, fs, o)
	t.Cleanup(func() { b.Close() })
	return b
}

func serveOn(t testing.TB, conn Conn, c api.Caller, fs tree.FS, o Options) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { Serve(ctx, conn, c, fs, o) })
	t.Cleanup(func() { cancel(); wg.Wait() })
}

func connect(t testing.TB, conn Conn) *Client { return connectAs(t, conn, versionSigma) }

func connectAs(t testing.TB, conn Conn, version string) *Client {
	t.Helper()
	c, err := newClient(ctxOf(t), conn, version)
	if err != nil {
		t.Fatalf("NewClient: %v", err)
	}
	if c.Sigma() != (version == versionSigma) {
		t.Fatalf("a client that asks for %s has σ: %v", version, c.Sigma())
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func ctxOf(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func newMem(t testing.TB, o memfs.Options) *memfs.FS {
	fs := memfs.New(o)
	t.Cleanup(func() { fs.Close() })
	return fs
}

// perCaller is a tree on the other side of one connection for each caller.
type perCaller struct {
	t       *testing.T
	fs      tree.FS
	o       Options
	version string // that clients ask for

	mu    sync.Mutex
	conns map[string]Remote
}

func (p *perCaller) remote(c api.Caller) Remote {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.conns == nil {
		p.conns = make(map[string]Remote)
	}
	r, ok := p.conns[c.User]
	if !ok {
		r = Remote{connectAs(p.t, serve(p.t, c, p.fs, p.o), p.version)}
		p.conns[c.User] = r
	}
	return r
}

func (p *perCaller) Attach(ctx context.Context, c api.Caller, aname string, fence *tree.Fence) (tree.File, error) {
	return p.remote(c).Attach(ctx, c, aname, fence)
}

func (p *perCaller) Grant(ctx context.Context, c api.Caller, ttl time.Duration) (string, error) {
	return p.remote(c).Grant(ctx, c, ttl)
}

func (p *perCaller) Renew(ctx context.Context, c api.Caller, lease string) error {
	return p.remote(c).Renew(ctx, c, lease)
}

func (p *perCaller) Revoke(ctx context.Context, c api.Caller, lease string) error {
	return p.remote(c).Revoke(ctx, c, lease)
}
