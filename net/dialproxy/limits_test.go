package dialproxy

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
)

// Every default of a realm leaves room for another, with however few
// descriptors sigmad was started.
func TestLimitsLeaveRoomForOthers(t *testing.T) {
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_NOFILE, &old)
	for _, fds := range []uint64{256, 1024, old.Max} {
		if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: min(fds, old.Max), Max: old.Max}); err != nil {
			t.Fatal(err)
		}
		var l Limits
		l.fill()
		for name, v := range map[string][2]int{
			"pending": {l.Pending, l.NodePending}, "connecting": {l.Connecting, l.NodeConnecting}, "services": {l.Services, l.NodeServices},
		} {
			if v[0] < 1 || v[0] > v[1]/2 {
				t.Errorf("with %d descriptors, %s: %d of a realm, %d of the node", fds, name, v[0], v[1])
			}
		}
		if all := l.NodePending + l.NodeConnecting + l.NodeServices; uint64(all) > fds/3 {
			t.Errorf("of %d descriptors procs can use %d", fds, all)
		}
	}
}

// Dials that wait, outside or for a hostile server, hold a descriptor of sigmad
// each; a realm has so many, and another does not notice.
func TestFAULTS_F26_DialsUnderWayAreBounded(t *testing.T) {
	hang := make(chan struct{})
	p := New(Config{
		Node: 1, Name: "n1", Boot: 1, Limits: Limits{Connecting: 4, NodeConnecting: 8}, Logger: slog.New(slog.DiscardHandler),
		External: External{Resolve: func(ctx context.Context, host string) ([]netip.Addr, error) {
			if host == "slow.example" {
				<-hang
			}
			return []netip.Addr{netip.MustParseAddr("10.0.0.1")}, nil
		}},
		Resolve: func(ctx context.Context, _ api.Caller, path string) ([]api.Target, error) {
			<-hang
			return nil, api.E(api.NotFound, "dial", path, "no")
		},
	})
	defer p.Close()
	kinds := make(chan api.Kind, 20)
	dial := func(realm string, t api.Target) {
		_, err := p.Dial(ctx, caller(realm, "p"), t)
		kinds <- api.KindOf(err)
	}
	for i := range 10 {
		if i%2 == 0 {
			go dial("a", api.Target{External: "slow.example:80"})
		} else {
			go dial("a", api.Target{Path: "/svc/x"})
		}
	}
	for range 6 { // of ten, four hang
		if k := <-kinds; k != api.Busy {
			t.Errorf("a dial over the limit: kind %q, want %q", k, api.Busy)
		}
	}
	dial("b", api.Target{External: "inside.example:80"})
	if k := <-kinds; k != api.Denied {
		t.Errorf("another realm's dial: kind %q, want %q: it got through", k, api.Denied)
	}
	close(hang)
	for range 4 {
		<-kinds
	}
	dial("a", api.Target{External: "inside.example:80"})
	if k := <-kinds; k != api.Denied {
		t.Errorf("after the others ended: kind %q", k)
	}
	if n := p.connecting.Load(); n != 0 {
		t.Errorf("%d dials are still counted", n)
	}
}

func TestConnectionsWithServicesAreBounded(t *testing.T) {
	c := newCluster(t, 2, Limits{Services: 3, NodeServices: 5})
	n := c.nodes[1]
	n.Serve("wait", func(_ context.Context, conn net.Conn, _ api.Caller) { io.Copy(io.Discard, conn) })
	var open []int
	for from := uint16(1); from <= 2; from++ { // here, and from another node
		for len(open) < 3 {
			d, err := c.nodes[from].Dial(ctx, caller("a", "p"), api.Target{Service: "wait", Node: "n1"})
			if err != nil {
				t.Fatal(err)
			}
			open = append(open, d.FD)
		}
		if _, err := c.nodes[from].Dial(ctx, caller("a", "p"), api.Target{Service: "wait", Node: "n1"}); api.KindOf(err) != api.Busy {
			t.Errorf("from node %d, a fourth: %v, want kind %q", from, err, api.Busy)
		}
		d, err := c.nodes[from].Dial(ctx, caller("b", "p"), api.Target{Service: "wait", Node: "n1"})
		if err != nil {
			t.Errorf("from node %d, another realm: %v", from, err)
		} else {
			unix.Close(d.FD)
		}
		for _, fd := range open {
			unix.Close(fd)
		}
		open = nil
		for end := time.Now().Add(5 * time.Second); n.serving.Load() != 0; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d connections are still counted", n.serving.Load())
			}
		}
	}
}

// Realms that are gone, or were never there, do not stay in the table.
func TestQuotasOfIdleRealmsAreForgotten(t *testing.T) {
	p := lone(t, External{})
	p.cfg.Limits.Dials = 1e9
	if _, err := p.NewEndpoint(caller("stays", "p")); err != nil {
		t.Fatal(err)
	}
	for i := range 10 * sweepAt {
		p.Dial(ctx, caller(fmt.Sprint("realm", i), "p"), api.Target{External: "x"})
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.realms) > 2*sweepAt || p.realms["stays"] == nil {
		t.Errorf("%d quotas are kept, the one in use: %v", len(p.realms), p.realms["stays"] != nil)
	}
}

func TestATargetIsOneThing(t *testing.T) {
	p := lone(t, External{})
	for name, target := range map[string]api.Target{
		"endpoint and external": {Endpoint: "ep1-x", External: "1.1.1.1:80"}, "external and path": {External: "1.1.1.1:80", Path: "/svc/x"},
		"service and path": {Service: "named", Path: "/x"}, "node alone": {Node: "n1"}, "node of a path": {Node: "n1", Path: "/x"},
	} {
		if _, err := p.Dial(ctx, caller("r", "p"), target); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: %v, want kind %q", name, err, api.Invalid)
		}
	}
}

// With no descriptor left, dials fail as the caller's to repeat, nothing is
// lost, and afterwards all is as before.
func TestFAULTS_F26_NoDescriptorsLeft(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	server := caller("r1", "server")
	ep, err := c.nodes[1].NewEndpoint(server)
	if err != nil {
		t.Fatal(err)
	}
	c.nodes[1].cfg.Resolve = func(context.Context, api.Caller, string) ([]api.Target, error) {
		return []api.Target{{External: c.nodes[2].lis.Addr().String()}}, nil
	}
	c.nodes[1].Serve("who", func(context.Context, net.Conn, api.Caller) {})
	targets := map[string]api.Target{"endpoint": {Endpoint: ep}, "published": {Path: "/svc/db"}, "service": {Service: "who"}}
	d, err := c.nodes[2].Dial(ctx, caller("r1", "c"), targets["endpoint"]) // the key is there
	if err != nil {
		t.Fatal(err)
	}
	unix.Close(d.FD)
	c.nodes[1].quiet(t)
	var old unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	leaktest.Settle()
	before := count(t)
	try := func(name string, from uint16, target api.Target, want api.Kind) {
		t.Helper()
		d, err := c.nodes[from].Dial(ctx, caller("r1", "c"), target)
		if api.KindOf(err) != want {
			t.Errorf("%s from node %d: %v, want kind %q", name, from, err, want)
		}
		if err == nil {
			unix.Close(d.FD)
		}
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 3, Max: old.Max}); err != nil {
		t.Fatal(err)
	}
	for name, target := range targets {
		try(name, 1, target, api.Busy)
	}
	try("endpoint", 2, targets["endpoint"], api.Busy)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &old); err != nil {
		t.Fatal(err)
	}
	if n := count(t); n != before {
		t.Errorf("%d descriptors are open, want %d", n, before)
	}
	for name, target := range targets {
		try(name, 1, target, "")
	}
	try("endpoint", 2, targets["endpoint"], "")
}

func count(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
