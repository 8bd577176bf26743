package gossip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/pki"
	"sigmaos/net/port"
)

func TestFiveNodesFindEachOtherAndLeave(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	nodes := []*node{n1}
	for i := uint16(2); i <= 5; i++ {
		nodes = append(nodes, w.start(i, nodes[:1], nil))
	}
	awaitNames(t, "n1 n2 n3 n4 n5", nodes...)
	for _, x := range nodes {
		<-x.Joined()
		m, ok := x.Lookup(3)
		want := Member{Name: "n3", Addr: nodes[2].port.Addr().AddrPort(), Info: Info{Number: 3, Boot: 1, Roles: []string{"node", "besched"}, Domain: "rack3", Version: "v1"}}
		if !ok || fmt.Sprint(m) != fmt.Sprint(want) {
			t.Errorf("%s: Lookup(3) = %+v %v, want %+v", x.name, m, ok, want)
		}
		if m, ok := x.Named("n5"); !ok || m.Number != 5 {
			t.Errorf("%s: Named(n5) = %+v %v", x.name, m, ok)
		}
		if _, ok := x.Lookup(9); ok {
			t.Errorf("%s: Lookup(9) found somebody", x.name)
		}
		if self := x.Self(); self.Name != x.name || self.Addr != x.port.Addr().AddrPort() {
			t.Errorf("%s: Self() = %+v", x.name, self)
		}
	}
	nodes[4].leave()
	awaitNames(t, "n1 n2 n3 n4", nodes[:4]...)
	for _, x := range nodes[:4] {
		awaitTold(t, x, "n5", "joined 1, left 1")
	}
	if n := n1.told("n1"); n != "joined 1" {
		t.Errorf("n1 was told of itself: %s", n)
	}
}

// What a node says last is said until it is heard: nobody learns of its end first
// and takes it for one that failed, though every packet of its is lost for a while.
func TestAGoodbyeIsSaidUntilItIsHeard(t *testing.T) {
	w := newWorld(t)
	var lost atomic.Bool
	slowly := func(c *Config) { c.Notice = 10 * time.Second } // nobody is given up in the meantime
	n1 := w.start(1, nil, slowly)
	n2 := w.start(2, []*node{n1}, slowly)
	n3 := w.start(3, []*node{n1}, func(c *Config) {
		slowly(c)
		c.unreachable = func(netip.AddrPort) bool { return lost.Load() }
	})
	awaitNames(t, "n1 n2 n3", n1, n2, n3)
	lost.Store(true)
	// Two rounds of gossip, so that it has stopped telling that it will leave.
	back := time.AfterFunc(1500*time.Millisecond, func() { lost.Store(false) })
	defer back.Stop()
	n3.leave()
	awaitNames(t, "n1 n2", n1, n2)
	for _, x := range []*node{n1, n2} {
		awaitTold(t, x, "n3", "joined 1, left 1")
	}
}

// A member that does not answer keeps nobody from leaving.
func TestLeaveBesideOneThatIsSilent(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	n3 := w.start(3, []*node{n1}, nil)
	awaitNames(t, "n1 n2 n3", n1, n2, n3)
	n3.stop()
	n2.leave()
	awaitTold(t, n1, "n2", "joined 1, left 1")
	awaitTold(t, n1, "n3", "joined 1, failed 1")
}

