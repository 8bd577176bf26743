package dialproxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
)

// cluster is some proxies that reach each other over TCP on loopback.
type cluster struct {
	t     *testing.T
	nodes map[uint16]*testNode
}

type testNode struct {
	*Proxy
	num, boot uint16
	lis       net.Listener
	setups    atomic.Int64 // connections that the port has taken and not yet given away
}

// as is the cluster seen from one node.
type as struct {
	*cluster
	me uint16
}

func (c as) Address(n uint16) (string, uint32, bool) {
	t := c.nodes[n]
	if t == nil {
		return "", 0, false
	}
	return t.lis.Addr().String(), uint32(t.boot), true
}

func (c as) Number(name string) (uint16, bool) {
	var n uint16
	_, err := fmt.Sscanf(name, "n%d", &n)
	return n, err == nil && c.nodes[n] != nil
}

func (c as) Name(n uint16) string { return fmt.Sprintf("n%d", n) }

func (c as) Call(_ context.Context, n uint16, method string, req []byte) ([]byte, error) {
	if method != MethodKey {
		return nil, fmt.Errorf("method %s", method)
	}
	return c.nodes[n].GiveKey(c.me, req)
}

func newCluster(t *testing.T, nodes uint16, limits Limits) *cluster {
	c := &cluster{t: t, nodes: make(map[uint16]*testNode)}
	for n := uint16(1); n <= nodes; n++ {
		c.start(n, 7, limits)
	}
	return c
}

func (c *cluster) start(n, boot uint16, limits Limits) *testNode {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		c.t.Fatal(err)
	}
	p := New(Config{Node: n, Name: fmt.Sprintf("n%d", n), Boot: uint32(boot), Nodes: as{c, n}, Limits: limits, Logger: slog.New(slog.DiscardHandler)})
	p.pairs.ready = nil // none in stock: these tests count descriptors
	node := &testNode{Proxy: p, num: n, boot: boot, lis: lis}
	c.nodes[n] = node
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := lis.Accept()
			if err != nil {
				return
			}
			node.setups.Add(1)
			go func() {
				defer node.setups.Add(-1)
				var b [1]byte
				conn.SetReadDeadline(time.Now().Add(10 * time.Second))
				if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != FirstByte {
					conn.Close()
					return
				}
				p.ServeSetup(conn.(*net.TCPConn))
				conn.SetDeadline(time.Unix(1, 0)) // the port may do so until it returns
			}()
		}
	}()
	c.t.Cleanup(func() {
		lis.Close()
		<-done
		node.quiet(c.t)
		p.Close()
	})
	return node
}

// quiet waits until the node has given away every connection that came. A dialler
// has its answer before that, so who counts descriptors comes here first.
func (n *testNode) quiet(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); n.setups.Load() != 0; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("node %d still serves %d set-ups", n.num, n.setups.Load())
		}
	}
}

func caller(realm, proc string) api.Caller {
	return api.Caller{Realm: realm, Proc: api.ProcID(proc), User: "u", Node: "n1"}
}

// open makes a connection of a passed descriptor.
func open(t *testing.T, p control.Passed) net.Conn {
	t.Helper()
	f := os.NewFile(uintptr(p.FD), "conn")
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(10 * time.Second))
	return c
}

func talk(t *testing.T, a, b net.Conn) {
	t.Helper()
	for _, x := range [][2]net.Conn{{a, b}, {b, a}} {
		want := strings.Repeat("payload ", 1000)
		go io.WriteString(x[0], want)
		got := make([]byte, len(want))
		if _, err := io.ReadFull(x[1], got); err != nil || string(got) != want {
			t.Fatalf("what was written does not arrive: %v", err)
		}
	}
}

var ctx = context.Background()

