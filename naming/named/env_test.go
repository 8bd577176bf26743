package named

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// One etcd serves all tests of the package; each has realms of its own.
var shared struct {
	once sync.Once
	dir  string
	peer *Peer
	err  error
}

func TestMain(m *testing.M) {
	if arg := os.Getenv(childEnv); arg != "" {
		if err := child(arg); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	code := m.Run()
	if shared.peer != nil {
		shared.peer.Close()
	}
	if shared.dir != "" {
		os.RemoveAll(shared.dir)
	}
	os.Exit(code)
}

func etcd(t testing.TB) *clientv3.Client {
	t.Helper()
	shared.once.Do(func() {
		if shared.dir, shared.err = os.MkdirTemp("", "named"); shared.err == nil {
			// A lease of etcd is at least one and a half elections long.
			shared.peer, shared.err = StartPeer(context.Background(), PeerConfig{Name: "n1", DataDir: filepath.Join(shared.dir, "data"),
				RunDir: shared.dir, Logger: slog.New(slog.DiscardHandler), Tick: 20 * time.Millisecond})
		}
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.peer.Client()
}

var realmCount atomic.Int32

// newRealm writes a realm's record and returns its id.
func newRealm(t testing.TB) string {
	t.Helper()
	id := fmt.Sprintf("realm%d", realmCount.Add(1))
	if _, err := etcd(t).Put(context.Background(), realmPrefix+id, "{}"); err != nil {
		t.Fatal(err)
	}
	return id
}

// line is a client's way to etcd that a test can cut.
type line struct {
	Etcd
	mode atomic.Int32
	gate atomic.Pointer[chan struct{}] // closed when a pause ends

	untold atomic.Bool // what watches would tell waits

	lost       atomic.Int64 // requests to read or write that were not answered
	asked      atomic.Int64 // requests to read or write
	answered   atomic.Int64
	kept       atomic.Int64                // renewals of the lease that were sent
	late       atomic.Pointer[clientv3.Op] // the next request is kept here; the network delivers it later
	counting   atomic.Bool
	ops, bytes atomic.Int64 // written by transactions
}

func newLine(t testing.TB) *line {
	l := &line{Etcd: etcd(t)}
	l.late.Store(new(clientv3.Op)) // nothing is to be late
	return l
}

const (
	whole       = iota
	dropAsks    // nothing gets through
	dropAnswers // things happen, but nobody hears
)

func testLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// through applies the line's state around one request.
func (l *line) through(ctx context.Context, do func() error) error {
	l.wait()
	switch l.mode.Load() {
	case dropAsks:
		<-ctx.Done()
		return ctx.Err()
	case dropAnswers:
		do()
		<-ctx.Done()
		return ctx.Err()
	}
	err := do()
	if l.mode.Load() != whole { // cut while it was on its way
		<-ctx.Done()
		return ctx.Err()
	}
	return err
}

// pause stops everything that goes through the line, and what calls wait.
func (l *line) pause() { c := make(chan struct{}); l.gate.Store(&c) }

func (l *line) resume() {
	if c := l.gate.Swap(nil); c != nil {
		close(*c)
	}
}

func (l *line) wait() {
	if c := l.gate.Load(); c != nil {
		<-*c
	}
}

func (l *line) Do(ctx context.Context, op clientv3.Op) (resp clientv3.OpResponse, err error) {
	l.count(op)
	l.asked.Add(1)
	defer l.answered.Add(1)
	if l.mode.Load() != whole {
		l.lost.Add(1)
	}
	if l.late.CompareAndSwap(nil, &op) {
		<-ctx.Done()
		return resp, ctx.Err()
	}
	err2 := l.through(ctx, func() error { resp, err = l.Etcd.Do(ctx, op); return err })
	return resp, err2
}

func (l *line) count(op clientv3.Op) {
	if !l.counting.Load() || !op.IsTxn() {
		return
	}
	_, then, _ := op.Txn()
	for _, o := range then {
		l.ops.Add(1)
		l.bytes.Add(int64(len(o.KeyBytes()) + len(o.ValueBytes())))
	}
}

func (l *line) Grant(ctx context.Context, ttl int64) (resp *clientv3.LeaseGrantResponse, err error) {
	err2 := l.through(ctx, func() error { resp, err = l.Etcd.Grant(ctx, ttl); return err })
	return resp, err2
}

func (l *line) KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (resp *clientv3.LeaseKeepAliveResponse, err error) {
	l.kept.Add(1)
	err2 := l.through(ctx, func() error { resp, err = l.Etcd.KeepAliveOnce(ctx, id); return err })
	return resp, err2
}

func (l *line) Revoke(ctx context.Context, id clientv3.LeaseID) (resp *clientv3.LeaseRevokeResponse, err error) {
	err2 := l.through(ctx, func() error { resp, err = l.Etcd.Revoke(ctx, id); return err })
	return resp, err2
}

// Watch delivers nothing while the line is cut or paused.
func (l *line) Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan {
	in, out := l.Etcd.Watch(ctx, key, opts...), make(chan clientv3.WatchResponse)
	go func() {
		defer close(out)
		for resp := range in {
			for l.mode.Load() != whole || l.gate.Load() != nil || l.untold.Load() {
				select {
				case <-ctx.Done():
					return
				case <-time.After(time.Millisecond):
				}
			}
			select {
			case out <- resp:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out
}

// host is one node: its Trees and its line to etcd.
type host struct {
	*Trees
	line *line
}

func newHost(t testing.TB, name string, change func(*Config)) *host {
	t.Helper()
	h := &host{line: newLine(t)}
	cfg := Config{Etcd: h.line, Node: name, Logger: testLog(), LeaseTTL: 10 * time.Second} // no test waits for its end unless it says so
	if change != nil {
		change(&cfg)
	}
	var err error
	if h.Trees, err = NewTrees(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		h.line.resume()
		h.line.mode.Store(whole)
		h.Close()
	})
	return h
}

// tctx ends with the test, and after a minute.
func tctx(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func as(realm, user string) api.Caller {
	return api.Caller{Node: "n1", Realm: realm, User: user, Operator: user == ""}
}

// tree is the host's tree of a realm, as soon as it leads it.
func (h *host) tree(t testing.TB, realm string) *realmFS {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		fs, err := h.Tree(tctx(t), realm)
		if err == nil && fs.(*realmFS).term.valid() == nil {
			return fs.(*realmFS)
		}
		if time.Now().After(end) {
			t.Fatalf("%s does not come to lead %s: %v", h.cfg.Node, realm, err)
		}
	}
}

// root is the realm's root for a user.
func (h *host) root(t testing.TB, realm, user string) tree.File {
	t.Helper()
	f, err := h.tree(t, realm).Attach(tctx(t), as(realm, user), "", nil)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	return f
}

func put(t testing.TB, dir tree.File, name, data string) tree.Attr {
	t.Helper()
	a, err := dir.Put(tctx(t), name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: []byte(data)})
	if err != nil {
		t.Fatalf("Put(%q): %v", name, err)
	}
	return a
}

func mkdir(t testing.TB, dir tree.File, name string, perm uint32) tree.File {
	t.Helper()
	f, err := dir.Create(tctx(t), name, tree.NewFile{Mode: tree.ModeDir | perm, Exclusive: true})
	if err != nil {
		t.Fatalf("Create(%q): %v", name, err)
	}
	return f
}

// get reads a small file in a directory.
func get(ctx context.Context, dir tree.File, path string) (string, error) {
	f := dir
	for _, name := range strings.Split(path, "/") {
		var err error
		if f, err = f.Walk(ctx, name); err != nil {
			return "", err
		}
	}
	h, err := f.Open(ctx, tree.OpenMode{Read: true})
	if err != nil {
		return "", err
	}
	defer h.Close()
	buf := make([]byte, maxFileSize+1)
	n, err := h.ReadAt(ctx, buf, 0)
	if n < len(buf) && err.Error() != "EOF" {
		return "", err
	}
	return string(buf[:n]), nil
}

func wantFile(t testing.TB, dir tree.File, path, want string) {
	t.Helper()
	if got, err := get(tctx(t), dir, path); err != nil || got != want {
		t.Errorf("%s holds %.60q, %v, want %.60q", path, got, err, want)
	}
}

func wantKind(t testing.TB, err error, call string, want api.Kind) {
	t.Helper()
	if api.KindOf(err) != want {
		t.Errorf("%s: kind %q (%v), want %q", call, api.KindOf(err), err, want)
	}
}

// eventually waits for what happens by itself.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("after 20 s still not: %s", what)
		}
	}
}
