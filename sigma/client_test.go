package sigma

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/leaktest"
	"sigmaos/net/fdpass"
)

// channel makes a client and the other end of its connection, on which nobody
// serves.
func channel(t testing.TB) (*Client, *fdpass.Conn) {
	t.Helper()
	server, fd, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := fdpass.New(fd, fdpass.Take)
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(conn)
	t.Cleanup(func() { c.Close(); server.Close() })
	return c, server
}

// descriptors counts those of this process.
func descriptors(t testing.TB) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// sigmad may be stopped: its socket fills up, and a call still lasts no longer
// than its ctx. When it goes on, it reads whole frames, and answers are those of
// whom they are for.
func TestFAULTS_F21_CallsAreBoundedThoughNobodyReads(t *testing.T) {
	c, server := channel(t)
	const calls = 2000
	ctx := newOver()
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() {
			if _, err := c.Dial(ctx, Endpoint("ep1-aaaqaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa")); api.KindOf(err) != api.Deadline {
				t.Errorf("dial: %v, want kind %q", err, api.Deadline)
			}
		})
	}
	full(t, c, server, calls)
	close(ctx.over)
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(20 * time.Second):
		t.Fatal("calls hang")
	}
	if n := len(c.pending); n != 0 {
		t.Errorf("%d requests are still awaited", n)
	}

	// It goes on. Each dial that it reads was also cancelled.
	dials, cancels := make(map[uint32]bool), make(map[int64]bool)
	asked := make(chan error, 1)
	r := wire.NewReader(server)
	server.SetDeadline(time.Now().Add(10 * time.Second))
	go func() {
		octx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		_, ep, err := c.NewEndpoint(octx)
		if err == nil && ep != "ep1-x" {
			err = errors.New("another's answer: " + string(ep))
		}
		asked <- err
	}()
	var last uint32
	for last == 0 || len(cancels) < len(dials) {
		f, err := r.Read()
		if err != nil {
			t.Fatalf("after %d dials and %d cancels: %v", len(dials), len(cancels), err)
		}
		switch f.Type {
		case wire.TDial:
			dials[f.ID] = true
		case wire.TCancel:
			wire.Each(f.Payload, func(_ uint8, v []byte) error {
				id, err := wire.Int(v)
				cancels[id] = true
				return err
			})
		case wire.TNewEndpoint:
			last = f.ID
			server.Write(wire.Append(nil, wire.Frame{Type: f.Type, Flags: wire.FlagReply, ID: f.ID, Payload: wire.EncodeEndpoint("ep1-x")}))
		}
	}
	if len(dials) == 0 || len(dials) == calls {
		t.Errorf("%d of %d dials went before the socket was full: the test shows nothing", len(dials), calls)
	}
	for id := range dials {
		if !cancels[int64(id)] {
			t.Errorf("dial %d was not cancelled", id)
		}
	}
	if err := <-asked; err != nil {
		t.Errorf("the call after that: %v", err)
	}
}

// What could not be sent goes when sigmad is heard of again, also when nobody
// writes.
func TestCancelsGoWhenSigmadIsHeardAgain(t *testing.T) {
	c, server := channel(t)
	go c.WaitKill(context.Background())
	server.SetDeadline(time.Now().Add(10 * time.Second))
	r := wire.NewReader(server)
	wait, err := r.Read()
	if err != nil {
		t.Fatal(err)
	}
	const calls = 2000 // more than there is room for: the cancels find none
	ctx := newOver()
	var wg sync.WaitGroup
	for range calls {
		wg.Go(func() { c.Dial(ctx, "ep1-aaaqaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa") })
	}
	full(t, c, server, calls)
	close(ctx.over)
	wg.Wait()
	var came bytes.Buffer
	for buf := make([]byte, 4096); waiting(t, server) > 0; {
		n, err := server.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		came.Write(buf[:n])
	}
	server.Write(wire.Append(nil, wire.Frame{Type: wait.Type, Flags: wire.FlagReply, ID: wait.ID}))
	dials, cancels := 0, 0
	for r := wire.NewReader(io.MultiReader(&came, server)); dials == 0 || cancels < dials; {
		f, err := r.Read()
		if err != nil {
			t.Fatalf("after %d dials and %d cancels: %v", dials, cancels, err)
		}
		if f.Type == wire.TDial {
			dials++
		} else if f.Type == wire.TCancel {
			cancels++
		}
	}
}

// over is a ctx whose deadline comes when the test says so.
type over struct {
	context.Context
	over chan struct{}
}

func newOver() over { return over{context.Background(), make(chan struct{})} }

func (o over) Done() <-chan struct{} { return o.over }

func (o over) Err() error {
	select {
	case <-o.over:
		return context.DeadlineExceeded
	default:
		return nil
	}
}