func TestUpdatesReachAll(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	n3 := w.start(3, []*node{n1}, nil)
	awaitNames(t, "n1 n2 n3", n1, n2, n3)
	for i := range 200 { // more than can be told one by one
		if err := n2.Update(func(i2 *Info) {
			i2.Load = Load{FreeMCPU: int64(i), FreeMemory: -1}
			i2.Shards = []uint16{uint16(i), 9}
			i2.Roles = []string{"node"}
			i2.Number, i2.Boot, i2.Leaving = 77, 77, true // not for the caller to say
		}); err != nil {
			t.Fatal(err)
		}
	}
	want := fmt.Sprint(Info{Number: 2, Boot: 1, Roles: []string{"node"}, Domain: "rack2", Version: "v1", Load: Load{199, -1}, Shards: []uint16{199, 9}})
	for _, x := range []*node{n1, n2, n3} {
		await(t, x.name+" has the last update of n2", func() bool {
			m, _ := x.Lookup(2)
			return fmt.Sprint(m.Info) == want
		}, func() string { m, _ := x.Lookup(2); return fmt.Sprint(m.Info) })
	}
	await(t, "n1's subscriber has the last update", func() bool {
		n1.mu.Lock()
		defer n1.mu.Unlock()
		// On a busy machine others come and go meanwhile, and n2 with its last update.
		var last Event
		for _, e := range n1.events {
			if e.Member.Number == 2 {
				last = e
			}
		}
		return (last.Type == Updated || last.Type == Joined) && fmt.Sprint(last.Member.Info) == want
	}, func() string { return fmt.Sprint(n1.events) })
	err := n2.Update(func(i *Info) { i.Domain = strings.Repeat("x", 500) })
	wantKind(t, "Update that is too large", err, api.TooLarge)
	if got := fmt.Sprint(n2.Self().Info); got != want {
		t.Errorf("after an Update that failed: %s, want %s", got, want)
	}
}

func TestFAULTS_F2_DeathIsNoticedByAll(t *testing.T) {
	w := newWorld(t)
	nodes := []*node{w.start(1, nil, nil)}
	for i := uint16(2); i <= 4; i++ {
		nodes = append(nodes, w.start(i, nodes[:1], nil))
	}
	awaitNames(t, "n1 n2 n3 n4", nodes...)
	nodes[2].stop()
	begin := time.Now()
	alive := []*node{nodes[0], nodes[1], nodes[3]}
	awaitNames(t, "n1 n2 n4", alive...)
	t.Logf("known to all after %v; Notice is %v", time.Since(begin), notice)
	for _, x := range alive {
		awaitTold(t, x, "n3", "joined 1, failed 1")
	}
	// It comes back at the same address as another boot, without seeds: the others
	// look for it.
	back := w.startAs("n3", 3, nodes[2].addr(), nil, func(c *Config) { c.Boot = 2 })
	awaitNames(t, "n1 n2 n3 n4", append(alive, back)...)
	for _, x := range alive {
		awaitTold(t, x, "n3", "joined 1, failed 1, joined 2")
	}
}

// A restart that nobody had time to notice is still one life that failed and
// another that began.
func TestARestartIsTwoLives(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	awaitNames(t, "n1 n2", n1, n2)
	awaitTold(t, n1, "n2", "joined 1")
	n2.stop()
	again := w.startAs("n2", 2, n2.addr(), []*node{n1}, func(c *Config) { c.Boot = 2 })
	awaitTold(t, n1, "n2", "joined 1, failed 1, joined 2")
	awaitNames(t, "n1 n2", n1, again)
}

func TestAWordlessReturnFromAnotherAddress(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	n3 := w.start(3, []*node{n1}, nil)
	awaitNames(t, "n1 n2 n3", n1, n2, n3)
	n3.stop()
	moved := w.startAs("n3", 3, "127.0.0.1:0", []*node{n1}, func(c *Config) { c.Boot = 2 })
	for _, x := range []*node{n1, n2} {
		await(t, x.name+" sees n3 at its new address", func() bool {
			m, ok := x.Lookup(3)
			return ok && m.Addr == moved.Self().Addr && m.Boot == 2
		}, func() string { return fmt.Sprint(x.Members()) })
		awaitTold(t, x, "n3", "joined 1, failed 1, joined 2")
	}
	awaitNames(t, "n1 n2 n3", moved)
}

