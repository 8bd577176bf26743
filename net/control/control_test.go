package control

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
)

// fake is a Handler that remembers and, where asked to, waits.
type fake struct {
	started atomic.Int64
	spawned atomic.Int64
	waiting atomic.Int64
	release chan struct{} // closed: waits return

	mu      sync.Mutex
	callers map[api.Caller]int
}

func newFake() *fake {
	return &fake{release: make(chan struct{}), callers: make(map[api.Caller]int)}
}

func (f *fake) saw(c api.Caller) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.callers[c]++
}

func (f *fake) Started(c api.Caller) { f.started.Add(1); f.saw(c) }

func (f *fake) Exited(c api.Caller, _ wire.Exit) error { f.saw(c); return nil }

func (f *fake) wait(ctx context.Context, c api.Caller) error {
	f.saw(c)
	f.waiting.Add(1)
	defer f.waiting.Add(-1)
	select {
	case <-f.release:
		return nil
	case <-ctx.Done():
		return api.E(api.Canceled, "wait", "", "cancelled")
	}
}

func (f *fake) WaitKill(ctx context.Context, c api.Caller) (wire.Target, error) {
	return wire.Target{Reason: "because"}, f.wait(ctx, c)
}

func (f *fake) Spawn(c api.Caller, d *api.ProcDesc) (api.ProcID, error) {
	f.saw(c)
	f.spawned.Add(1)
	if d.Program == "" {
		return "", api.E(api.Invalid, "spawn", "", "no program")
	}
	return "p-1", nil
}

func (f *fake) WaitStart(ctx context.Context, c api.Caller, _ string) (*api.Status, error) {
	return nil, f.wait(ctx, c)
}

func (f *fake) WaitExit(ctx context.Context, c api.Caller, id string) (api.Status, error) {
	return api.Status{State: api.Exited, Message: id}, f.wait(ctx, c)
}

func (f *fake) Kill(c api.Caller, _ wire.Target) error { f.saw(c); return nil }

func (f *fake) EnterRealm(c api.Caller, realm string) (api.Caller, error) {
	if realm != "mine" {
		return c, api.E(api.NotFound, "realm", realm, "no such realm")
	}
	c.Realm = realm
	return c, nil
}

func (f *fake) Call(ctx context.Context, c api.Caller, call wire.Call, send func(any, []byte) error) (any, error) {
	f.saw(c)
	switch call.Method {
	case "many":
		for i := range 5 {
			if err := send(i, []byte("data")); err != nil {
				return nil, err
			}
		}
		return nil, nil
	case "half":
		send(1, nil)
		return nil, api.E(api.Unavailable, "half", "", "no more")
	case "huge":
		return strings.Repeat("x", wire.MaxAnswer+1), nil
	case "wait":
		return nil, f.wait(ctx, c)
	}
	return nil, api.E(api.Unsupported, "call", call.Method, "none")
}

var me = api.Caller{Node: "n", Realm: "r", Proc: "p"}

// peer is the other end of a served connection.
type peer struct {
	t    *testing.T
	conn *net.UnixConn
	r    *wire.Reader
	done chan error // Serve's result
}

// dial serves h on one end of a socket pair; the test's end closes both and
// waits.
func dial(t *testing.T, h Handler, wrap func(Conn) Conn) *peer {
	t.Helper()
	dir := t.TempDir()
	lis, err := net.ListenUnix("unix", &net.UnixAddr{Name: dir + "/s"})
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: dir + "/s"})
	if err != nil {
		t.Fatal(err)
	}
	served, err := lis.AcceptUnix()
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{t: t, conn: conn, r: wire.NewAnswerReader(conn), done: make(chan error, 1)}
	var c Conn = served
	if wrap != nil {
		c = wrap(c)
	}
	go func() { p.done <- Serve(context.Background(), c, me, h, nil) }()
	t.Cleanup(func() {
		conn.Close()
		select {
		case <-p.done:
		case <-time.After(10 * time.Second):
			t.Error("Serve does not return after the connection's end")
		}
	})
	return p
}

