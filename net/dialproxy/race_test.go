package dialproxy

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/net/control"
)

// Procs come and go, close and accept, realms are removed, and others dial all
// the while, from here and from another node. A connection that is accepted is
// one to this proc's endpoint, from its realm; every other ends; none is lost.
func TestPROBES_N17_RacesDeliverToTheRightProcOrToNobody(t *testing.T) {
	c := newCluster(t, 2, Limits{Backlog: 8, Dials: 1e9})
	n := c.nodes[1]
	warm, err := n.NewEndpoint(caller("warm", "p"))
	if err != nil {
		t.Fatal(err)
	}
	if d, err := c.nodes[2].Dial(ctx, caller("warm", "p"), api.Target{Endpoint: warm}); err != nil {
		t.Fatal(err)
	} else {
		unix.Close(d.FD)
	}
	n.quiet(t)
	n.ProcEnded("p")
	leaktest.Settle()
	before := count(t)

	var (
		mu   sync.Mutex
		live []api.Endpoint // some of them closed meanwhile
		ok   atomic.Int64
		wg   sync.WaitGroup
	)
	stop := make(chan struct{})
	stopped := func() bool {
		select {
		case <-stop:
			return true
		default:
			return false
		}
	}
	realm := func(i int) string { return fmt.Sprintf("r%d", i%2) }
	for i := range 6 { // procs, one after another in each
		wg.Go(func() {
			for life := 0; !stopped(); life++ {
				me := caller(realm(i), fmt.Sprintf("server-%d-%d", i, life))
				ep, err := n.NewEndpoint(me)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				if live = append(live, ep); len(live) > 6 {
					live = live[1:]
				}
				mu.Unlock()
				actx, cancel := context.WithTimeout(ctx, time.Duration(rand.IntN(20))*time.Millisecond)
				var in sync.WaitGroup
				for range 2 {
					in.Go(func() {
						for {
							a, err := n.Accept(actx, me, ep)
							if err != nil {
								return
							}
							ok.Add(1)
							in.Go(func() { isFor(t, a, me, ep) })
						}
					})
				}
				select {
				case <-actx.Done():
				case <-time.After(time.Duration(rand.IntN(20)) * time.Millisecond):
				}
				switch rand.IntN(3) {
				case 0: // it closes its endpoint, perhaps while it accepts
					n.CloseEndpoint(me, ep)
				case 1: // it dies
					n.ProcEnded(me.Proc)
				case 2:
					n.RemoveRealm(me.Realm)
				}
				<-actx.Done()
				cancel()
				in.Wait()
				n.ProcEnded(me.Proc)
			}
		})
	}
	for i := range 6 {
		wg.Go(func() {
			me := caller(realm(i), fmt.Sprintf("client-%d", i))
			for !stopped() {
				mu.Lock()
				var ep api.Endpoint
				if len(live) > 0 {
					ep = live[rand.IntN(len(live))]
				}
				mu.Unlock()
				dctx, cancel := context.WithTimeout(ctx, 5*time.Second)
				d, err := c.nodes[uint16(1+i/3)].Dial(dctx, me, api.Target{Endpoint: ep})
				cancel()
				if err != nil {
					if k := api.KindOf(err); k != api.NotFound && k != api.Busy {
						t.Errorf("dial: %v", err)
					}
					continue
				}
				conn := connection(t, d)
				fmt.Fprintf(conn, "%s %s\n", me.Realm, ep)
				io.Copy(io.Discard, conn) // its end comes from the listener, or because nobody took it
				conn.Close()
			}
		})
	}
	time.Sleep(1500 * time.Millisecond)
	close(stop)
	wg.Wait()

	if ok.Load() < 20 {
		t.Errorf("%d connections were accepted: the test shows nothing", ok.Load())
	}
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		fds, pending := count(t), n.pending.Load()
		if fds == before && pending == 0 {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, want %d; %d counted as waiting", fds, before, pending)
		}
	}
}

// isFor checks that an accepted connection is of the realm and for the endpoint.
func isFor(t *testing.T, a control.Passed, me api.Caller, ep api.Endpoint) {
	conn := connection(t, a)
	defer conn.Close()
	var realm, to string
	fmt.Fscanln(conn, &realm, &to)
	if realm != me.Realm || to != string(ep) || a.Peer.Realm != me.Realm || a.Peer.Endpoint != ep {
		t.Errorf("%s of realm %s accepted a connection from realm %q (%q) to %q, not its %s", me.Proc, me.Realm, realm, a.Peer.Realm, to, ep)
	}
}

func connection(t *testing.T, p control.Passed) net.Conn {
	f := os.NewFile(uintptr(p.FD), "conn")
	defer f.Close()
	conn, err := net.FileConn(f)
	if err != nil {
		t.Error(err)
		return &net.TCPConn{}
	}
	conn.SetDeadline(time.Now().Add(10 * time.Second))
	return conn
}
