package sigma_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/nettest"
	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
	"sigmaos/net/dialproxy"
	"sigmaos/net/fdpass"
	"sigmaos/sigma"
)

// node is a proxy with the channels of some procs.
type node struct {
	t *testing.T
	*dialproxy.Proxy
}

func newNode(t *testing.T, l dialproxy.Limits) node {
	p := dialproxy.New(dialproxy.Config{Node: 1, Name: "n1", Boot: 1, Limits: l, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(p.Close)
	return node{t, p}
}

// proc is the client of one proc, as it finds it on descriptor 3.
func (n node) proc(realm, id string) *sigma.Client {
	n.t.Helper()
	ours, fd, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		n.t.Fatal(err)
	}
	theirs, err := fdpass.New(fd, fdpass.Take)
	if err != nil {
		n.t.Fatal(err)
	}
	c := sigma.NewClient(theirs)
	done := make(chan struct{})
	go func() {
		defer close(done)
		control.Serve(context.Background(), ours, api.Caller{Realm: realm, Proc: api.ProcID(id), Node: "n1"}, nil, n.Proxy)
		n.ProcEnded(api.ProcID(id))
	}()
	n.t.Cleanup(func() { c.Close(); <-done })
	return c
}

var ctx = context.Background()

func TestListenerAndDialer(t *testing.T) {
	n := newNode(t, dialproxy.Limits{})
	server, client := n.proc("r", "server"), n.proc("r", "client")
	lis, ep, err := server.NewEndpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	nettest.TestConn(t, func() (net.Conn, net.Conn, func(), error) {
		a, err := client.Dial(ctx, ep)
		if err != nil {
			return nil, nil, nil, err
		}
		b, err := lis.Accept()
		if err != nil {
			return nil, nil, nil, err
		}
		if p, ok := sigma.PeerOf(b); !ok || p.Proc != "client" || p.Realm != "r" {
			t.Errorf("the listener sees %+v", p)
		}
		if p, ok := sigma.PeerOf(a); !ok || p.Proc != "server" || p.Endpoint != ep {
			t.Errorf("the dialer sees %+v", p)
		}
		return a, b, func() { a.Close(); b.Close() }, nil
	})
	if err := lis.Close(); err != nil {
		t.Error(err)
	}
	if _, err := lis.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept on a closed listener: %v", err)
	}
	if _, err := client.Dial(ctx, ep); api.KindOf(err) != api.NotFound || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("dial of a closed one: %v", err)
	}
}

func TestCloseEndsAcceptThatWaits(t *testing.T) {
	n := newNode(t, dialproxy.Limits{})
	lis, _, err := n.proc("r", "server").NewEndpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error)
	go func() { _, err := lis.Accept(); ended <- err }()
	lis.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept: %v", err)
	}
}

// A server may poll: give up, do something else, and accept again. Every
// connection that was made is accepted once.
func TestAcceptContextThatGivesUpLosesNothing(t *testing.T) {
	n := newNode(t, dialproxy.Limits{Backlog: 2000})
	server, client := n.proc("r", "server"), n.proc("r", "client")
	lis, ep, err := server.NewEndpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	const count = 500
	got := make(chan string, count)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for worker := range 3 {
		wg.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				// Some give up at once, some wait for as long as it takes a few.
				actx, cancel := context.WithTimeout(ctx, time.Duration((i*7+worker)%5)*50*time.Microsecond)
				if worker == 2 {
					actx, cancel = context.WithTimeout(ctx, 20*time.Millisecond)
				}
				conn, err := lis.AcceptContext(actx)
				cancel()
				if err != nil {
					if k := api.KindOf(err); k != api.Deadline {
						t.Errorf("accept: %v", err)
						return
					}
					continue
				}
				b, _ := io.ReadAll(conn)
				conn.Close()
				got <- string(b)
			}
		})
	}
	for i := range count {
		conn, err := client.Dial(ctx, ep)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(conn, i)
		conn.Close()
	}
	seen := make(map[string]bool)
	for len(seen) < count {
		select {
		case s := <-got:
			if seen[s] || s == "" {
				t.Errorf("connection %q came twice or empty", s)
			}
			seen[s] = true
		case <-time.After(10 * time.Second):
			t.Fatalf("%d of %d connections were accepted", len(seen), count)
		}
	}
	close(stop)
	wg.Wait()
}

// A proc that dies closes its listeners; who waits there is told.
func TestPaper42_DeadListenerRefuses(t *testing.T) {
	n := newNode(t, dialproxy.Limits{})
	server, client := n.proc("r", "server"), n.proc("r", "client")
	_, ep, err := server.NewEndpoint(ctx)
	if err != nil {
		t.Fatal(err)
	}
	waiting, err := client.Dial(ctx, ep)
	if err != nil {
		t.Fatal(err)
	}
	server.Close()
	waiting.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := waiting.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("a connection in its backlog: %v, want the end", err)
	}
	if _, err := client.Dial(ctx, ep); api.KindOf(err) != api.NotFound || !strings.Contains(err.Error(), "connection refused") {
		t.Errorf("dial: %v", err)
	}
}