func (p *peer) send(f wire.Frame) {
	p.t.Helper()
	if _, err := p.conn.Write(wire.Append(nil, f)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *peer) recv() wire.Frame {
	p.t.Helper()
	p.conn.SetReadDeadline(time.Now().Add(time.Minute))
	f, err := p.r.Read()
	if err != nil {
		p.t.Fatalf("no answer: %v", err)
	}
	f.Payload = append([]byte(nil), f.Payload...)
	return f
}

// ask sends one frame and returns the error of its answer, or nil.
func (p *peer) ask(f wire.Frame) error {
	p.t.Helper()
	p.send(f)
	a := p.recv()
	if a.ID != f.ID || a.Type != f.Type || a.Flags&wire.FlagReply == 0 {
		p.t.Errorf("%+v was answered by %+v", f, a)
	}
	if a.Flags&wire.FlagError != 0 {
		return wire.DecodeError(a.Payload)
	}
	return nil
}

// ended waits for the server's verdict on the connection.
func (p *peer) ended() error {
	p.t.Helper()
	select {
	case err := <-p.done:
		p.done <- err
		return err
	case <-time.After(10 * time.Second):
		p.t.Fatal("the connection is still served")
		return nil
	}
}

var spawn = wire.Frame{Type: wire.TSpawn, ID: 1, Payload: wire.EncodeDesc(&api.ProcDesc{Program: "x"})}

// A bad frame costs its sender the connection; another on the same handler goes
// on, and so do the waits on it.
func TestPROBES_N13_BadFrameEndsItsConnectionAlone(t *testing.T) {
	h := newFake()
	good := dial(t, h, nil)
	good.send(wire.Frame{Type: wire.TWaitExit, ID: 7, Payload: wire.Target{ID: "a"}.Encode()})
	for name, b := range map[string][]byte{
		"http":          []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		"version 0":     make([]byte, 12),
		"version 9":     {0, 0, 0, 0, 9, 1, 0, 0, 1, 0, 0, 0},
		"too long":      {1, 0, 4, 0, 1, 4, 0, 0, 1, 0, 0, 0},
		"4 GiB":         {255, 255, 255, 255, 1, 4, 0, 0, 1, 0, 0, 0},
		"a reply":       {0, 0, 0, 0, 1, 1, 1, 0, 1, 0, 0, 0},
		"unknown flags": {0, 0, 0, 0, 1, 1, 0, 128, 1, 0, 0, 0},
		"cut":           {9, 0, 0, 0, 1, 4, 0, 0, 1, 0, 0, 0, 1},
	} {
		bad := dial(t, h, nil)
		if err := bad.ask(spawn); err != nil {
			t.Fatalf("%s: before it: %v", name, err)
		}
		if _, err := bad.conn.Write(b); err != nil {
			t.Fatal(err)
		}
		bad.conn.CloseWrite()
		if err := bad.ended(); err == nil {
			t.Errorf("%s: the connection ended as if all were well", name)
		}
		if err := good.ask(spawn); err != nil {
			t.Errorf("%s: the other connection: %v", name, err)
		}
	}
	close(h.release)
	if a := good.recv(); a.ID != 7 || a.Flags != wire.FlagReply {
		t.Errorf("the wait of the other connection: %+v", a)
	}
}

// A payload that does not decode, and a type that is not known, cost an answer
// only.
func TestMalformedPayloadsAreAnswered(t *testing.T) {
	p := dial(t, newFake(), nil)
	id := uint32(1)
	for _, typ := range []wire.Type{wire.TExited, wire.TSpawn, wire.TKill, wire.TRealm, wire.TWaitStart, wire.TWaitExit, wire.TWaitKill, wire.TCall} {
		for name, payload := range map[string][]byte{"a field past the end": {1, 255, 0, 0}, "half a head": {1, 0}} {
			id++
			if err := p.ask(wire.Frame{Type: typ, ID: id, Payload: payload}); api.KindOf(err) != api.Invalid {
				t.Errorf("type %d, %s: %v, want kind %q", typ, name, err, api.Invalid)
			}
		}
	}
	for _, typ := range []wire.Type{0, 15, 100, 255} {
		id++
		if err := p.ask(wire.Frame{Type: typ, ID: id}); api.KindOf(err) != api.Unsupported {
			t.Errorf("type %d: %v, want kind %q", typ, err, api.Unsupported)
		}
	}
	if err := p.ask(spawn); err != nil {
		t.Error(err)
	}
}

func TestCallerIsTheTransports(t *testing.T) {
	h := newFake()
	p := dial(t, h, nil)
	// What the frame says of realms and procs is a field like any other.
	var f wire.Fields
	f.String(1, "x")
	f.String(40, "root")
	p.ask(wire.Frame{Type: wire.TSpawn, ID: 1, Payload: f})
	if err := p.ask(wire.Frame{Type: wire.TRealm, ID: 2, Payload: wire.Target{ID: "theirs"}.Encode()}); api.KindOf(err) != api.NotFound {
		t.Errorf("another realm: %v", err)
	}
	p.ask(wire.Frame{Type: wire.TKill, ID: 3, Payload: wire.Target{ID: "x"}.Encode()})
	if len(h.callers) != 1 || h.callers[me] != 2 {
		t.Errorf("the handler saw %v, want %v alone", h.callers, me)
	}
	if err := p.ask(wire.Frame{Type: wire.TRealm, ID: 4, Payload: wire.Target{ID: "mine"}.Encode()}); err != nil {
		t.Error(err)
	}
	p.ask(wire.Frame{Type: wire.TExited, ID: 5})
	in := me
	in.Realm = "mine"
	if h.callers[in] != 1 {
		t.Errorf("after entering a realm the handler saw %v", h.callers)
	}
}

func TestRequestWithoutAnIDHasNoAnswer(t *testing.T) {
	h := newFake()
	p := dial(t, h, nil)
	p.send(wire.Frame{Type: wire.TStarted})
	p.send(wire.Frame{Type: wire.TSpawn, Payload: []byte{1}})
	if err := p.ask(spawn); err != nil || h.started.Load() != 1 {
		t.Errorf("%v after %d Started; the next answer should be the next request's", err, h.started.Load())
	}
}

func TestPendingRequestsAreBounded(t *testing.T) {
	h := newFake()
	p := dial(t, h, nil)
	wait := func(id uint32) wire.Frame {
		return wire.Frame{Type: wire.TWaitExit, ID: id, Payload: wire.Target{ID: "a"}.Encode()}
	}
	for id := uint32(1); id <= maxPending; id++ {
		p.send(wait(id))
	}
	if err := p.ask(wait(maxPending + 1)); api.KindOf(err) != api.Busy {
		t.Errorf("one more: %v, want kind %q", err, api.Busy)
	}
	if err := p.ask(wait(5)); api.KindOf(err) != api.Invalid {
		t.Errorf("an id twice: %v, want kind %q", err, api.Invalid)
	}
	if err := p.ask(wire.Frame{Type: wire.TSpawn, ID: 99999, Payload: spawn.Payload}); err != nil {
		t.Errorf("what does not wait: %v", err)
	}
	// A cancelled one frees its place, and is answered once.
	var f wire.Fields
	f.Int(1, 5)
	p.send(wire.Frame{Type: wire.TCancel, Payload: f})
	if a := p.recv(); a.ID != 5 || api.KindOf(wire.DecodeError(a.Payload)) != api.Canceled {
		t.Errorf("the cancelled wait: %+v", a)
	}
	p.send(wait(5))
	close(h.release)
	seen := make(map[uint32]bool)
	for range maxPending {
		a := p.recv()
		if a.Flags != wire.FlagReply || seen[a.ID] {
			t.Fatalf("%+v", a)
		}
		seen[a.ID] = true
	}
}

// The end of a connection ends what waits on it, and Serve waits for that.
func TestEndOfTheConnectionCancelsItsWaits(t *testing.T) {
	h := newFake()
	p := dial(t, h, nil)
	for id := uint32(1); id <= 20; id++ {
		p.send(wire.Frame{Type: wire.TWaitKill, ID: id})
	}
	for h.waiting.Load() != 20 {
		runtime.Gosched()
	}
	p.conn.Close()
	if err := p.ended(); err != nil {
		t.Errorf("a clean end: %v", err)
	}
	if n := h.waiting.Load(); n != 0 {
		t.Errorf("Serve returned with %d waits under way", n)
	}
}

func TestContextEndsTheConnection(t *testing.T) {
	h := newFake()
	a, b := net.Pipe()
	defer b.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- Serve(ctx, a, me, h, nil) }()
	cancel()
	select {
	case <-done:
	case <-time.After(10 * time.Second):
		t.Fatal("Serve goes on after its context")
	}
}

