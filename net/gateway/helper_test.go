package gateway

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/clock"
	"sigmaos/internal/leaktest"
	"sigmaos/net/control"
	"sigmaos/net/dialproxy"
	"sigmaos/net/pki"
	"sigmaos/net/realmtoken"
	"sigmaos/sigma"
	"sigmaos/sigma/outside"
)

var ctx = context.Background()

// world is a node with a gateway: its keys, its proxy, and what its procs do.
type world struct {
	t     testing.TB
	proxy *dialproxy.Proxy
	keys  *realmtoken.Keys
	ca    []byte
	*Gateway

	mu    sync.Mutex
	realm map[string]bool
}

// answers is a control.Handler that knows one call.
type answers struct{ control.Handler }

func (answers) Call(_ context.Context, c api.Caller, call wire.Call, _ func(any, []byte) error) (any, error) {
	return c.Realm + " " + c.User + " " + call.Method, nil
}

// TestMain makes what Go's network makes once, so that descriptors can be counted.
func TestMain(m *testing.M) {
	if l, err := net.Listen("tcp", "127.0.0.1:0"); err == nil {
		l.Close()
	}
	os.Exit(m.Run())
}

func newWorld(t testing.TB, change func(*Config)) *world {
	t.Helper()
	leaktest.Settle()
	before := open(t)
	t.Cleanup(func() { await(t, before) }) // nothing of one test goes during the next
	w := &world{t: t, realm: map[string]bool{"r1": true, "r2": true}}
	w.proxy = dialproxy.New(dialproxy.Config{Node: 1, Name: "n1", Boot: 1, Logger: slog.New(slog.DiscardHandler)})
	w.stock()
	var err error
	if w.keys, err = realmtoken.NewKeys(realmtoken.NewKey()); err != nil {
		t.Fatal(err)
	}
	cfg := Config{Addr: "127.0.0.1:0", TLS: w.tls(), Node: "n1", Check: w.check, Handler: answers{}, Endpoints: w.proxy, Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	if w.Gateway, err = Listen(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { w.Close(); w.proxy.Close() })
	return w
}

// stock has the proxy make what it keeps ready, so that descriptors can be counted.
func (w *world) stock() {
	w.t.Helper()
	me := api.Caller{Realm: "stock", Proc: "p"}
	before := open(w.t)
	ep, err := w.proxy.NewEndpoint(me)
	if err != nil {
		w.t.Fatal(err)
	}
	p, err := w.proxy.Dial(ctx, me, api.Target{Endpoint: ep})
	if err != nil {
		w.t.Fatal(err)
	}
	unix.Close(p.FD)
	w.proxy.ProcEnded("p")
	for end := time.Now().Add(10 * time.Second); open(w.t) < before+8; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			w.t.Fatalf("the proxy keeps %d descriptors ready, want 8", open(w.t)-before)
		}
	}
}

func (w *world) tls() *tls.Config {
	w.t.Helper()
	now := time.Now()
	a, err := pki.CreateAuthority("c", now)
	if err != nil {
		w.t.Fatal(err)
	}
	id, err := pki.LoadOrCreate(filepath.Join(w.t.TempDir(), "id"), clock.Real())
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := id.CSR()
	if err != nil {
		w.t.Fatal(err)
	}
	chain, err := a.Sign(csr, "n1", 1, now)
	if err != nil {
		w.t.Fatal(err)
	}
	trust, err := pki.NewTrust(a.Certificate())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := id.Install(chain, trust.Marshal()); err != nil {
		w.t.Fatal(err)
	}
	w.ca = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	return id.Open(ALPN)
}

func (w *world) check(token string) (api.Caller, error) {
	c, err := w.keys.Check(token, time.Now())
	if err != nil {
		return api.Caller{}, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.realm[c.Realm] {
		return api.Caller{}, errors.New("the realm of this token is not there any more")
	}
	return api.Caller{Realm: c.Realm, User: c.User}, nil
}

func (w *world) token(realm string) string {
	return w.keys.Issue(realmtoken.Claim{Realm: realm, User: "ann", Expires: time.Now().Add(time.Hour)})
}

// file writes a token file.
func (w *world) file(token string) string {
	w.t.Helper()
	b, err := json.Marshal(outside.File{Version: 1, Gateway: w.Addr(), CA: string(w.ca), Realm: "r", Token: token})
	if err != nil {
		w.t.Fatal(err)
	}
	path := filepath.Join(w.t.TempDir(), "token")
	if err := os.WriteFile(path, b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// client is a program outside, in a realm.
func (w *world) client(realm string) *sigma.Client {
	w.t.Helper()
	c, err := w.connect(w.token(realm))
	if err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) connect(token string) (*sigma.Client, error) {
	dctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	c, _, err := outside.Connect(dctx, w.file(token))
	if err == nil {
		w.t.Cleanup(func() { c.Close() })
	}
	return c, err
}

// proc listens in a realm and gives each connection to serve.
func (w *world) proc(realm string, serve func(c *sigma.Conn, p api.Peer)) api.Endpoint {
	w.t.Helper()
	me := api.Caller{Realm: realm, Proc: api.ProcID("proc-" + w.t.Name()), Node: "n1"}
	ep, err := w.proxy.NewEndpoint(me)
	if err != nil {
		w.t.Fatal(err)
	}
	actx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			p, err := w.proxy.Accept(actx, me, ep)
			if err != nil {
				return
			}
			wg.Go(func() {
				f := os.NewFile(uintptr(p.FD), "conn")
				c, err := sigma.FileConn(f)
				f.Close()
				if err != nil {
					w.t.Error(err)
					return
				}
				defer c.Close()
				c.SetDeadline(time.Now().Add(60 * time.Second))
				serve(c, p.Peer)
			})
		}
	})
	w.t.Cleanup(func() { stop(); wg.Wait() })
	return ep
}

// dial connects a program outside with a proc.
func (w *world) dial(c *sigma.Client, ep api.Endpoint) *outside.Conn {
	w.t.Helper()
	dctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	conn, err := c.Dial(dctx, ep)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(60 * time.Second))
	return conn.(*outside.Conn)
}

func closeFD(fd int) { unix.Close(fd) }

func echo(c *sigma.Conn, _ api.Peer) { io.Copy(c, c) }

// open counts this process's descriptors.
func open(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// await waits until this process has no more descriptors than n.
func await(t testing.TB, n int) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); open(t) > n; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, want %d", open(t), n)
		}
	}
}

// from connects with the gateway from one of loopback's addresses.
func (w *world) from(address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := d.Dial("tcp", w.Addr())
	if err == nil {
		c.SetDeadline(time.Now().Add(30 * time.Second))
	}
	return c, err
}

// ended reports whether a connection is closed by the other side.
func ended(c net.Conn) bool {
	_, err := io.Copy(io.Discard, c)
	return err == nil || errors.Is(err, unix.ECONNRESET)
}
