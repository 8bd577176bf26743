package rpc

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
)

var bg = context.Background()

func TestCallCarriesRequestAndAnswer(t *testing.T) {
	c := connect(t, testServer(Options{}), Options{})
	for _, method := range []string{"inline", "echo"} {
		for _, size := range []int{0, 1, 64, 5000, 70 << 10, 1<<20 - len(method)} {
			req := bytes.Repeat([]byte{7}, size)
			got, err := c.Call(bg, method, req)
			if err != nil || !bytes.Equal(got, req) {
				t.Errorf("Call(%s, %d bytes): %d bytes, %v", method, size, len(got), err)
			}
		}
	}
}

func TestErrorsKeepTheirKind(t *testing.T) {
	s := testServer(Options{})
	for name, err := range map[string]error{
		"typed":     api.E(api.Exists, "create", "/a", "it is there"),
		"wrapped":   fmt.Errorf("while creating: %w", api.E(api.Exists, "create", "/a", "it is there")),
		"plain":     errPlain,
		"deadline":  fmt.Errorf("x: %w", context.DeadlineExceeded),
		"canceled":  context.Canceled,
		"nil typed": (*api.Error)(nil),
		"no kind":   &api.Error{Text: "x"},
	} {
		fn := func(context.Context, *Request) ([]byte, error) { return []byte("dropped"), err }
		s.Handle(name, fn)
		s.HandleInline(name+" inline", fn)
		s.HandleStream(name+" stream", func(context.Context, *Stream) error { return err })
	}
	c := connect(t, s, Options{})
	for _, tc := range []struct{ method, want string }{
		{"typed", "exists create /a: it is there"},
		{"wrapped", "exists create /a: it is there"},
		{"plain", "internal call plain: plain"},
		{"deadline", "deadline call deadline: the time ran out"},
		{"canceled", "canceled call canceled: the caller gave up"},
		{"nil typed", "internal call nil typed: the handler returned an error without a kind"},
		{"no kind", "internal call no kind: the handler returned an error without a kind"},
		{"nothing here", "unsupported call nothing here: the other side has no such method"},
		{"echo stream", "unsupported call echo stream: streams are opened, other methods are called"},
	} {
		for _, sort := range []string{"", " inline", " stream"} {
			var err error
			want := tc.want
			switch {
			case strings.HasPrefix(want, "unsupported") && sort != "":
				continue
			case sort == " stream":
				st := must[*Stream](t)(c.Stream(bg, tc.method+sort))
				_, err = st.Recv()
			default:
				_, err = c.Call(bg, tc.method+sort, nil)
			}
			if !strings.HasPrefix(want, "exists") {
				want = strings.Replace(want, "call "+tc.method, "call "+tc.method+sort, 1)
			}
			var e *api.Error
			if !errors.As(err, &e) || string(e.Kind)+" "+e.Error() != want {
				t.Errorf("%s: %q %v, want %q", tc.method+sort, api.KindOf(err), err, want)
			}
		}
	}
	st := must[*Stream](t)(c.Stream(bg, "echo"))
	_, err := st.Recv()
	wantKind(t, "a stream of a method that is none", err, api.Unsupported)
}

func TestCallsThatCannotBe(t *testing.T) {
	s := testServer(Options{MaxFrame: 100 << 10})
	s.Handle("long answer", func(context.Context, *Request) ([]byte, error) { return make([]byte, 300<<10), nil })
	c := connect(t, s, Options{MaxFrame: 200 << 10})
	over, cancel := context.WithCancel(bg)
	cancel()
	past, cancel := context.WithTimeout(bg, -1)
	defer cancel()
	for _, tc := range []struct {
		name   string
		ctx    context.Context
		method string
		req    []byte
		want   api.Kind
	}{
		{"no name", bg, "", nil, api.Invalid},
		{"long name", bg, strings.Repeat("x", 256), nil, api.Invalid},
		{"longest name", bg, strings.Repeat("x", 255), nil, api.Unsupported},
		{"long request", bg, "echo", make([]byte, 100<<10-3), api.TooLarge},
		{"longest request", bg, "echo", make([]byte, 100<<10-4), ""},
		{"long answer", bg, "long answer", nil, api.TooLarge},
		{"canceled before", over, "echo", nil, api.Canceled},
		{"too late", past, "echo", nil, api.Deadline},
	} {
		_, err := c.Call(tc.ctx, tc.method, tc.req)
		wantKind(t, tc.name, err, tc.want)
	}
	if _, err := c.Call(bg, "echo", nil); err != nil {
		t.Errorf("after all that: %v", err)
	}
}

