package peers

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/gossip"
	"sigmaos/net/pki"
	"sigmaos/net/port"
	"sigmaos/net/rpc"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

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

func TestLinksKnowBothSides(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	for _, c := range []struct {
		from *node
		to   uint16
		want string
	}{{n1, 2, "n2 serves n1 (1)"}, {n2, 1, "n1 serves n2 (2)"}, {n1, 1, "n1 serves n1 (1)"}} {
		if got, _, err := c.from.who(t, c.to); err != nil || got != c.want {
			t.Errorf("Link(%d) and a call = %q, %v; want %q", c.to, got, err, c.want)
		}
	}
	if s := n1.Links(); len(s) != 2 || !s[0].Up || !s[1].Up || s[1].Name != "n2" || s[1].Addr != n2.port.Addr().String() {
		t.Errorf("Links() = %+v", s)
	}
}

func TestOneLinkANode(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	var wg sync.WaitGroup
	clients := make([]*rpc.Client, 50)
	for i := range clients {
		wg.Add(1)
		go func() {
			defer wg.Done()
			var err error
			if clients[i], err = n1.Link(t.Context(), 2); err != nil {
				t.Error(err)
			}
		}()
	}
	wg.Wait()
	for _, c := range clients {
		if c != clients[0] {
			t.Fatal("two callers got different links")
		}
	}
	if s := n2.port.Stats(); s.Accepted != 1 {
		t.Errorf("n2 accepted %d connections, want 1", s.Accepted)
	}
}

func TestErrorsNameNodeAndReason(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, "127.0.0.1:0", nil)
	n2 := w.start(2, "127.0.0.1:0", nil)
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	w.book.put(3, "n3", closed.Addr().String())
	w.book.put(4, "n4", n2.port.Addr().String()) // n2 is there
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.book.put(5, "n5", silent.Addr().String())
	p6 := w.listen(6, "127.0.0.1:0") // a node without this service
	w.book.put(6, "n6", p6.Addr().String())
	for _, c := range []struct {
		node  uint16
		texts []string
	}{
		{9, []string{"node 9", "no living member"}},
		{3, []string{"n3 (3)", closed.Addr().String(), "refused"}},
		{4, []string{"n4 (4)", "at this address is node n2"}},
		{6, []string{"n6 (6)", "does not serve"}},
	} {
		_, err := n1.Link(t.Context(), c.node)
		wantKind(t, fmt.Sprintf("Link(%d)", c.node), err, api.Unavailable, c.texts...)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = n1.Link(ctx, 5)
	wantKind(t, "Link to one that is silent, with a deadline", err, api.Deadline, "n5 (5)")
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	_, err = n1.Link(ctx, 5)
	wantKind(t, "Link to one that is silent, cancelled", err, api.Canceled, "n5 (5)")
}

// While a node cannot be reached callers are told at once, and attempts come at
// growing distances.
func TestAttemptsAreSpaced(t *testing.T) {
	w := newWorld(t)
	clk := clock.NewFake(time.Now())
	n1 := w.start(1, "127.0.0.1:0", func(c *Config) { c.Clock, c.RetryMin, c.RetryMax = clk, time.Second, 4*time.Second })
	var mu sync.Mutex
	accepted := 0
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	attempts := func() int {
		mu.Lock()
		defer mu.Unlock()
		return accepted
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for {
			c, err := lis.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			accepted++
			mu.Unlock()
			c.Close()
		}
	}()
	w.book.put(2, "n2", lis.Addr().String())
	for i, pause := range []time.Duration{1500 * time.Millisecond, 3 * time.Second, 6 * time.Second, 6 * time.Second} { // with half of it for chance
		for range 20 {
			_, err := n1.Link(t.Context(), 2)
			wantKind(t, "Link to one that hangs up", err, api.Unavailable, "n2 (2)")
		}
		if n := attempts(); n != i+1 {
			t.Errorf("%d attempts before pause %d, want %d", n, i, i+1)
		}
		clk.Await(1)
		clk.Advance(pause * 6 / 10) // less than the least pause
		if n := attempts(); n != i+1 {
			t.Errorf("%d attempts within pause %d, want %d", n, i, i+1)
		}
		clk.Advance(pause)
		await(t, "the next attempt", func() bool { return attempts() == i+2 })
	}
	addr := lis.Addr().String()
	lis.Close()
	<-ended
	n2 := w.start(2, addr, nil)
	await(t, "n2 is linked when it is there", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		_, err := n1.Link(ctx, 2)
		clk.Advance(time.Second)
		return err == nil
	})
	_ = n2
}

