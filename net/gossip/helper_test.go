package gossip

import (
	"context"
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/leaktest"
	"sigmaos/net/pki"
	"sigmaos/net/port"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

const (
	patience = 30 * time.Second // far beyond anything that should happen
	notice   = time.Second
)

var secretA, secretB = []byte("a secret of the cluster"), []byte("another secret of it")

// world is the nodes of a test, all on loopback.
type world struct {
	t     *testing.T
	ca    *pki.Authority
	trust []byte
}

func newWorld(t *testing.T) *world {
	t.Helper()
	ca, err := pki.CreateAuthority("c1", time.Now())
	if err != nil {
		t.Fatal(err)
	}
	trust, err := pki.NewTrust(ca.Certificate())
	if err != nil {
		t.Fatal(err)
	}
	return &world{t, ca, trust.Marshal()}
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
	if err := id.Install(chain, w.trust); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// node is one running node.
type node struct {
	*Gossip
	t    *testing.T
	name string
	port *port.Port
	log  *lines

	mu     sync.Mutex
	events []Event
	once   sync.Once
}

// start runs node number n, called nN, with the first nodes given as its seeds.
func (w *world) start(n uint16, seeds []*node, edit func(*Config)) *node {
	w.t.Helper()
	return w.startAs(fmt.Sprintf("n%d", n), n, "127.0.0.1:0", seeds, edit)
}

func (w *world) startAs(name string, n uint16, addr string, seeds []*node, edit func(*Config)) *node {
	w.t.Helper()
	x := &node{t: w.t, name: name, log: &lines{}}
	logger := slog.New(slog.NewTextHandler(x.log, nil))
	p, err := port.Listen(port.Config{Addr: addr, Identity: w.identity(name, n), Logger: logger})
	if err != nil {
		w.t.Fatal(err)
	}
	x.port = p
	cfg := Config{
		Port: p, Boot: 1, Secrets: [][]byte{secretA}, Notice: notice, Logger: logger,
		Info: Info{Roles: []string{"node", "besched"}, Domain: fmt.Sprintf("rack%d", n), Version: "v1"},
	}
	for _, s := range seeds {
		cfg.Seeds = append(cfg.Seeds, Seed{s.name, s.addr()})
	}
	if edit != nil {
		edit(&cfg)
	}
	if x.Gossip, err = Start(cfg); err != nil {
		p.Close()
		w.t.Fatal(err)
	}
	w.t.Cleanup(x.stop)
	x.Subscribe(func(e Event) {
		x.mu.Lock()
		defer x.mu.Unlock()
		x.events = append(x.events, e)
	})
	return x
}

func (x *node) addr() string { return x.port.Addr().String() }

// stop ends the node without a word, as a crash does.
func (x *node) stop() {
	x.once.Do(func() {
		if err := x.Close(); err != nil {
			x.t.Errorf("%s: Close: %v", x.name, err)
		}
		x.port.Close()
	})
}

func (x *node) leave() {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := x.Leave(ctx); err != nil {
		x.t.Errorf("%s: Leave: %v", x.name, err)
	}
	x.stop()
}

// names are the members that x sees.
func (x *node) names() string {
	var out []string
	for _, m := range x.Members() {
		out = append(out, m.Name)
	}
	return strings.Join(out, " ")
}

// told are the events about one node, without updates.
func (x *node) told(name string) string {
	x.mu.Lock()
	defer x.mu.Unlock()
	var out []string
	for _, e := range x.events {
		if e.Member.Name == name && e.Type != Updated {
			out = append(out, fmt.Sprintf("%v %d", e.Type, e.Member.Boot))
		}
	}
	return strings.Join(out, ", ")
}

func await(t *testing.T, what string, ok func() bool, state func() string) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within %v: %s; it is: %s", patience, what, state())
		}
	}
}

// awaitNames waits until all of the nodes see exactly the names.
func awaitNames(t *testing.T, want string, nodes ...*node) {
	t.Helper()
	for _, x := range nodes {
		await(t, x.name+" sees "+want, func() bool { return x.names() == want }, x.names)
	}
}

func awaitTold(t *testing.T, x *node, name, want string) {
	t.Helper()
	await(t, fmt.Sprintf("%s is told of %s: %s", x.name, name, want), func() bool { return x.told(name) == want }, func() string { return x.told(name) })
}

// lines is a log that can be searched.
type lines struct {
	mu sync.Mutex
	s  []string
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.s = append(l.s, string(b))
	return len(b), nil
}

func (l *lines) with(text string) (out []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.s {
		if strings.Contains(s, text) {
			out = append(out, s)
		}
	}
	return out
}

// partition makes sides that cannot reach each other while it is on.
type partition struct {
	mu   sync.Mutex
	side map[netip.AddrPort]int
	on   bool
}

func (p *partition) cuts(from int) func(netip.AddrPort) bool {
	return func(to netip.AddrPort) bool {
		p.mu.Lock()
		defer p.mu.Unlock()
		side, known := p.side[to]
		return p.on && known && side != from
	}
}

func (p *partition) put(x *node, side int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.side[x.Self().Addr] = side
}

func (p *partition) set(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.on = on
}

func wantKind(t *testing.T, call string, err error, want api.Kind) {
	t.Helper()
	if got := api.KindOf(err); got != want {
		t.Errorf("%s: %v (kind %q), want kind %q", call, err, got, want)
	}
}
