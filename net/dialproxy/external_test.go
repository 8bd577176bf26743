package dialproxy

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
)

func TestPROBES_N5_OutsideIsOutsideInEveryDisguise(t *testing.T) {
	x := External{Denied: prefixes("8.8.8.0/24"), Allowed: prefixes("10.9.0.0/16")}
	for addr, want := range map[string]bool{
		"1.1.1.1": true, "93.184.216.34": true, "2606:4700::1111": true, "10.9.1.1": true,
		"10.0.0.1": false, "172.16.0.1": false, "172.31.255.255": false, "192.168.1.1": false, "127.0.0.1": false, "127.9.9.9": false,
		"0.0.0.0": false, "0.1.2.3": false, "169.254.169.254": false, "100.64.0.1": false, "192.0.0.8": false, "198.18.0.1": false,
		"224.0.0.1": false, "240.0.0.1": false, "255.255.255.255": false, "8.8.8.8": false,
		"::": false, "::1": false, "fc00::1": false, "fd12::1": false, "fe80::1": false, "fe80::1%eth0": false, "fec0::1": false, "ff02::1": false,
		"::ffff:127.0.0.1": false, "::ffff:10.0.0.1": false, "::ffff:1.1.1.1": true, "::127.0.0.1": false, "::10.0.0.1": false,
		"64:ff9b::a9fe:a9fe": false, "64:ff9b::808:808": false, "64:ff9b::101:101": true, "64:ff9b:1::10.0.0.1": false,
		"2002:7f00:1::": false, "2002:a00:1::1": false, "2002:101:101::1": true,
		"2001:0:101:101::f5ff:fffe": false, // Teredo: client 10.0.0.1, inverted
		"2001:0:a00:1::fefe:fefe":   false, // Teredo: server 10.0.0.1
		"2606::5efe:10.0.0.1":       false, // ISATAP
		"2606::200:5efe:10.0.0.1":   false,
		"::ffff:0:10.0.0.1":         false, // SIIT
		"2001:db8::1":               false,
	} {
		a := netip.MustParseAddr(addr)
		if got := x.outside(a); got != want {
			t.Errorf("%s: outside is %v, want %v", addr, got, want)
		}
	}
}

func lone(t *testing.T, x External) *Proxy {
	p := New(Config{Node: 1, Name: "n1", Boot: 1, External: x, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(p.Close)
	return p
}

func TestPROBES_N7_ANameIsResolvedOnceAndEveryAddressChecked(t *testing.T) {
	asked := 0
	p := lone(t, External{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
		asked++
		if host == "rebind.example" && asked > 1 {
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}
		return []netip.Addr{netip.MustParseAddr("1.2.3.4"), netip.MustParseAddr("10.0.0.1")}, nil
	}})
	if _, err := p.Dial(ctx, caller("r1", "p"), api.Target{External: "mixed.example:80"}); api.KindOf(err) != api.Denied {
		t.Errorf("a name with a private address among its own: %v, want kind %q", err, api.Denied)
	}
	if asked != 1 {
		t.Errorf("the name was looked up %d times", asked)
	}
	if _, err := p.Dial(ctx, caller("r1", "p"), api.Target{External: "rebind.example:80"}); api.KindOf(err) != api.Denied {
		t.Errorf("a name that changes: %v", err)
	}
	// Forms that some parsers read as addresses are names here; what a resolver
	// makes of them is checked as well.
	for _, form := range []string{"0x7f000001", "2130706433", "127.1", "017700000001", "127.0.0.1.", "①②⑦.0.0.1", "localhost."} {
		x := External{Resolve: func(_ context.Context, host string) ([]netip.Addr, error) {
			if host != form {
				t.Errorf("%q is asked for as %q", form, host)
			}
			return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
		}}
		if _, err := lone(t, x).Dial(ctx, caller("r1", "p"), api.Target{External: form + ":80"}); api.KindOf(err) != api.Denied {
			t.Errorf("%s: %v, want kind %q", form, err, api.Denied)
		}
	}
	for _, bad := range []string{"", "1.1.1.1", "1.1.1.1:0", "1.1.1.1:99999", "1.1.1.1:x", ":80", "[::1:80", "a\x00b:80"} {
		if _, err := p.dialExternal(ctx, caller("r1", "p"), bad, false); err == nil {
			t.Errorf("%q is dialled", bad)
		}
	}
}

func TestOwnAddressesAreNotOutside(t *testing.T) {
	p := lone(t, External{Own: func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("5.6.7.8")} }})
	if _, err := p.Dial(ctx, caller("r1", "p"), api.Target{External: "5.6.7.8:80"}); api.KindOf(err) != api.Denied {
		t.Errorf("this machine's public address: %v, want kind %q", err, api.Denied)
	}
}

