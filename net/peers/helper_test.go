package peers

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/leaktest"
	"sigmaos/net/pki"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const patience = 30 * time.Second

// book is a directory that a test writes in.
type book struct {
	mu    sync.Mutex
	nodes map[uint16][2]string
	fns   map[int]func(uint16)
	next  int
}

func newBook() *book {
	return &book{nodes: make(map[uint16][2]string), fns: make(map[int]func(uint16))}
}

func (b *book) Resolve(n uint16) (name, addr string, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e, ok := b.nodes[n]
	return e[0], e[1], ok
}

func (b *book) OnLeft(fn func(uint16)) func() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.next++
	id := b.next
	b.fns[id] = fn
	return func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.fns, id)
	}
}

func (b *book) put(n uint16, name, addr string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.nodes[n] = [2]string{name, addr}
}

// leave tells of a node that has left, whether it is back meanwhile or not.
func (b *book) leave(n uint16, back bool) {
	b.mu.Lock()
	if !back {
		delete(b.nodes, n)
	}
	var fns []func(uint16)
	for _, fn := range b.fns {
		fns = append(fns, fn)
	}
	b.mu.Unlock()
	for _, fn := range fns {
		fn(n)
	}
}

type world struct {
	t    *testing.T
	ca   *pki.Authority
	book *book
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := pki.CreateAuthority("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, ca, newBook()}
}

func (w *world) identity(name string, number uint16) *pki.Identity {
	w.t.Helper()
	id, err := pki.LoadOrCreate(w.t.TempDir(), clock.Real())
	if err != nil {
		w.t.Fatal(err)
	}
	csr, err := id.CSR()
	if err != nil {
		w.t.Fatal(err)
	}
	chain, err := w.ca.Sign(csr, name, number, time.Now())
	if err != nil {
		w.t.Fatal(err)
	}
	trust, err := pki.NewTrust(w.ca.Certificate())
	if err != nil {
		w.t.Fatal(err)
	}
	if err := id.Install(chain, trust.Marshal()); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// node is one with a port and links, whose server says who calls it.
type node struct {
	*Peers
	port *port.Port
	once sync.Once
}

func (w *world) listen(n uint16, addr string) *port.Port {
	w.t.Helper()
	p, err := port.Listen(port.Config{Addr: addr, Identity: w.identity(fmt.Sprintf("n%d", n), n), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Close() })
	return p
}

func (w *world) start(n uint16, addr string, edit func(*Config)) *node {
	w.t.Helper()
	x := &node{port: w.listen(n, addr)}
	cfg := Config{Port: x.port, Directory: w.book, Logger: slog.New(slog.DiscardHandler), RetryMin: time.Millisecond, RetryMax: 20 * time.Millisecond}
	cfg.Options.Heartbeat, cfg.Options.Silence = 50*time.Millisecond, 2*time.Second
	if edit != nil {
		edit(&cfg)
	}
	cfg.Server = rpc.NewServer(Beats(cfg.Options))
	cfg.Server.Handle("who", func(_ context.Context, r *rpc.Request) ([]byte, error) {
		return []byte(fmt.Sprintf("n%d serves %v", n, r.Peer.(pki.Peer))), nil
	})
	cfg.Server.Handle("hang", func(ctx context.Context, _ *rpc.Request) ([]byte, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	var err error
	if x.Peers, err = Start(cfg); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(x.stop)
	w.book.put(n, fmt.Sprintf("n%d", n), x.port.Addr().String())
	return x
}

func (x *node) stop() {
	x.once.Do(func() {
		x.Close()
		x.port.Close()
	})
}

func (x *node) who(t *testing.T, n uint16) (string, *rpc.Client, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := x.Link(ctx, n)
	if err != nil {
		return "", nil, err
	}
	b, err := c.Call(ctx, "who", nil)
	return string(b), c, err
}

func wantKind(t *testing.T, call string, err error, want api.Kind, texts ...string) {
	t.Helper()
	if got := api.KindOf(err); got != want {
		t.Errorf("%s: %v (kind %q), want kind %q", call, err, got, want)
	}
	for _, text := range texts {
		if err != nil && !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v; want %q in the text", call, err, text)
		}
	}
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

func done(t *testing.T, what string, c *rpc.Client) {
	t.Helper()
	select {
	case <-c.Done():
	case <-time.After(patience):
		t.Fatalf("%s: the link is up after %v", what, patience)
	}
}

// relay passes bytes to a node until told to swallow everything, ends included.
type relay struct {
	lis   net.Listener
	mu    sync.Mutex
	mute  bool
	conns []net.Conn
	wg    sync.WaitGroup
}

func newRelay(t *testing.T, to string) *relay {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &relay{lis: lis}
	r.wg.Add(1)
	go func() {
		defer r.wg.Done()
		for {
			a, err := lis.Accept()
			if err != nil {
				return
			}
			b, err := net.Dial("tcp", to)
			if err != nil {
				a.Close()
				continue
			}
			r.mu.Lock()
			r.conns = append(r.conns, a, b)
			r.mu.Unlock()
			r.wg.Add(2)
			go r.pass(a, b)
			go r.pass(b, a)
		}
	}()
	t.Cleanup(func() {
		lis.Close()
		r.mu.Lock()
		for _, c := range r.conns {
			c.Close()
		}
		r.mu.Unlock()
		r.wg.Wait()
	})
	return r
}

func (r *relay) pass(dst, src net.Conn) {
	defer r.wg.Done()
	buf := make([]byte, 4096)
	for {
		n, err := src.Read(buf)
		r.mu.Lock()
		mute := r.mute
		r.mu.Unlock()
		switch {
		case err != nil:
			if !mute {
				dst.Close()
			}
			return
		case !mute:
			dst.Write(buf[:n])
		}
	}
}

func (r *relay) swallow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mute = true
}
