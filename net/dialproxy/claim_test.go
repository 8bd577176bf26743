package dialproxy

import (
	"context"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
)

// A dial that was told yes has its place, however many come at once: nothing
// that was accepted ends because another was quicker.
func TestWhatIsAcceptedHasItsPlace(t *testing.T) {
	const room = 8
	for round := range 40 {
		c := newCluster(t, 2, Limits{Backlog: room})
		server := caller("r", "server")
		ep, err := c.nodes[1].NewEndpoint(server)
		if err != nil {
			t.Fatal(err)
		}
		var mu sync.Mutex
		var made []net.Conn
		var wg sync.WaitGroup
		for i := range 48 {
			wg.Go(func() {
				d, err := c.nodes[uint16(1+i%2)].Dial(ctx, caller("r", "client"), api.Target{Endpoint: ep})
				if err != nil {
					if api.KindOf(err) != api.Busy {
						t.Error(err)
					}
					return
				}
				conn := connection(t, d)
				mu.Lock()
				defer mu.Unlock()
				made = append(made, conn)
			})
		}
		wg.Wait()
		if len(made) != room {
			t.Errorf("round %d: %d dials were told yes, want %d", round, len(made), room)
		}
		for range made {
			actx, cancel := context.WithTimeout(ctx, 5*time.Second)
			a, err := c.nodes[1].Accept(actx, server, ep)
			cancel()
			if err != nil {
				t.Fatalf("round %d: of %d connections that were made one is not there: %v", round, len(made), err)
			}
			unix.Write(a.FD, []byte("x"))
			unix.Close(a.FD)
		}
		for _, conn := range made {
			if b, err := io.ReadAll(conn); err != nil || string(b) != "x" {
				t.Errorf("round %d: a connection that was made says %q, %v", round, b, err)
			}
			conn.Close()
		}
		if n := c.nodes[1].pending.Load(); n != 0 {
			t.Errorf("round %d: %d are counted as waiting", round, n)
		}
		if t.Failed() {
			return
		}
	}
}

// A place that was claimed is given back where the connection does not come,
// and lost with the endpoint.
func TestClaims(t *testing.T) {
	p := lone(t, External{})
	p.cfg.Limits.Backlog = 2
	me := caller("r", "server")
	token, err := p.NewEndpoint(me)
	if err != nil {
		t.Fatal(err)
	}
	_, _, id, _ := token.Parse()
	e := p.lookup("r", id)
	for i, want := range []status{accepted, accepted, busy} {
		if _, st := e.claim(); st != want {
			t.Errorf("claim %d: status %d, want %d", i, st, want)
		}
	}
	if _, err := p.Dial(ctx, caller("r", "p"), api.Target{Endpoint: token}); api.KindOf(err) != api.Busy {
		t.Errorf("a dial with all places claimed: %v", err)
	}
	e.unclaim(place{counted: true})
	d, err := p.Dial(ctx, caller("r", "p"), api.Target{Endpoint: token})
	if err != nil {
		t.Errorf("a dial into the place that was given back: %v", err)
	} else {
		unix.Close(d.FD)
	}
	p.ProcEnded("server")
	if _, st := e.claim(); st != refused {
		t.Errorf("a claim on a closed endpoint: status %d", st)
	}
	a, b, err := p.pairs.take()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(a)
	defer unix.Close(b)
	if err := e.settle(place{counted: true}, control.Passed{FD: b}); err == nil {
		t.Error("a connection went to a closed endpoint")
	}
	if n := p.pending.Load(); n != 0 {
		t.Errorf("%d are counted as waiting", n)
	}
}