// hasty is a connection on which a write may take no time.
type hasty struct{ Conn }

func (h hasty) SetWriteDeadline(time.Time) error {
	return h.Conn.SetWriteDeadline(time.Now().Add(50 * time.Millisecond))
}

// A peer that asks and never reads is cut off, and what it made us keep is
// little: no request is taken while an answer waits to be written.
func TestPROBES_N13_DeafPeerIsCutOff(t *testing.T) {
	h := newFake()
	close(h.release)
	p := dial(t, h, func(c Conn) Conn { return hasty{c} })
	most := 0
	var err error
	for id := uint32(1); err == nil; id++ {
		p.conn.SetWriteDeadline(time.Now().Add(10 * time.Second))
		_, err = p.conn.Write(wire.Append(nil, wire.Frame{Type: wire.TWaitExit, ID: id, Payload: wire.Target{ID: "a"}.Encode()}))
		if id%100 == 0 {
			most = max(most, runtime.NumGoroutine())
		}
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("it is not cut off")
	}
	if p.ended() == nil {
		t.Error("the connection ended as if all were well")
	}
	if most > 2000 {
		t.Errorf("%d goroutines at a time", most)
	}
}

func TestCallStreams(t *testing.T) {
	p := dial(t, newFake(), nil)
	call := func(id uint32, method string) {
		p.send(wire.Frame{Type: wire.TCall, ID: id, Payload: wire.Call{Method: method}.Encode()})
	}
	call(1, "many")
	for i := range 6 {
		a := p.recv()
		c, err := wire.DecodeCall(a.Payload)
		more := a.Flags&wire.FlagMore != 0
		if err != nil || a.ID != 1 || more != (i < 5) || more && (string(c.Body) != fmt.Sprint(i) || string(c.Data) != "data") {
			t.Errorf("answer %d: %+v %+v %v", i, a, c, err)
		}
	}
	call(2, "half")
	p.recv()
	if a := p.recv(); a.Flags != wire.FlagReply|wire.FlagError || api.KindOf(wire.DecodeError(a.Payload)) != api.Unavailable {
		t.Errorf("an error in the middle: %+v", a)
	}
	call(3, "huge")
	if a := p.recv(); api.KindOf(wire.DecodeError(a.Payload)) != api.TooLarge {
		t.Errorf("an answer that is too long: %+v", a)
	}
}