func TestPaper42_DialAndAccept(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	for name, from := range map[string]uint16{"same node": 1, "other node": 2} {
		t.Run(name, func(t *testing.T) {
			server, client := caller("r1", "server"), caller("r1", "client")
			ep, err := c.nodes[1].NewEndpoint(server)
			if err != nil {
				t.Fatal(err)
			}
			d, err := c.nodes[from].Dial(ctx, client, api.Target{Endpoint: ep})
			if err != nil {
				t.Fatal(err)
			}
			a, err := c.nodes[1].Accept(ctx, server, ep)
			if err != nil {
				t.Fatal(err)
			}
			if a.Peer.Realm != "r1" || a.Peer.Proc != "client" || a.Peer.User != "u" {
				t.Errorf("the listener sees %+v, want the client of realm r1", a.Peer)
			}
			talk(t, open(t, d), open(t, a))
			if l := c.nodes[1].List("r1"); len(l) == 0 || l[0].Accepted != 1 {
				t.Errorf("list: %+v, want one connection", l)
			}
			if err := c.nodes[1].CloseEndpoint(server, ep); err != nil {
				t.Error(err)
			}
		})
	}
}

// Whatever is wrong with a token, the answer is the same, and no sooner than
// the others.
func TestPROBES_N1_N2_EveryWrongTokenGivesOneError(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	server := caller("r1", "server")
	good, _ := c.nodes[1].NewEndpoint(server)
	closed, _ := c.nodes[1].NewEndpoint(server)
	c.nodes[1].CloseEndpoint(server, closed)
	never, _ := api.NewEndpoint(1, 7)
	oldBoot, _ := api.NewEndpoint(1, 6)
	noNode, _ := api.NewEndpoint(99, 1)
	flip := func(i int) api.Endpoint {
		b := []byte(good)
		if b[i] != 'c' {
			b[i] = 'c'
		} else {
			b[i] = 'd'
		}
		return api.Endpoint(b)
	}
	tokens := map[string]api.Endpoint{
		"closed": closed, "never": never, "old boot": oldBoot, "no such node": noNode, "empty": "", "truncated": good[:20], "longer": good + "a",
		"10 MB": api.Endpoint(strings.Repeat("a", 10<<20)), "NUL": "ep1-\x00", "upper case": api.Endpoint(strings.ToUpper(string(good))),
	}
	for i := len("ep1-"); i < len(good); i += 5 {
		tokens[fmt.Sprintf("letter %d", i)] = flip(i)
	}
	for from := uint16(1); from <= 2; from++ {
		want := ""
		check := func(name string, cl api.Caller, ep api.Endpoint) {
			begin := time.Now()
			_, err := c.nodes[from].Dial(ctx, cl, api.Target{Endpoint: ep})
			took := time.Since(begin)
			if err == nil {
				t.Fatalf("from node %d, %s: it connects", from, name)
			}
			if want == "" {
				want = err.Error()
			}
			if err.Error() != want || api.KindOf(err) != api.NotFound || took < refuseAfter {
				t.Errorf("from node %d, %s: %q after %v; want %q, not before %v", from, name, err, took, want, refuseAfter)
			}
		}
		for name, ep := range tokens {
			check(name, server, ep)
		}
		check("another realm's", caller("r2", "thief"), good)
	}
}