// What the transport knows of the peer reaches every sort of handler.
func TestHandlersSeeThePeer(t *testing.T) {
	s := NewServer(Options{})
	tell := func(_ context.Context, r *Request) ([]byte, error) {
		return fmt.Appendf(nil, "%s for %v", r.Method, r.Peer), nil
	}
	s.Handle("a", tell)
	s.HandleInline("b", tell)
	s.HandleStream("c", func(_ context.Context, st *Stream) error {
		return st.Send(fmt.Appendf(nil, "%s for %v", st.Method(), st.Peer()))
	})
	c := connect(t, s, Options{})
	for _, m := range []string{"a", "b"} {
		if got, err := c.Call(bg, m, nil); string(got) != m+" for the peer" {
			t.Errorf("Call(%s): %q, %v", m, got, err)
		}
	}
	st := must[*Stream](t)(c.Stream(bg, "c"))
	if got, err := st.Recv(); string(got) != "c for the peer" {
		t.Errorf("Recv: %q, %v", got, err)
	}
}

func TestPanicCostsItsOwnCall(t *testing.T) {
	var mu sync.Mutex
	var told []string
	s := testServer(Options{Panicked: func(method string, v any, stack []byte) {
		mu.Lock()
		defer mu.Unlock()
		told = append(told, fmt.Sprint(method, " ", v, " ", bytes.Contains(stack, []byte("call_test.go"))))
	}})
	s.Handle("panic", func(context.Context, *Request) ([]byte, error) { panic("secret") })
	s.HandleInline("panic inline", func(context.Context, *Request) ([]byte, error) { panic("secret") })
	s.HandleStream("panic stream", func(context.Context, *Stream) error { panic("secret") })
	s.Handle("goexit", func(context.Context, *Request) ([]byte, error) { runtime.Goexit(); return nil, nil })
	c := connect(t, s, Options{})
	check := func(method string, err error) {
		t.Helper()
		wantKind(t, method, err, api.Internal)
		if strings.Contains(fmt.Sprint(err), "secret") {
			t.Errorf("%s: the caller is told %q", method, err)
		}
	}
	for _, m := range []string{"panic", "panic inline", "goexit"} {
		_, err := c.Call(bg, m, nil)
		check(m, err)
	}
	st := must[*Stream](t)(c.Stream(bg, "panic stream"))
	_, err := st.Recv()
	check("panic stream", err)
	if _, err := c.Call(bg, "echo", nil); err != nil {
		t.Errorf("after the panics: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if got, want := strings.Join(told, ", "), "panic secret true, panic inline secret true, panic stream secret true"; got != want {
		t.Errorf("told of panics: %s; want %s", got, want)
	}
}

func TestMethodNamesAreCheckedWhenAdded(t *testing.T) {
	for _, name := range []string{"", "echo", strings.Repeat("x", 256)} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("Handle(%q) did not panic", name)
				}
			}()
			testServer(Options{}).Handle(name, nil)
		}()
	}
}

// Many callers on one connection, each gets its own answer.
func TestManyCallsAtOnce(t *testing.T) {
	s := testServer(Options{})
	var under, most atomic.Int32
	s.Handle("shuffled", func(_ context.Context, r *Request) ([]byte, error) {
		n := under.Add(1)
		defer under.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		for range number(r.Body) % 7 {
			runtime.Gosched()
		}
		return r.Body, nil
	})
	c := connect(t, s, Options{})
	var wg sync.WaitGroup
	for i := range 100 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			for k := range 100 {
				method := [...]string{"inline", "echo", "shuffled"}[k%3]
				n := i*1000 + k
				got, err := c.Call(bg, method, numbered(n, 8+n%500))
				if err != nil || number(got) != n || len(got) != 8+n%500 {
					t.Errorf("Call(%s) %d: %d bytes, %v", method, n, len(got), err)
					return
				}
			}
		}()
	}
	wg.Wait()
	if most.Load() < 2 {
		t.Errorf("never more than %d calls were served at the same time", most.Load())
	}
	if used := c.numbers.used(); used != 0 {
		t.Errorf("%d numbers are still in use", used)
	}
}