func TestFAULTS_F14_PartitionHeals(t *testing.T) {
	w := newWorld(t)
	cut := &partition{side: make(map[netip.AddrPort]int)}
	var nodes []*node
	for i := uint16(1); i <= 4; i++ {
		side := int(i) / 3 // n1 n2 | n3 n4
		x := w.start(i, nodes[:min(len(nodes), 1)], func(c *Config) { c.unreachable = cut.cuts(side) })
		cut.put(x, side)
		nodes = append(nodes, x)
	}
	awaitNames(t, "n1 n2 n3 n4", nodes...)
	cut.set(true)
	awaitNames(t, "n1 n2", nodes[:2]...)
	awaitNames(t, "n3 n4", nodes[2:]...)
	if s := nodes[0].absent(); len(s) != 2 {
		t.Errorf("n1 would ask %v, want n3 and n4", s)
	}
	cut.set(false)
	awaitNames(t, "n1 n2 n3 n4", nodes...)
}

// Seeds that do not answer, are nonsense or are this node itself are no error;
// the right one is found among them.
func TestSeedsMayBeWrong(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, nil, func(c *Config) {
		c.Seeds = []Seed{
			{"", "127.0.0.1:1"}, {"", "nonsense"}, {"", "nowhere.invalid:70"}, {"n9", n1.addr()},
			{"n2", c.Port.Addr().String()}, {"", fmt.Sprintf("localhost:%d", n1.port.Addr().Port)},
		}
	})
	<-n2.Joined()
	awaitNames(t, "n1 n2", n1, n2)
	await(t, "n2 has found n1 under its host name", func() bool {
		return !slices.ContainsFunc(n2.absent(), func(s Seed) bool { return strings.HasPrefix(s.Addr, "localhost") })
	}, func() string { return fmt.Sprint(n2.absent()) })
}

// Two nodes with one name: who was there first stays, both sides are told, and
// when the first is gone the second gets the place.
func TestTwoNodesOfOneName(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	first := w.start(3, []*node{n1}, nil)
	awaitNames(t, "n1 n2 n3", n1, n2, first)
	second := w.start(3, []*node{n1}, func(c *Config) { c.Boot = 2 })
	for _, x := range []*node{n1, second} {
		await(t, x.name+" is told of the conflict", func() bool { return strings.Contains(x.told("n3"), "conflict") }, func() string { return x.told("n3") })
		if len(x.log.with("claim one place")) == 0 {
			t.Errorf("%s: nothing in the log", x.name)
		}
	}
	for _, x := range []*node{n1, n2, first} {
		if m, ok := x.Lookup(3); !ok || m.Addr != first.Self().Addr || m.Boot != 1 {
			t.Errorf("%s: n3 is now %+v %v, want the first one", x.name, m, ok)
		}
	}
	first.stop()
	for _, x := range []*node{n1, n2} {
		await(t, x.name+" sees the second n3", func() bool { m, ok := x.Lookup(3); return ok && m.Boot == 2 }, x.names)
	}
}

func TestTwoNodesOfOneNumber(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	a := w.startAs("a", 7, "127.0.0.1:0", []*node{n1}, nil)
	awaitNames(t, "n1 a", n1, a)
	b := w.startAs("b", 7, "127.0.0.1:0", []*node{n1}, nil)
	awaitNames(t, "n1 a b", n1)
	await(t, "n1 is told of the conflict", func() bool { return strings.Contains(n1.told("a"), "conflict") }, func() string { return n1.told("a") })
	if m, _ := n1.Lookup(7); m.Name != "a" {
		t.Errorf("Lookup(7) = %s, want the first one", m.Name)
	}
	a.leave()
	await(t, "the number is b's", func() bool { m, ok := n1.Lookup(7); return ok && m.Name == "b" }, n1.names)
	_ = b
}