// What an operator published may be at a private address.
func TestPublishedServicesAreReached(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	go func() {
		c, err := lis.Accept()
		if err == nil {
			io.WriteString(c, "database")
			c.Close()
		}
	}()
	p := lone(t, External{})
	if _, err := p.Dial(ctx, caller("r1", "p"), api.Target{External: lis.Addr().String()}); api.KindOf(err) != api.Denied {
		t.Fatalf("loopback by address: %v", err)
	}
	p.cfg.Resolve = func(_ context.Context, _ api.Caller, path string) ([]api.Target, error) {
		return []api.Target{{External: lis.Addr().String()}}, nil
	}
	dctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	d, err := p.Dial(dctx, caller("r1", "p"), api.Target{Path: "/svc/db"})
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(open(t, d)); err != nil || string(b) != "database" {
		t.Errorf("read %q, %v", b, err)
	}
}

// Of several things at a path each will do: one that is gone is passed over, and the
// error is that of the last.
func TestOfSeveralAtAPathTheFirstThatIsThereIsDialled(t *testing.T) {
	p := lone(t, External{})
	server := caller("r1", "server")
	ep, err := p.NewEndpoint(server)
	if err != nil {
		t.Fatal(err)
	}
	gone, _ := api.NewEndpoint(p.cfg.Node, p.cfg.Boot)
	var list []api.Target
	p.cfg.Resolve = func(context.Context, api.Caller, string) ([]api.Target, error) { return list, nil }
	dctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	for _, tt := range []struct {
		list []api.Target
		ok   bool
	}{
		{[]api.Target{{Endpoint: gone}, {External: "127.0.0.1:1"}, {Endpoint: ep}}, true},
		{[]api.Target{{Endpoint: ep}, {Endpoint: gone}}, true},
		{[]api.Target{{Endpoint: gone}, {Endpoint: gone}}, false},
		{nil, false},
	} {
		list = tt.list
		d, err := p.Dial(dctx, caller("r1", "p"), api.Target{Path: "/svc/~any"})
		if err == nil {
			unix.Close(d.FD)
		}
		if (err == nil) != tt.ok {
			t.Errorf("of %v: %v", tt.list, err)
		}
	}
}

// What the gateway brings goes to a listener that is there, too.
func TestWhatIsBroughtGoesToOneOfThisNodeThatIsThere(t *testing.T) {
	p := lone(t, External{})
	ep, err := p.NewEndpoint(caller("r1", "server"))
	if err != nil {
		t.Fatal(err)
	}
	gone, _ := api.NewEndpoint(p.cfg.Node, p.cfg.Boot)
	before, _ := api.NewEndpoint(p.cfg.Node, p.cfg.Boot+1)
	away, _ := api.NewEndpoint(p.cfg.Node+1, 1)
	var list []api.Target
	p.cfg.Resolve = func(context.Context, api.Caller, string) ([]api.Target, error) { return list, nil }
	for _, tt := range []struct {
		list []api.Endpoint
		kind api.Kind // none: brought
	}{
		{[]api.Endpoint{gone, before, away, ep}, ""},
		{[]api.Endpoint{gone, away}, api.Unsupported},
		{[]api.Endpoint{gone, before}, api.KindOf(errRefused)},
		{nil, api.KindOf(errRefused)},
	} {
		list = nil
		for _, e := range tt.list {
			list = append(list, api.Target{Endpoint: e})
		}
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		unix.Close(fds[1])
		err = p.Bring(t.Context(), caller("r1", "gateway"), api.Target{Path: "/svc/~any"}, fds[0])
		if api.KindOf(err) != tt.kind {
			t.Errorf("to one of %v: %v", tt.list, err)
		}
	}
}