func TestABrokenLinkIsMadeAgain(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	_, first, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := first.Call(context.Background(), "hang", nil)
		result <- err
	}()
	addr := n2.port.Addr().String()
	n2.stop()
	wantKind(t, "a call under way when the node stops", <-result, api.Unavailable)
	done(t, "the node stopped", first)
	w.start(2, addr, nil)
	// Nobody asks for it, and it comes.
	await(t, "the link is up again", func() bool { s := n1.Links(); return len(s) == 1 && s[0].Up })
	if got, second, err := n1.who(t, 2); err != nil || got != "n2 serves n1 (1)" || second == first {
		t.Errorf("a call on the new link: %q, %v, the same client: %v", got, err, second == first)
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

// A machine that hangs keeps its connections; silence ends the link on both
// sides all the same.
func TestFAULTS_F5_SilenceIsDeath(t *testing.T) {
	w := newWorld(t)
	quick := func(c *Config) { c.Options.Heartbeat, c.Options.Silence = 20*time.Millisecond, 300*time.Millisecond }
	n1, n2 := w.start(1, "127.0.0.1:0", quick), w.start(2, "127.0.0.1:0", quick)
	r := newRelay(t, n2.port.Addr().String())
	w.book.put(2, "n2", r.lis.Addr().String())
	_, c, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() {
		_, err := c.Call(context.Background(), "hang", nil)
		result <- err
	}()
	r.swallow()
	wantKind(t, "a call under way when the node falls silent", <-result, api.Unavailable, "nothing was heard")
	await(t, "n2 has dropped its side", func() bool {
		n2.mu.Lock()
		defer n2.mu.Unlock()
		return len(n2.incoming) == 0
	})
}

func TestANodeThatLeftLosesItsLinks(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	_, out, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, in, err := n2.who(t, 1)
	if err != nil {
		t.Fatal(err)
	}
	w.book.leave(2, true) // and is back: these are its new links
	if _, c, err := n1.who(t, 2); err != nil || c != out {
		t.Errorf("the link to one that is back was dropped: %v", err)
	}
	w.book.leave(2, false)
	done(t, "outgoing link of a node that left", out)
	done(t, "incoming link of a node that left", in)
	await(t, "the link is forgotten", func() bool { return len(n1.Links()) == 0 })
	_, err = n1.Link(t.Context(), 2)
	wantKind(t, "Link to a node that left", err, api.Unavailable, "no living member")
}

func TestLeftoversOfOneNodeAreBounded(t *testing.T) {
	w := newWorld(t)
	n1, p2 := w.start(1, "127.0.0.1:0", nil), w.listen(2, "127.0.0.1:0")
	var conns []net.Conn
	for range maxGuests + 3 {
		c, err := p2.Dial(t.Context(), n1.port.Addr().String(), "n1", ALPN)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
	}
	for i, c := range conns[:3] {
		c.SetReadDeadline(time.Now().Add(patience))
		if _, err := io.Copy(io.Discard, c); err != nil && strings.Contains(err.Error(), "timeout") {
			t.Errorf("link %d of %d is still open", i, len(conns))
		}
	}
	n1.mu.Lock()
	defer n1.mu.Unlock()
	if n := len(n1.incoming[2]); n > maxGuests {
		t.Errorf("%d links of one node", n)
	}
}

func TestCloseEndsBothDirections(t *testing.T) {
	w := newWorld(t)
	n1, n2 := w.start(1, "127.0.0.1:0", nil), w.start(2, "127.0.0.1:0", nil)
	_, out, err := n1.who(t, 2)
	if err != nil {
		t.Fatal(err)
	}
	_, in, err := n2.who(t, 1)
	if err != nil {
		t.Fatal(err)
	}
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	w.book.put(5, "n5", silent.Addr().String())
	waiter := make(chan error, 1)
	go func() {
		_, err := n1.Link(context.Background(), 5)
		waiter <- err
	}()
	await(t, "the waiter waits", func() bool { return len(n1.Links()) == 2 })
	go in.Call(context.Background(), "hang", nil)
	n1.Close()
	n1.Close()
	done(t, "own link", out)
	done(t, "the other's link", in)
	wantKind(t, "a Link under way at Close", <-waiter, api.Unavailable, "stopping")
	_, err = n1.Link(t.Context(), 2)
	wantKind(t, "Link after Close", err, api.Unavailable, "stopping")
	if _, err := n1.port.Handle(ALPN, func(context.Context, *port.Conn) {}); err != nil {
		t.Errorf("the service's name is not free after Close: %v", err)
	}
}

func TestStartRefusals(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, "127.0.0.1:0", nil)
	p := w.listen(2, "127.0.0.1:0")
	good := Config{Port: p, Directory: w.book, Server: rpc.NewServer(rpc.Options{}), Logger: slog.New(slog.DiscardHandler)}
	for name, c := range map[string]struct {
		edit func(*Config)
		want api.Kind
	}{
		"no directory":          {func(c *Config) { c.Directory = nil }, api.Internal},
		"pauses upside down":    {func(c *Config) { c.RetryMin, c.RetryMax = 2, 1 }, api.Invalid},
		"port that serves them": {func(c *Config) { c.Port = n1.port }, api.Exists},
	} {
		cfg := good
		c.edit(&cfg)
		_, err := Start(cfg)
		wantKind(t, "Start, "+name, err, c.want)
	}
}