// Who has no key is not heard: neither packets of another key, nor garbage, nor
// a node of the cluster with a wrong secret; and their noise in the log is
// bounded.
func TestStrangersAreIgnored(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	awaitNames(t, "n1 n2", n1, n2)
	stranger := w.start(3, []*node{n1}, func(c *Config) { c.Secrets = [][]byte{secretB} })
	for range 3 {
		if stranger.ask(Seed{"n1", n1.addr()}) {
			t.Fatal("n1 exchanged its state with one who has another secret")
		}
	}
	udp, err := net.Dial("udp", n1.addr())
	if err != nil {
		t.Fatal(err)
	}
	defer udp.Close()
	for i := range 2000 {
		udp.Write(make([]byte, i)) // zeros
		udp.Write([]byte("\xf4\x08sigma c1 and no ciphertext"))
	}
	// What n2 says still comes through.
	if err := n2.Update(func(i *Info) { i.Load.FreeMCPU = 4711 }); err != nil {
		t.Fatal(err)
	}
	await(t, "n1 hears n2 beside the noise", func() bool { m, _ := n1.Lookup(2); return m.Load.FreeMCPU == 4711 }, n1.names)
	awaitNames(t, "n1 n2", n1, n2)
	awaitNames(t, "n3", stranger)
	if n := len(n1.log.with("gossip:")); n == 0 || n > 100 {
		t.Errorf("%d lines in the log, want some and at most 100", n)
	}
}

func TestSecretsAreRotatedUnderALiveCluster(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	n2 := w.start(2, []*node{n1}, nil)
	n3 := w.start(3, []*node{n1}, nil)
	nodes := []*node{n1, n2, n3}
	awaitNames(t, "n1 n2 n3", nodes...)
	tick := int64(0)
	talk := func(step string) {
		t.Helper()
		tick++
		if err := n3.Update(func(i *Info) { i.Load.FreeMCPU = tick }); err != nil {
			t.Fatal(err)
		}
		for _, x := range nodes {
			await(t, step+": "+x.name+" hears n3", func() bool { m, _ := x.Lookup(3); return m.Load.FreeMCPU == tick }, x.names)
		}
	}
	for _, step := range []struct {
		name    string
		secrets [][]byte
	}{
		{"new behind old", [][]byte{secretA, secretB}},
		{"new before old", [][]byte{secretB, secretA}},
		{"new alone", [][]byte{secretB}},
	} {
		for _, x := range nodes {
			if err := x.SetSecrets(step.secrets); err != nil {
				t.Fatal(err)
			}
			talk(step.name)
		}
	}
	late := w.start(4, []*node{n1}, nil) // has the old one
	if late.ask(Seed{"n1", n1.addr()}) {
		t.Error("the old secret is still good")
	}
	if err := late.SetSecrets([][]byte{secretB}); err != nil {
		t.Fatal(err)
	}
	awaitNames(t, "n1 n2 n3 n4", append(nodes, late)...)
	for _, bad := range [][][]byte{nil, {[]byte("short")}, {secretA, secretB, secretA, secretB}} {
		wantKind(t, fmt.Sprintf("SetSecrets(%q)", bad), n1.SetSecrets(bad), api.Invalid)
	}
}

// A subscriber that does not return holds up nobody, and when it does it sees
// where things went.
func TestFAULTS_F36_SlowSubscriber(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	gate, seen := make(chan struct{}), make(chan Event, 100)
	stop := n1.Subscribe(func(e Event) {
		seen <- e
		<-gate
	})
	defer stop()
	if e := <-seen; e.Type != Joined || e.Member.Name != "n1" {
		t.Fatalf("first event: %v", e)
	}
	n2 := w.start(2, []*node{n1}, nil)
	awaitNames(t, "n1 n2", n1, n2)
	for i := range 20 {
		want := int64(i + 1)
		n2.Update(func(i *Info) { i.Load.FreeMCPU = want })
		await(t, "n1 hears n2", func() bool { m, _ := n1.Lookup(2); return m.Load.FreeMCPU == want }, n1.names)
	}
	close(gate)
	if e := <-seen; e.Type != Joined || e.Member.Name != "n2" || e.Member.Load.FreeMCPU != 20 {
		t.Errorf("then came %v with %d mCPU; want the last state of n2", e, e.Member.Load.FreeMCPU)
	}
	if len(seen) != 0 {
		t.Errorf("and %d more, %v", len(seen), <-seen)
	}
}

