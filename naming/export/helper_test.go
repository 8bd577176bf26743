package export

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hugelgupf/p9/p9"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
	"sigmaos/naming/view/viewtest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is a Listener before a realm whose tree "box" stands behind the link /box.
type world struct {
	*Listener
	t     *testing.T
	realm *viewtest.Realm

	mu     sync.Mutex
	tokens map[string]api.Caller
	checks atomic.Int64
	open   atomic.Int64 // sources
}

var (
	ann = api.Caller{Realm: "r1", User: "ann"}
	bob = api.Caller{Realm: "r1", User: "bob"}
	eve = api.Caller{Realm: "r2", User: "eve"}
)

func newWorld(t *testing.T, change func(*Config)) *world {
	t.Helper()
	m := memfs.New(memfs.Options{Mode: 0o777})
	t.Cleanup(func() { m.Close() })
	w := &world{t: t, realm: viewtest.New(t, m), tokens: map[string]api.Caller{"v4.ann": ann, "v4.ann-2": ann, "v4.bob": bob, "v4.eve": eve}}
	box := memfs.New(memfs.Options{Mode: 0o777})
	t.Cleanup(func() { box.Close() })
	w.realm.Add("box", box)
	root, err := m.Attach(t.Context(), w.realm.Caller, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]tree.NewFile{"box": {Target: "box"}, "outside": {Target: "box", Published: true}} {
		f.Mode = tree.ModeEndpoint | 0o666
		if _, err := root.Create(t.Context(), name, f); err != nil {
			t.Fatal(err)
		}
	}
	cfg := Config{
		Addr: "127.0.0.1:0", From: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/16")}, Node: "n1", Check: w.check,
		Open: func(c api.Caller) Source {
			w.open.Add(1)
			return &source{w.realm.As(c), w}
		},
		Log: slog.New(slog.NewTextHandler(io.Discard, nil)), WrongDelay: 10 * time.Millisecond,
	}
	if change != nil {
		change(&cfg)
	}
	if w.Listener, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		w.Close()
		if n := w.open.Load(); n != 0 {
			t.Errorf("%d sources are open", n)
		}
		if a, b := w.strange.Count(), w.clients.Count(); a != 0 || b != 0 {
			t.Errorf("%d strangers and %d clients are still counted", a, b)
		}
	})
	return w
}

type source struct {
	*viewtest.Realm
	w *world
}

func (s *source) Close() error { s.w.open.Add(-1); return nil }

func (w *world) check(token string) (api.Caller, error) {
	w.checks.Add(1)
	w.mu.Lock()
	defer w.mu.Unlock()
	c, ok := w.tokens[token]
	if !ok {
		return c, errors.New("the realm's token is not valid here")
	}
	return c, nil
}

func (w *world) revoke(token string) { w.mu.Lock(); defer w.mu.Unlock(); delete(w.tokens, token) }

func (w *world) dial() net.Conn {
	w.t.Helper()
	c, err := net.Dial("tcp", w.Addr())
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c
}

// client is hugelgupf/p9's, and its connection.
func (w *world) client() (*p9.Client, net.Conn) {
	w.t.Helper()
	conn := w.dial()
	c, err := p9.NewClient(conn)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { c.Close() })
	return c, conn
}

func (w *world) attach(name string) p9.File {
	w.t.Helper()
	c, _ := w.client()
	f, err := c.Attach(name)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

func ok(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// write makes a file.
func write(t *testing.T, dir p9.File, name, data string) {
	t.Helper()
	_, d, err := dir.Walk(nil)
	ok(t, "clone", err)
	f, _, _, err := d.Create(name, p9.WriteOnly, 0o644, 0, 0)
	ok(t, "create "+name, err)
	n, err := f.WriteAt([]byte(data), 0)
	if err != nil || n != len(data) {
		t.Fatalf("write %s: %d, %v", name, n, err)
	}
	ok(t, "close "+name, f.Close())
}

// read returns a file's content.
func read(t *testing.T, dir p9.File, path ...string) string {
	t.Helper()
	_, f, err := dir.Walk(path)
	ok(t, "walk to "+strings.Join(path, "/"), err)
	_, _, err = f.Open(p9.ReadOnly)
	ok(t, "open", err)
	defer f.Close()
	b := make([]byte, 1<<20)
	n, err := f.ReadAt(b, 0)
	if err != nil && err != io.EOF {
		t.Fatalf("read %s: %v", strings.Join(path, "/"), err)
	}
	return string(b[:n])
}

// ends returns when the other side has ended c.
func ends(t *testing.T, what string, c net.Conn) {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(20 * time.Second))
	if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: the connection does not end", what)
	}
}

func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not in 20 s: %s", what)
		}
	}
}

// tool runs a program of Debian's package diod.
func tool(t *testing.T, name string, args ...string) string {
	t.Helper()
	path := "/usr/sbin/" + name
	if _, err := os.Stat(path); err != nil {
		t.Skipf("%s is not installed (apt-get install diod)", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