// full waits until so many calls have begun and the socket takes no more of their
// frames.
func full(t *testing.T, c *Client, server *fdpass.Conn, calls int) {
	t.Helper()
	last := 0
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		c.mu.Lock()
		begun := len(c.pending)
		c.mu.Unlock()
		came := waiting(t, server)
		if begun >= calls && came > 0 && came == last {
			return
		}
		if last = came; time.Now().After(end) {
			t.Fatalf("%d of %d calls have begun, %d bytes came", begun, calls, came)
		}
	}
}

// waiting is how many bytes can be read.
func waiting(t *testing.T, c *fdpass.Conn) (n int) {
	t.Helper()
	rc, err := c.SyscallConn()
	if err == nil {
		cerr := rc.Control(func(fd uintptr) { n, err = unix.IoctlGetInt(int(fd), unix.TIOCINQ) })
		err = errors.Join(err, cerr)
	}
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// A request of which not a byte went is as if it never was.
func TestCallThatNeverWentLeavesNothing(t *testing.T) {
	c, server := channel(t)
	for {
		if n, err := c.w.try.TryWrite(make([]byte, 4096)); err != nil || n == 0 {
			break
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	if _, err := c.Dial(ctx, "ep1-x"); api.KindOf(err) != api.Deadline {
		t.Errorf("dial: %v", err)
	}
	if len(c.w.out) != 0 || len(c.w.late) != 0 {
		t.Errorf("%d and %d bytes are left to be sent", len(c.w.out), len(c.w.late))
	}
	server.Close()
}

func TestListenerCloseIsBounded(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 5 s")
	}
	t.Parallel()
	c, _ := channel(t)
	l := &Listener{c: c, ep: "ep1-x", waiters: make(map[*waiter]bool)}
	l.ctx, l.stop = context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Close() }()
	select {
	case err := <-done:
		if api.KindOf(err) != api.Deadline {
			t.Errorf("close: %v", err)
		}
	case <-time.After(6 * closeTime):
		t.Error("Close hangs when sigmad does not answer")
	}
}

// The answer to an Accept that was given up comes while another waits: it is
// that one's.
func TestLateConnectionIsTheNextAccepts(t *testing.T) {
	c, server := channel(t)
	server.SetDeadline(time.Now().Add(10 * time.Second))
	l := &Listener{c: c, ep: "ep1-x", ctx: context.Background(), waiters: make(map[*waiter]bool)}
	ctx, giveUp := context.WithCancel(context.Background())
	gaveUp := make(chan error)
	go func() { _, err := l.AcceptContext(ctx); gaveUp <- err }()
	r := wire.NewReader(server)
	expect := func(want wire.Type) wire.Frame {
		t.Helper()
		f, err := r.Read()
		if err != nil || f.Type != want {
			t.Fatalf("the client sends %+v, %v; want type %d", f, err, want)
		}
		return f
	}
	first := expect(wire.TAccept)
	giveUp()
	if err := <-gaveUp; api.KindOf(err) != api.Canceled {
		t.Fatalf("accept that gave up: %v", err)
	}
	expect(wire.TCancel)
	got := make(chan net.Conn)
	go func() { conn, _ := l.Accept(); got <- conn }()
	second := expect(wire.TAccept)
	x, y, err := socketpair()
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(y)
	server.WriteFD(wire.Append(nil, wire.Frame{Type: wire.TAccept, Flags: wire.FlagReply | wire.FlagFD, ID: first.ID, Payload: wire.EncodePeer(api.Peer{Proc: "p"})}), x)
	unix.Close(x)
	select {
	case conn := <-got:
		if p, _ := PeerOf(conn); p.Proc != "p" {
			t.Errorf("its peer is %+v", p)
		}
		conn.Close()
	case <-time.After(10 * time.Second):
		t.Fatal("the waiting Accept does not get it")
	}
	var f wire.Fields
	f.Int(1, int64(second.ID))
	if c := expect(wire.TCancel); !bytes.Equal(c.Payload, f) {
		t.Errorf("cancelled %x, want request %d", c.Payload, second.ID)
	}
}

// Whatever an answer says of its descriptor, and whatever comes with it: the
// client keeps none that nobody has.
func TestHostileAnswersLeakNoDescriptor(t *testing.T) {
	const reply, more, fd, fail = wire.FlagReply, wire.FlagMore, wire.FlagFD, wire.FlagError
	peer := wire.EncodePeer(api.Peer{Realm: "r"})
	type ans struct {
		flags uint16
		fd    bool // send one
		id    uint32
		p     []byte
	}
	for name, answers := range map[string][]ans{
		"an error with one":             {{flags: reply | fail | fd, fd: true, id: 1, p: wire.EncodeError(api.E(api.Busy, "dial", "", "no"))}},
		"more than one":                 {{flags: reply | more | fd, fd: true, id: 1, p: peer}, {flags: reply | fd, fd: true, id: 1, p: peer}},
		"more and then none":            {{flags: reply | more | fd, fd: true, id: 1, p: peer}, {flags: reply, id: 1, p: peer}},
		"more and then the end":         {{flags: reply | more | fd, fd: true, id: 1, p: peer}},
		"one that is not announced":     {{flags: reply, fd: true, id: 1, p: peer}},
		"an announced one that is none": {{flags: reply | fd, id: 1, p: peer}},
		"to a request that never was":   {{flags: reply | fd, fd: true, id: 99, p: peer}},
		"twice":                         {{flags: reply | fd, fd: true, id: 1, p: peer}, {flags: reply | fd, fd: true, id: 1, p: peer}},
		"a peer that is none":           {{flags: reply | fd, fd: true, id: 1, p: []byte{1, 255, 255, 255}}},
		"no reply":                      {{flags: fd, fd: true, id: 1, p: peer}},
	} {
		t.Run(name, func(t *testing.T) {
			leaktest.Settle()
			before := descriptors(t)
			server, raw, err := fdpass.Pair(unix.SOCK_STREAM)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := fdpass.New(raw, fdpass.Take)
			if err != nil {
				t.Fatal(err)
			}
			c := NewClient(conn)
			done := make(chan struct{})
			go func() {
				defer close(done)
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				if conn, err := c.Dial(ctx, "ep1-x"); err == nil {
					conn.Close()
				}
			}()
			if _, err := wire.NewReader(server).Read(); err != nil {
				t.Fatal(err)
			}
			for _, a := range answers {
				b := wire.Append(nil, wire.Frame{Type: wire.TDial, Flags: a.flags, ID: a.id, Payload: a.p})
				if !a.fd {
					server.Write(b)
					continue
				}
				x, y, err := socketpair()
				if err != nil {
					t.Fatal(err)
				}
				server.WriteFD(b, x)
				unix.Close(x)
				unix.Close(y)
			}
			server.Shutdown()
			<-done
			c.Close()
			server.Close()
			c.wait()
			if n := descriptors(t); n != before {
				t.Errorf("%d descriptors are open, want %d", n, before)
			}
		})
	}
}

// wait returns when the client's reader has ended.
func (c *Client) wait() {
	for {
		c.mu.Lock()
		err := c.err
		c.mu.Unlock()
		if err != nil {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// Whatever sigmad sends, with whatever descriptors, the client does not panic,
// every call ends, and no descriptor stays.
func FuzzClient(f *testing.F) {
	peer := wire.EncodePeer(api.Peer{Realm: "r", Proc: "p"})
	good := wire.Append(nil, wire.Frame{Type: wire.TDial, Flags: wire.FlagReply | wire.FlagFD, ID: 1, Payload: peer})
	f.Add(good, uint64(1), uint8(10))
	f.Add(append(wire.Append(nil, wire.Frame{Type: wire.TDial, Flags: wire.FlagReply | wire.FlagFD | wire.FlagMore, ID: 1, Payload: peer}), good...), uint64(3), uint8(20))
	f.Add(wire.Append(nil, wire.Frame{Type: wire.TDial, Flags: wire.FlagReply | wire.FlagError | wire.FlagFD, ID: 2, Payload: wire.EncodeError(api.E(api.Busy, "o", "s", "t"))}), uint64(0xff), uint8(3))
	f.Fuzz(func(t *testing.T, stream []byte, with uint64, piece uint8) {
		if len(stream) >= 4 && stream[3] != 0 {
			t.Skip("a frame of more than 16 MiB is only slow")
		}
		before := descriptors(t)
		server, raw, err := fdpass.Pair(unix.SOCK_STREAM)
		if err != nil {
			t.Fatal(err)
		}
		conn, err := fdpass.New(raw, fdpass.Take)
		if err != nil {
			t.Fatal(err)
		}
		c := NewClient(conn)
		go io.Copy(io.Discard, server)
		var wg sync.WaitGroup
		ctx := context.Background()
		wg.Go(func() {
			if conn, err := c.Dial(ctx, "ep1-x"); err == nil {
				conn.Close()
			}
		})
		wg.Go(func() {
			l, _, err := c.NewEndpoint(ctx)
			if err != nil {
				return
			}
			for range 3 {
				if conn, err := l.Accept(); err == nil {
					conn.Close()
				}
			}
			l.Close()
		})
		wg.Go(func() {
			short, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			if conn, err := c.DialExternal(short, "x:1"); err == nil {
				conn.Close()
			}
		})
		server.SetWriteDeadline(time.Now().Add(5 * time.Second))
		x, y, err := socketpair()
		if err != nil {
			t.Fatal(err)
		}
		for n := max(1, int(piece)); len(stream) > 0; with >>= 1 {
			fd := -1
			if with&1 != 0 {
				fd = x
			}
			p := stream[:min(n, len(stream))]
			stream = stream[len(p):]
			if _, err := server.WriteFD(p, fd); err != nil {
				break
			}
		}
		server.Shutdown()
		unix.Close(x)
		unix.Close(y)
		wg.Wait()
		c.Close()
		server.Close()
		c.wait()
		for end := time.Now().Add(5 * time.Second); descriptors(t) > before; time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%d descriptors are open, want at most %d", descriptors(t), before)
			}
		}
	})
}