// Whatever bytes come, the whole server loop ends when they do, without a
// panic, and what it wrote are frames: answers, each to a request.
func FuzzServe(f *testing.F) {
	var all []byte
	for typ := wire.Type(0); typ < 24; typ++ {
		all = wire.Append(all, wire.Frame{Type: typ, ID: uint32(typ) + 1, Payload: wire.Target{ID: "mine", GraceMS: 3}.Encode()})
	}
	f.Add(all)
	f.Add(wire.Append(nil, spawn))
	f.Add(wire.Append(nil, wire.Frame{Type: wire.TCall, ID: 3, Payload: wire.Call{Method: "many"}.Encode()}))
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add([]byte{4, 0, 0, 0, 1, 9, 0, 0, 0, 0, 0, 0, 1, 8, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		h := newFake()
		close(h.release)
		c := &tape{r: bytes.NewReader(b)}
		done := make(chan struct{})
		go func() { defer close(done); Serve(context.Background(), c, me, h, nil) }()
		select {
		case <-done:
		case <-time.After(10 * time.Second):
			t.Fatalf("Serve hangs on %x", b)
		}
		for r := wire.NewAnswerReader(&c.out); ; {
			f, err := r.Read()
			if err != nil {
				if err != io.EOF {
					t.Errorf("wrote no frame: %v", err)
				}
				return
			}
			if f.Flags&wire.FlagReply == 0 || f.ID == 0 {
				t.Errorf("wrote %+v", f)
			}
		}
	})
}

// tape is a connection that has all its input and keeps its output.
type tape struct {
	r   *bytes.Reader
	out bytes.Buffer // under the server's own lock
}

func (c *tape) Read(p []byte) (int, error)       { return c.r.Read(p) }
func (c *tape) Write(p []byte) (int, error)      { return c.out.Write(p) }
func (c *tape) Close() error                     { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }
