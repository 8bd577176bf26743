package dialproxy

import (
	"context"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
)

// hung is a cluster whose node 3 is somebody who does what it likes with a
// connection; the key it gives is zeros.
type hung struct {
	*cluster
	lis  net.Listener
	call func(ctx context.Context) error
}

func (h hung) Address(n uint16) (string, uint32, bool) {
	if n == 3 {
		return h.lis.Addr().String(), 7, true
	}
	return as{h.cluster, 2}.Address(n)
}
func (h hung) Number(name string) (uint16, bool) { return as{h.cluster, 2}.Number(name) }
func (h hung) Name(n uint16) string              { return as{h.cluster, 2}.Name(n) }
func (h hung) Call(ctx context.Context, n uint16, method string, req []byte) ([]byte, error) {
	if h.call != nil {
		return nil, h.call(ctx)
	}
	return append([]byte{0, 0, 0, 7}, make([]byte, keySize)...), nil
}

// The other node stops at any step of a set-up: the dial ends in bounded time,
// with an error that says which node it is, and nothing stays open.
func TestFAULTS_F22_DialEndsWhateverTheOtherNodeDoes(t *testing.T) {
	key := make([]byte, keySize)
	// read takes a whole set-up and returns its counter.
	read := func(c net.Conn) uint64 {
		var b [1]byte
		io.ReadFull(c, b[:])
		m, err := readSetup(c)
		if err != nil {
			return 0
		}
		s, _ := decodeSetup(m)
		return s.counter
	}
	hold := func(c net.Conn) { io.Copy(io.Discard, c) }
	for name, tt := range map[string]struct {
		peer func(c net.Conn)
		call func(ctx context.Context) error
		want api.Kind
	}{
		"says nothing":                   {peer: func(c net.Conn) { read(c); hold(c) }, want: api.Unavailable},
		"does not read":                  {peer: func(c net.Conn) { time.Sleep(time.Second) }, want: api.Unavailable},
		"half an answer":                 {peer: func(c net.Conn) { c.Write(answer(key, read(c), accepted)[:20]); hold(c) }, want: api.Unavailable},
		"ends after half":                {peer: func(c net.Conn) { c.Write(answer(key, read(c), accepted)[:20]) }, want: api.Unavailable},
		"ends at once":                   {peer: func(c net.Conn) {}, want: api.Unavailable},
		"ends after the set-up":          {peer: func(c net.Conn) { read(c) }, want: api.Unavailable},
		"an answer to another":           {peer: func(c net.Conn) { c.Write(answer(key, read(c)+1, accepted)); hold(c) }, want: api.Unavailable},
		"a forged answer":                {peer: func(c net.Conn) { c.Write(answer([]byte("another key"), read(c), accepted)); hold(c) }, want: api.Unavailable},
		"garbage":                        {peer: func(c net.Conn) { read(c); c.Write(make([]byte, 1000)); hold(c) }, want: api.Unavailable},
		"stale keys for ever":            {peer: func(c net.Conn) { c.Write(answer(nil, read(c), staleKey)); hold(c) }, want: api.Unavailable},
		"an unknown status":              {peer: func(c net.Conn) { c.Write(answer(key, read(c), 77)); hold(c) }, want: api.Unavailable},
		"refused":                        {peer: func(c net.Conn) { c.Write(answer(key, read(c), refused)) }, want: api.NotFound},
		"busy":                           {peer: func(c net.Conn) { c.Write(answer(key, read(c), busy)) }, want: api.Busy},
		"accepts, and more comes behind": {peer: func(c net.Conn) { c.Write(append(answer(key, read(c), accepted), "payload"...)) }},
		"the key's question hangs":       {call: func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, want: api.Unavailable},
		"the key's question fails":       {call: func(context.Context) error { return io.ErrUnexpectedEOF }, want: api.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCluster(t, 2, Limits{})
			lis, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			served := make(chan struct{})
			go func() {
				defer close(served)
				for {
					conn, err := lis.Accept()
					if err != nil {
						return
					}
					conn.SetDeadline(time.Now().Add(5 * time.Second))
					tt.peer(conn)
					conn.Close()
				}
			}()
			n := c.nodes[2]
			n.cfg.Nodes = hung{c, lis, tt.call}
			if tt.want == api.Unavailable { // the others are answered, however busy the machine is
				n.step = 500 * time.Millisecond
			}
			leaktest.Settle()
			before := count(t)
			ep, _ := api.NewEndpoint(3, 7)
			begin := time.Now()
			d, err := n.Dial(ctx, caller("r", "p"), api.Target{Endpoint: ep})
			took := time.Since(begin)
			if api.KindOf(err) != tt.want || took > 8*time.Second {
				t.Errorf("dial: %v after %v; want kind %q, soon", err, took, tt.want)
			}
			if err == nil {
				if b, err := io.ReadAll(open(t, d)); err != nil || string(b) != "payload" {
					t.Errorf("behind the answer: %q, %v", b, err)
				}
			}
			lis.Close()
			<-served
			if tt.want == "" {
				return
			}
			if n := count(t); n != before-1 { // the listener is gone
				t.Errorf("%d descriptors are open, want %d", n, before-1)
			}
			if n.connecting.Load() != 0 {
				t.Errorf("%d dials are counted", n.connecting.Load())
			}
		})
	}
}

// Who connects with the port and stops half-way costs a connection for so long.
func TestFAULTS_F22_SetupThatStopsHalfWayEnds(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	n := c.nodes[1]
	n.step = 50 * time.Millisecond
	k, err := c.nodes[2].outgoing(ctx, 1, 7)
	if err != nil {
		t.Fatal(err)
	}
	s := setup{from: 2, fromBoot: 7, to: 1, toBoot: 7, counter: k.counter.Add(1), caller: caller("r", "p")}
	good, err := s.encode(k.key)
	if err != nil {
		t.Fatal(err)
	}
	leaktest.Settle()
	before := count(t)
	for cut := 1; cut < len(good); cut += 9 {
		conn, err := net.Dial("tcp", n.lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(good[:cut])
		if b, err := io.ReadAll(conn); err != nil || len(b) != 0 {
			t.Errorf("cut after %d bytes: %x, %v; want the end", cut, b, err)
		}
		conn.Close()
	}
	for end := time.Now().Add(5 * time.Second); count(t) != before; time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, want %d", count(t), before)
		}
	}
}

// A caller that gives up ends its dial at any step.
func TestCancelledDialEnds(t *testing.T) {
	c := newCluster(t, 2, Limits{})
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	n := c.nodes[2]
	n.cfg.Nodes = hung{cluster: c, lis: lis}
	n.cfg.External = External{Allowed: prefixes("10.0.0.0/8"), Resolve: func(ctx context.Context, _ string) ([]netip.Addr, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}}
	n.cfg.Resolve = func(ctx context.Context, _ api.Caller, path string) ([]api.Target, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	ep, _ := api.NewEndpoint(3, 7)
	for name, target := range map[string]api.Target{"another node": {Endpoint: ep}, "outside": {External: "slow.example:80"}, "a path": {Path: "/svc/x"}} {
		dctx, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		begin := time.Now()
		d, err := n.Dial(dctx, caller("r", "p"), target)
		cancel()
		if err == nil {
			unix.Close(d.FD)
		}
		if took := time.Since(begin); err == nil || took > stepTime/2 {
			t.Errorf("%s: %v after %v", name, err, took)
		}
	}
}