// With gossip for a directory: three nodes link to each other, one dies, one
// leaves.
func TestWithGossip(t *testing.T) {
	w := newWorld(t)
	log := slog.New(slog.DiscardHandler)
	type member struct {
		g *gossip.Gossip
		n *node
	}
	var ms []member
	for i := uint16(1); i <= 3; i++ {
		p := w.listen(i, "127.0.0.1:0")
		cfg := gossip.Config{Port: p, Boot: 1, Secrets: [][]byte{[]byte("a secret of the cluster")}, Notice: time.Second, Logger: log}
		if i > 1 {
			cfg.Seeds = []gossip.Seed{{Name: "n1", Addr: ms[0].n.port.Addr().String()}}
		}
		g, err := gossip.Start(cfg)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { g.Close() })
		server := rpc.NewServer(Beats(rpc.Options{}))
		server.Handle("who", func(_ context.Context, r *rpc.Request) ([]byte, error) {
			return []byte(fmt.Sprintf("n%d serves %v", i, r.Peer.(pki.Peer))), nil
		})
		n := &node{port: p}
		if n.Peers, err = Start(Config{Port: p, Directory: g, Server: server, Logger: log}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(n.stop)
		ms = append(ms, member{g, n})
	}
	await(t, "all see all", func() bool {
		for _, m := range ms {
			if len(m.g.Members()) != 3 {
				return false
			}
		}
		return true
	})
	var links []*rpc.Client
	for _, from := range ms {
		for to := uint16(1); to <= 3; to++ {
			got, c, err := from.n.who(t, to)
			if err != nil || !strings.HasPrefix(got, fmt.Sprintf("n%d serves", to)) {
				t.Fatalf("a call to %d: %q, %v", to, got, err)
			}
			links = append(links, c)
		}
	}
	// n3 dies: its links break, and when gossip knows, nobody looks for it.
	ms[2].g.Close()
	ms[2].n.stop()
	done(t, "link of n1 to n3", links[2])
	_, err := ms[0].n.Link(t.Context(), 3)
	wantKind(t, "Link to a dead node", err, api.Unavailable)
	await(t, "n1 has given n3 up", func() bool { return len(ms[0].n.Links()) == 2 })
	// n2 leaves.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := ms[1].g.Leave(ctx); err != nil {
		t.Error(err)
	}
	done(t, "link of n1 to n2", links[1])
	done(t, "link of n2 to n1", links[3])
}