func TestPROBES_N11_ReplayAndForgeryAreRefused(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	server := caller("r1", "server")
	ep, _ := c.nodes[1].NewEndpoint(server)
	_, _, id, _ := ep.Parse()
	k, err := c.nodes[2].outgoing(ctx, 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	base := setup{from: 2, fromBoot: 7, to: 1, toBoot: 7, caller: caller("r1", "client"), endpoint: id}
	send := func(msg []byte) status {
		conn, err := net.Dial("tcp", c.nodes[1].lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(msg)
		b := make([]byte, answerSize)
		if _, err := io.ReadFull(conn, b); err != nil {
			return 255 // closed without an answer
		}
		return status(b[1])
	}
	encode := func(change func(*setup)) []byte {
		s := base
		s.counter = k.counter.Add(1)
		if change != nil {
			change(&s)
		}
		b, err := s.encode(k.key)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	good := encode(nil)
	if st := send(good); st != accepted {
		t.Fatalf("a good set-up: status %d", st)
	}
	if st := send(good); st == accepted {
		t.Error("sent again at once: accepted")
	}
	late := encode(nil)
	for range window + 1 {
		k.counter.Add(1)
	}
	if st := send(encode(nil)); st != accepted {
		t.Fatalf("a good set-up far ahead: status %d", st)
	}
	bad := map[string][]byte{
		"replay": good, "older than the window": late,
		"to another node": encode(func(s *setup) { s.to = 3 }), "to another boot": encode(func(s *setup) { s.toBoot = 8 }),
		"from another node": encode(func(s *setup) { s.from = 9 }), "from an old boot": encode(func(s *setup) { s.fromBoot = 6 }),
		"counter 0": encode(func(s *setup) { s.counter = 0 }), "another realm": encode(func(s *setup) { s.caller.Realm = "r2" }),
		"no such service": encode(func(s *setup) { s.service = "named" }),
		"truncated":       good[:len(good)-1], "only the head": good[:4], "version": append([]byte{FirstByte, 9}, good[2:]...),
	}
	for i := 4; i < len(good); i += 7 {
		b := encode(nil)
		b[i] ^= 1
		bad[fmt.Sprintf("bit of byte %d", i)] = b
	}
	for name, msg := range bad {
		if name == "truncated" || name == "only the head" {
			continue // they wait for more: see the next test
		}
		if st := send(msg); st == accepted {
			t.Errorf("%s: accepted", name)
		}
	}
	if l := c.nodes[1].List("r1"); l[0].Waiting != 2 {
		t.Errorf("%d connections wait for the listener, want the 2 good ones", l[0].Waiting)
	}
}

// A restarted node has other keys; the first dial after that asks for them.
func TestKeysFollowBoots(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	dial := func() error {
		n := c.nodes[1]
		server := caller("r1", "server")
		ep, err := n.NewEndpoint(server)
		if err != nil {
			t.Fatal(err)
		}
		d, err := c.nodes[2].Dial(ctx, caller("r1", "client"), api.Target{Endpoint: ep})
		if err == nil {
			unix.Close(d.FD)
		}
		return err
	}
	if err := dial(); err != nil {
		t.Fatal(err)
	}
	c.nodes[1].Proxy.Close()
	c.start(1, 8, Limits{})
	if err := dial(); err != nil {
		t.Errorf("after a restart of the listening node: %v", err)
	}
	c.nodes[2].Proxy.Close()
	c.start(2, 9, Limits{})
	if err := dial(); err != nil {
		t.Errorf("after a restart of the dialling node: %v", err)
	}
	// A node that lost its keys within one boot says so.
	c.nodes[1].keys.in = make(map[uint16]*incoming)
	if err := dial(); err != nil {
		t.Errorf("after the key was forgotten: %v", err)
	}
}

func TestPROBES_N17_CloseEndsAcceptsAndBacklog(t *testing.T) {
	c := newCluster(t, 1, Limits{})
	server, client := caller("r1", "server"), caller("r1", "client")
	ep, _ := c.nodes[1].NewEndpoint(server)
	d, err := c.nodes[1].Dial(ctx, client, api.Target{Endpoint: ep})
	if err != nil {
		t.Fatal(err)
	}
	waiting := open(t, d)
	other, _ := c.nodes[1].NewEndpoint(server)
	ended := make(chan error)
	go func() {
		_, err := c.nodes[1].Accept(ctx, server, other)
		ended <- err
	}()
	c.nodes[1].ProcEnded("server")
	if err := <-ended; api.KindOf(err) != api.NotFound {
		t.Errorf("accept of an ended proc: %v, want kind %q", err, api.NotFound)
	}
	if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection that nobody accepted: %v, want the end", err)
	}
	if _, err := c.nodes[1].Dial(ctx, client, api.Target{Endpoint: ep}); api.KindOf(err) != api.NotFound {
		t.Errorf("dial after the listener's end: %v", err)
	}
	if n := c.nodes[1].pending.Load(); n != 0 {
		t.Errorf("%d descriptors are still counted", n)
	}
}

func TestPROBES_N19_LimitsHitTheirRealmAlone(t *testing.T) {
	c := newCluster(t, 1, Limits{Endpoints: 3, Backlog: 2, Pending: 3, Dials: 0.001, Burst: 20})
	n := c.nodes[1]
	a, b := caller("r1", "server"), caller("r2", "server")
	var eps []api.Endpoint
	for range 3 {
		ep, err := n.NewEndpoint(a)
		if err != nil {
			t.Fatal(err)
		}
		eps = append(eps, ep)
	}
	if _, err := n.NewEndpoint(a); api.KindOf(err) != api.Busy {
		t.Errorf("a 4th endpoint: %v, want kind %q", err, api.Busy)
	}
	var busy, ok int
	for _, ep := range eps {
		for range 3 {
			d, err := n.Dial(ctx, a, api.Target{Endpoint: ep})
			switch {
			case err == nil:
				ok++
				defer unix.Close(d.FD)
			case api.KindOf(err) == api.Busy:
				busy++
			default:
				t.Fatal(err)
			}
		}
	}
	if ok != 3 || busy != 6 {
		t.Errorf("%d connections wait and %d were refused; want 3 (2 and 1, of 3 for the realm) and 6", ok, busy)
	}
	for range 20 {
		n.Dial(ctx, a, api.Target{Endpoint: "x"})
	}
	if _, err := n.Dial(ctx, a, api.Target{Endpoint: eps[0]}); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "times a second") {
		t.Errorf("over the rate: %v", err)
	}
	ep, err := n.NewEndpoint(b)
	if err != nil {
		t.Fatalf("another realm: %v", err)
	}
	d, err := n.Dial(ctx, b, api.Target{Endpoint: ep})
	if err != nil {
		t.Errorf("another realm: %v", err)
	} else {
		unix.Close(d.FD)
	}
}

// An Accept that gives up in the moment in which a connection comes loses none.
func TestAcceptThatGivesUpLosesNothing(t *testing.T) {
	c := newCluster(t, 1, Limits{})
	n := c.nodes[1]
	server := caller("r1", "server")
	ep, _ := n.NewEndpoint(server)
	for i := range 200 {
		actx, cancel := context.WithCancel(ctx)
		got := make(chan int, 1)
		go func() {
			p, err := n.Accept(actx, server, ep)
			if err != nil {
				p.FD = -1
			}
			got <- p.FD
		}()
		if i%2 == 0 {
			go cancel()
		}
		d, err := n.Dial(ctx, server, api.Target{Endpoint: ep})
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 1 {
			cancel()
		}
		fd := <-got
		if fd < 0 {
			p, err := n.Accept(ctx, server, ep)
			if err != nil {
				t.Fatal(err)
			}
			fd = p.FD
		}
		unix.Close(fd)
		unix.Close(d.FD)
		cancel()
	}
	if l := n.List("r1"); l[0].Accepted != 200 || l[0].Waiting != 0 || n.pending.Load() != 0 {
		t.Errorf("%+v, %d pending; want 200 accepted and none waiting", l[0], n.pending.Load())
	}
}

func TestServicesSeeTheCaller(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	for _, n := range c.nodes {
		n.Serve("who", func(_ context.Context, conn net.Conn, c api.Caller) {
			fmt.Fprintf(conn, "%s %s of %s", c.Realm, c.Proc, c.Node)
		})
		n.Serve("bad", func(context.Context, net.Conn, api.Caller) { panic("a defect") })
	}
	for _, node := range []string{"n1", "n2", ""} {
		d, err := c.nodes[1].Dial(ctx, caller("r1", "p"), api.Target{Service: "who", Node: node})
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(open(t, d)); err != nil || string(b) != "r1 p of n1" {
			t.Errorf("service on %q says %q, %v", node, b, err)
		}
		if d, err := c.nodes[1].Dial(ctx, caller("r1", "p"), api.Target{Service: "bad", Node: node}); err == nil {
			io.ReadAll(open(t, d))
		}
	}
	if _, err := c.nodes[1].Dial(ctx, caller("r1", "p"), api.Target{Service: "none", Node: "n2"}); api.KindOf(err) != api.NotFound {
		t.Errorf("a service that is not there: %v", err)
	}
	if _, err := c.nodes[1].Dial(ctx, caller("r1", "p"), api.Target{Service: "who", Node: "n9"}); api.KindOf(err) != api.NotFound {
		t.Errorf("a node that is not there: %v", err)
	}
}
