package control_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/leaktest"
	"sigmaos/net/control"
	"sigmaos/net/dialproxy"
	"sigmaos/net/fdpass"
)

// channel serves one proc's control channel and returns its other end.
func channel(t *testing.T, p *dialproxy.Proxy, proc string) *fdpass.Conn {
	t.Helper()
	ours, fd, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	theirs, err := fdpass.New(fd, fdpass.Take)
	if err != nil {
		t.Fatal(err)
	}
	theirs.SetDeadline(time.Now().Add(20 * time.Second))
	serve(t, ours, p, proc, func() { theirs.Close() })
	return theirs
}

func serve(t *testing.T, conn control.Conn, p *dialproxy.Proxy, proc string, end func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		control.Serve(context.Background(), conn, api.Caller{Realm: "r", Proc: api.ProcID(proc)}, nil, p)
		p.ProcEnded(api.ProcID(proc))
	}()
	t.Cleanup(func() { end(); <-done })
}

func newProxy(t *testing.T) *dialproxy.Proxy {
	t.Helper()
	p := dialproxy.New(dialproxy.Config{Node: 1, Name: "n1", Boot: 1, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(p.Close)
	return p
}

func send(t *testing.T, c io.Writer, typ wire.Type, id uint32, payload []byte) {
	t.Helper()
	if _, err := c.Write(wire.Append(nil, wire.Frame{Type: typ, ID: id, Payload: payload})); err != nil {
		t.Fatal(err)
	}
}

// answer reads one answer: its error, or what it has.
func answer(t *testing.T, r *wire.Reader, id uint32) ([]byte, uint16, error) {
	t.Helper()
	f, err := r.Read()
	if err != nil || f.ID != id || f.Flags&wire.FlagReply == 0 {
		t.Fatalf("answer %+v, %v; want one to %d", f, err, id)
	}
	if f.Flags&wire.FlagError != 0 {
		return nil, f.Flags, wire.DecodeError(f.Payload)
	}
	return append([]byte(nil), f.Payload...), f.Flags, nil
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

func TestFramesOfEndpoints(t *testing.T) {
	p := newProxy(t)
	server, client := channel(t, p, "server"), channel(t, p, "client")
	rs, rc := wire.NewReader(server), wire.NewReader(client)
	send(t, server, wire.TNewEndpoint, 1, nil)
	ep, _, err := answer(t, rs, 1)
	if err != nil {
		t.Fatal(err)
	}
	send(t, client, wire.TDial, 7, ep)
	peer, flags, err := answer(t, rc, 7)
	if err != nil || flags != wire.FlagReply|wire.FlagFD {
		t.Fatalf("dial: flags %d, %v", flags, err)
	}
	if q, _ := wire.DecodePeer(peer); q.Proc != "server" {
		t.Errorf("the dialler's peer is %+v", q)
	}
	send(t, server, wire.TAccept, 2, ep)
	peer, flags, err = answer(t, rs, 2)
	if err != nil || flags != wire.FlagReply|wire.FlagFD {
		t.Fatalf("accept: flags %d, %v", flags, err)
	}
	if q, _ := wire.DecodePeer(peer); q.Proc != "client" || q.Realm != "r" {
		t.Errorf("the listener's peer is %+v", q)
	}
	a, ok1 := client.Taken()
	b, ok2 := server.Taken()
	if !ok1 || !ok2 {
		t.Fatal("no descriptors")
	}
	defer unix.Close(a)
	defer unix.Close(b)
	unix.Write(a, []byte("x"))
	if n, err := unix.Read(b, make([]byte, 2)); n != 1 || err != nil {
		t.Errorf("through it: %d, %v", n, err)
	}
	// An Accept that waits ends with the endpoint, and with a Cancel.
	send(t, server, wire.TAccept, 3, ep)
	send(t, server, wire.TAccept, 4, ep)
	var f wire.Fields
	f.Int(1, 4)
	send(t, server, wire.TCancel, 0, f)
	if _, _, err := answer(t, rs, 4); api.KindOf(err) != api.Canceled {
		t.Errorf("a cancelled accept: %v", err)
	}
	send(t, server, wire.TCloseEndpoint, 0, ep) // wants no answer
	if _, _, err := answer(t, rs, 3); api.KindOf(err) != api.NotFound {
		t.Errorf("an accept on a closed endpoint: %v", err)
	}
}

// What cannot be answered with a descriptor makes no connection.
func TestNoDescriptorWhereNoneCanGo(t *testing.T) {
	p := newProxy(t)
	server := channel(t, p, "server")
	rs := wire.NewReader(server)
	send(t, server, wire.TNewEndpoint, 1, nil)
	ep, _, err := answer(t, rs, 1)
	if err != nil {
		t.Fatal(err)
	}
	leaktest.Settle()
	before := descriptors(t)
	client := channel(t, p, "client")
	for range 100 {
		send(t, client, wire.TDial, 0, ep) // wants no answer
		send(t, client, wire.TAccept, 0, ep)
	}
	plain, theirs := net.Pipe() // carries bytes alone
	plain.SetDeadline(time.Now().Add(20 * time.Second))
	serve(t, theirs, p, "outside", func() { plain.Close() })
	rp := wire.NewReader(plain)
	for id, typ := range []wire.Type{wire.TDial, wire.TAccept} {
		send(t, plain, typ, uint32(id+1), ep)
		if _, _, err := answer(t, rp, uint32(id+1)); api.KindOf(err) != api.Unsupported {
			t.Errorf("type %d without descriptors: %v, want kind %q", typ, err, api.Unsupported)
		}
	}
	send(t, client, wire.TNewEndpoint, 9, nil) // the 200 are through
	if _, _, err := answer(t, wire.NewReader(client), 9); err != nil {
		t.Fatal(err)
	}
	if list := p.List("r"); list[0].Waiting != 0 {
		t.Errorf("%d connections wait", list[0].Waiting)
	}
	if n := descriptors(t); n > before+2+8 { // the client's channel, and what the proxy has ready
		t.Errorf("%d descriptors are open, want at most %d", n, before+2+8)
	}
}

// A proc that dies with answers on the way takes their connections with it.
func TestAnswersToTheDeadAreClosed(t *testing.T) {
	p := newProxy(t)
	server := channel(t, p, "server")
	send(t, server, wire.TNewEndpoint, 1, nil)
	ep, _, err := answer(t, wire.NewReader(server), 1)
	if err != nil {
		t.Fatal(err)
	}
	leaktest.Settle()
	before := descriptors(t)
	for range 20 {
		client := channel(t, p, "client")
		for id := range uint32(10) {
			send(t, client, wire.TDial, id+1, ep)
		}
		client.Close()
	}
	server.Close()  // and with it what waits there
	const stock = 8 // the proxy keeps a few connections ready
	for end := time.Now().Add(10 * time.Second); descriptors(t) > before+stock; time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("%d descriptors are open, want %d or less", descriptors(t), before+stock)
		}
	}
}