func TestGo(t *testing.T) {
	c := connect(t, testServer(Options{}), Options{})
	if _, err := c.Call(bg, "echo", nil); err != nil { // so that the other side's limits are known
		t.Fatal(err)
	}
	const n = 1000
	results := make(chan string, n)
	var chain func(left int) func([]byte, error)
	chain = func(left int) func([]byte, error) { // a callback may call Go
		return func(body []byte, err error) {
			if left == 0 || err != nil {
				results <- fmt.Sprint(string(body), err)
				return
			}
			if err := c.Go(bg, "echo", fmt.Appendf(nil, "%d", left), chain(left-1)); err != nil {
				results <- err.Error()
			}
		}
	}
	for range n {
		if err := c.Go(bg, "inline", nil, chain(3)); err != nil {
			t.Fatal(err)
		}
	}
	for range n {
		if got := <-results; got != "1<nil>" {
			t.Fatalf("a chain of Go ended with %q", got)
		}
	}
	err := c.Go(bg, "none", nil, func(body []byte, err error) { results <- fmt.Sprint(body, " ", api.KindOf(err)) })
	if got := <-results; err != nil || got != "[] unsupported" {
		t.Errorf("Go(none): %v, told %q", err, got)
	}
	ctx, cancel := context.WithCancel(bg)
	err = c.Go(ctx, "wait", nil, func(body []byte, err error) { results <- fmt.Sprint(body, " ", api.KindOf(err)) })
	cancel()
	if got := <-results; err != nil || got != "[] canceled" {
		t.Errorf("Go(wait), canceled: %v, told %q", err, got)
	}
	ctx, cancel = context.WithTimeout(bg, time.Hour)
	defer cancel()
	err = c.Go(ctx, "echo", []byte("x"), func(body []byte, err error) { results <- fmt.Sprint(string(body), err) })
	if got := <-results; err != nil || got != "x<nil>" {
		t.Errorf("Go(echo) with a deadline: %v, told %q", err, got)
	}
	err = c.Go(bg, "wait", nil, func(body []byte, err error) { results <- fmt.Sprint(body, " ", api.KindOf(err)) })
	c.Close()
	if got := <-results; err != nil || got != "[] unavailable" {
		t.Errorf("Go(wait), closed: %v, told %q", err, got)
	}
	err = c.Go(bg, "echo", nil, func([]byte, error) { t.Error("told although Go returned an error") })
	wantKind(t, "Go after Close", err, api.Unavailable)
}

// When as many calls are under way as the server takes, Call waits and Go says so.
func TestCallsWaitForAFreeNumber(t *testing.T) {
	s := testServer(Options{MaxCalls: 1}) // moved to the least, 64
	release := make(chan struct{})
	s.Handle("hold", func(_ context.Context, r *Request) ([]byte, error) { <-release; return r.Body, nil })
	c := connect(t, s, Options{})
	if _, err := c.Call(bg, "echo", nil); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, minCalls)
	for range minCalls {
		if err := c.Go(bg, "hold", nil, func(_ []byte, err error) { done <- err }); err != nil {
			t.Fatal(err)
		}
	}
	wantKind(t, "Go over the limit", c.Go(bg, "echo", nil, nil), api.Busy)
	ctx, cancel := context.WithTimeout(bg, 20*time.Millisecond)
	defer cancel()
	_, err := c.Call(ctx, "echo", nil)
	wantKind(t, "Call over the limit", err, api.Deadline)

	late := make(chan error, 10)
	for range cap(late) {
		go func() { _, err := c.Call(bg, "echo", nil); late <- err }()
	}
	for waiting := 0; waiting < cap(late); runtime.Gosched() {
		c.mu.Lock()
		waiting = c.numbers.queue.Len()
		c.mu.Unlock()
	}
	close(release)
	for range minCalls {
		wantKind(t, "held call", <-done, "")
	}
	for range cap(late) {
		wantKind(t, "call that waited", <-late, "")
	}
}