func TestStopAndCloseEndSubscribers(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	calls := make(chan Event, 10)
	stop := n1.Subscribe(func(e Event) { calls <- e })
	<-calls
	stop()
	stop()
	n2 := w.start(2, []*node{n1}, nil)
	awaitNames(t, "n1 n2", n1, n2)
	if len(calls) != 0 {
		t.Errorf("called after stop: %v", <-calls)
	}
	n1.stop()
	if err := n1.Close(); err != nil {
		t.Errorf("second Close: %v", err)
	}
	n1.Subscribe(func(e Event) { t.Errorf("subscribed after Close and was told %v", e) })()
	if err := n1.Leave(t.Context()); err != nil {
		t.Errorf("Leave after Close: %v", err)
	}
	if err := n1.Update(func(i *Info) { i.Domain = "x" }); err != nil {
		t.Errorf("Update after Close: %v", err)
	}
}

func TestLeaveAlone(t *testing.T) {
	n1 := newWorld(t).start(1, nil, nil)
	awaitTold(t, n1, "n1", "joined 1")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := n1.Leave(ctx); err != nil {
		t.Errorf("Leave of the only node: %v", err)
	}
	awaitTold(t, n1, "n1", "joined 1, left 1")
	if ms := n1.Members(); len(ms) != 0 {
		t.Errorf("members after Leave: %v", ms)
	}
}

func TestStartRefusals(t *testing.T) {
	w := newWorld(t)
	n1 := w.start(1, nil, nil)
	p, err := port.Listen(port.Config{Addr: "127.0.0.1:0", Identity: w.identity("n2", 2), Logger: n1.cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	fresh, err := pki.LoadOrCreate(t.TempDir(), clock.Real())
	if err != nil {
		t.Fatal(err)
	}
	unjoined, err := port.Listen(port.Config{Addr: "127.0.0.1:0", Identity: fresh, Logger: n1.cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	defer unjoined.Close()
	anywhere, err := port.Listen(port.Config{Addr: ":0", Identity: w.identity("n3", 3), Logger: n1.cfg.Logger})
	if err != nil {
		t.Fatal(err)
	}
	defer anywhere.Close()
	for _, c := range []struct {
		name string
		edit func(*Config)
		want api.Kind
	}{
		{"no certificate", func(c *Config) { c.Port = unjoined }, api.Invalid},
		{"no address to advertise", func(c *Config) { c.Port = anywhere }, api.Invalid},
		{"no secret", func(c *Config) { c.Secrets = nil }, api.Invalid},
		{"short secret", func(c *Config) { c.Secrets = [][]byte{[]byte("0123")} }, api.Invalid},
		{"absurd notice", func(c *Config) { c.Notice = time.Millisecond }, api.Invalid},
		{"too much to say", func(c *Config) { c.Info.Version = strings.Repeat("v", 600) }, api.TooLarge},
		{"role with a comma", func(c *Config) { c.Info.Roles = []string{"a,b"} }, api.Invalid},
		{"no port", func(c *Config) { c.Port = nil }, api.Invalid},
		{"port that gossips already", func(c *Config) { c.Port = n1.port }, api.Unavailable},
	} {
		cfg := Config{Port: p, Secrets: [][]byte{secretA}, Logger: n1.cfg.Logger}
		c.edit(&cfg)
		g, err := Start(cfg)
		if err == nil {
			g.Close()
		}
		wantKind(t, "Start, "+c.name, err, c.want)
	}
	g, err := Start(Config{Port: anywhere, Secrets: [][]byte{secretA}, Logger: n1.cfg.Logger, Advertise: netip.MustParseAddrPort("127.0.0.1:9")})
	if err != nil {
		t.Fatalf("Start on all addresses with one to advertise: %v", err)
	}
	if a := g.Self().Addr; a != netip.MustParseAddrPort("127.0.0.1:9") {
		t.Errorf("it advertises %v", a)
	}
	g.Close()
	if !slices.IsSortedFunc(n1.Members(), func(a, b Member) int { return int(a.Number) - int(b.Number) }) {
		t.Error("members are not sorted")
	}
}