// Requests under way are bounded in bytes, too; what is over is refused and the
// rest goes on.
func TestRequestsUnderWayAreBoundedInBytes(t *testing.T) {
	s := testServer(Options{MaxFrame: 64 << 10, Window: 64 << 10, MaxBytes: 256 << 10})
	c := connect(t, s, Options{})
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	var wg sync.WaitGroup
	var busy, canceled atomic.Int32
	for range 6 {
		wg.Add(1)
		go func() {
			defer wg.Done()
			_, err := c.Call(ctx, "wait", make([]byte, 60<<10))
			switch api.KindOf(err) {
			case api.Busy:
				busy.Add(1)
			case api.Canceled:
				canceled.Add(1)
			}
			if busy.Load() == 2 {
				cancel()
			}
		}()
	}
	wg.Wait()
	if busy.Load() != 2 || canceled.Load() != 4 {
		t.Errorf("%d calls were busy and %d waited, of 6 with room for 4", busy.Load(), canceled.Load())
	}
	// Streams count with their window. The canceled calls may still be ending.
	var streams []*Stream
	ok := 0
	for range 8 {
		st := must[*Stream](t)(c.Stream(bg, "echo stream"))
		streams = append(streams, st)
		must[any](t)(nil, st.Send([]byte("x")))
		if _, err := st.Recv(); err == nil {
			ok++
		} else {
			wantKind(t, "stream", err, api.Busy)
		}
	}
	if ok == 0 || ok > 4 {
		t.Errorf("%d streams with a window of 64 KiB are open; MaxBytes is 256 KiB", ok)
	}
	for _, st := range streams {
		st.Close()
	}
}

// Serve takes connections, keeps to MaxConns, asks Peer, and stops cleanly.
func TestServe(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var refuse atomic.Bool
	var refused atomic.Int32
	told := make(chan string, 1000)
	s := NewServer(Options{MaxConns: 2, Peer: func(conn net.Conn) (any, error) {
		if refuse.Load() {
			refused.Add(1)
			return nil, errPlain
		}
		return conn.RemoteAddr().String(), nil
	}, Ended: func(peer any, err error) { told <- fmt.Sprint(peer, " ", err) }})
	s.Handle("who", func(_ context.Context, r *Request) ([]byte, error) { return []byte(r.Peer.(string)), nil })
	entered := make(chan struct{})
	s.Handle("wait", func(ctx context.Context, _ *Request) ([]byte, error) {
		close(entered)
		<-ctx.Done()
		return nil, ctx.Err()
	})
	ctx, cancel := context.WithCancel(bg)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx, lis) }()
	dial := func() (*Client, string) {
		conn, err := net.Dial("tcp", lis.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		c := NewClient(conn, Options{})
		t.Cleanup(func() { c.Close() })
		return c, conn.LocalAddr().String()
	}
	call := func(c *Client) (string, error) {
		ctx, cancel := context.WithTimeout(bg, patience)
		defer cancel()
		got, err := c.Call(ctx, "who", nil)
		return string(got), err
	}
	a, addr := dial()
	if got, err := call(a); got != addr {
		t.Errorf("who: %q, %v; want %q", got, err, addr)
	}
	b, _ := dial()
	if _, err := call(b); err != nil {
		t.Errorf("second connection: %v", err)
	}
	c, _ := dial()
	_, err = call(c)
	wantKind(t, "third connection of two", err, api.Unavailable)
	b.Close()
	refuse.Store(true)
	for refused.Load() == 0 { // until the place of b is free
		d, _ := dial()
		_, err := call(d)
		wantKind(t, "a connection that Peer refuses", err, api.Unavailable)
	}
	refuse.Store(false)
	if got, want := <-told, "<nil> plain"; got != want {
		t.Errorf("Ended was told %q, want %q", got, want)
	}

	waited := make(chan error, 1)
	go func() { _, err := a.Call(bg, "wait", nil); waited <- err }()
	<-entered
	cancel()
	wantKind(t, "call under way at the stop", <-waited, api.Unavailable)
	if err := <-done; err != nil {
		t.Errorf("Serve: %v", err)
	}
	if _, err := net.Dial("tcp", lis.Addr().String()); err == nil {
		t.Error("the listener still accepts")
	}
}

// faulty is a listener that fails as one does without descriptors.
type faulty struct {
	net.Listener
	failures atomic.Int32
}

func (f *faulty) Accept() (net.Conn, error) {
	if f.failures.Add(-1) >= 0 {
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

func TestFAULTS_F26_ServeOutlivesAcceptErrors(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &faulty{Listener: lis}
	f.failures.Store(3)
	done := make(chan error, 1)
	go func() { done <- testServer(Options{}).Serve(bg, f) }()
	conn, err := net.Dial("tcp", lis.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c := NewClient(conn, Options{})
	if _, err := c.Call(bg, "echo", nil); err != nil {
		t.Errorf("after three failures of Accept: %v", err)
	}
	lis.Close()
	wantKind(t, "Serve of a closed listener", <-done, api.Unavailable)
	c.Close()
}
