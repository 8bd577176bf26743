package rpc

import (
	"context"
	"net"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"sigmaos/api"
)

type step struct {
	k       kind
	id, arg uint32
	name    string
	body    string
}

// A caller that breaks a rule loses its connection, with a reason; another
// connection of the same server does not notice.
func TestServerRefusesBrokenRules(t *testing.T) {
	big := strings.Repeat("x", 40<<10)
	s := testServer(Options{MaxFrame: 128 << 10, Window: 64 << 10, MaxCalls: 64})
	good := connect(t, s, Options{})
	for _, tc := range []struct {
		name  string
		steps []step
	}{
		{"an answer", []step{{k: kAnswer}}},
		{"an error", []step{{k: kError}}},
		{"a call without a method", []step{{k: kCall, body: "x"}}},
		{"a stream with a request", []step{{k: kOpen, name: "echo stream", body: "x"}}},
		{"a number over the limit", []step{{k: kCall, id: 64, name: "echo"}}},
		{"the last number", []step{{k: kCall, id: 1<<32 - 1, name: "echo"}}},
		{"an inline call over the limit", []step{{k: kCall, id: 64, name: "inline"}}},
		{"an unknown method over the limit", []step{{k: kCall, id: 64, name: "none"}}},
		{"a number twice", []step{{k: kCall, name: "wait"}, {k: kCall, name: "echo"}}},
		{"a number twice, inline", []step{{k: kCall, name: "wait"}, {k: kCall, name: "inline"}}},
		{"a number twice, unknown", []step{{k: kCall, name: "wait"}, {k: kOpen, name: "none"}}},
		{"a message for a call", []step{{k: kCall, name: "wait"}, {k: kData}}},
		{"an end for a call", []step{{k: kCall, name: "wait"}, {k: kEnd}}},
		{"credit for a call", []step{{k: kCall, name: "wait"}, {k: kCredit, arg: 1}}},
		{"a message after the end", []step{{k: kOpen, name: "wait stream"}, {k: kEnd}, {k: kData}}},
		{"a message over the limit of numbers", []step{{k: kData, id: 64}}},
		{"a cancel over the limit of numbers", []step{{k: kCancel, id: 64}}},
		{"more than the window", []step{{k: kOpen, name: "wait stream"}, {k: kData, body: big}, {k: kData, body: big}}},
		{"credit for nothing", []step{{k: kOpen, name: "wait stream"}, {k: kCredit, arg: 1}}},
		{"credit without bounds", []step{{k: kOpen, name: "wait stream"}, {k: kCredit, arg: 1<<32 - 1}}},
		{"a long frame", []step{{k: kCall, name: "echo", body: strings.Repeat("x", 128<<10)}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := socketpair(t)
			defer a.Close()
			wait := serve(t, s, b)
			r := newRaw(t, a, roleCaller)
			for _, st := range tc.steps {
				a.Write(appendFrame(nil, st.k, st.id, st.arg, st.name, []byte(st.body)))
			}
			err := wait()
			wantKind(t, "ServeConn", err, api.Invalid)
			if !strings.Contains(err.Error(), "sent") {
				t.Errorf("the reason is %q", err)
			}
			for err = nil; err == nil; {
				_, err = r.in.next()
			}
			if _, err := good.Call(bg, "echo", nil); err != nil {
				t.Errorf("another connection: %v", err)
			}
		})
	}
}

// What looks odd and is allowed, because it can be under way when a call ends.
func TestServerAllowsWhatWasUnderWay(t *testing.T) {
	a, b := socketpair(t)
	defer a.Close()
	serve(t, testServer(Options{}), b)
	r := newRaw(t, a, roleCaller)
	for _, k := range []kind{kCancel, kData, kEnd, kCredit} {
		r.send(k, 5, 0, "", nil)
	}
	r.send(kPong, 0, 0, "", nil)
	r.send(kPing, 0, 0, "", nil)
	r.expect(kPong, 0)
	r.send(kCall, 5, 0, "wait", nil)
	r.send(kCancel, 5, 0, "", nil)
	r.send(kCancel, 5, 0, "", nil)
	if e, err := decodeError(r.expect(kError, 5).body); err != nil || e.Kind != api.Canceled {
		t.Errorf("canceled call: %v, %v", e, err)
	}
	r.send(kCall, 5, 0, "echo", []byte("x")) // the number is free again
	if f := r.expect(kAnswer, 5); string(f.body) != "x" {
		t.Errorf("answer %q", f.body)
	}
}

// A server that breaks a rule loses its caller; the calls under way get
// Unavailable.
func TestClientRefusesBrokenRules(t *testing.T) {
	for _, tc := range []struct {
		name  string
		steps []step // call 0 is a Call, 1 a Stream
	}{
		{"an answer that nobody asked for", []step{{k: kAnswer, id: 7}}},
		{"an answer with the last number", []step{{k: kAnswer, id: 1<<32 - 1}}},
		{"a call", []step{{k: kCall, name: "x"}}},
		{"a cancel", []step{{k: kCancel}}},
		{"a stream", []step{{k: kOpen, id: 1, name: "x"}}},
		{"two answers", []step{{k: kAnswer, id: 1}, {k: kAnswer, id: 1}}},
		{"a message for a call", []step{{k: kData}}},
		{"an error that is none", []step{{k: kError, body: "x"}}},
		{"a stream's error that is none", []step{{k: kError, id: 1, body: "x"}}},
		{"more than the window", []step{{k: kData, id: 1, body: strings.Repeat("x", 3000)}, {k: kData, id: 1, body: strings.Repeat("x", 3000)}}},
		{"a message after the end", []step{{k: kEnd, id: 1}, {k: kData, id: 1}}},
		{"credit for nothing", []step{{k: kCredit, id: 1, arg: 1}}},
		{"a long frame", []step{{k: kAnswer, body: strings.Repeat("x", 64<<10+1)}}},
		{"garbage", []step{{k: 200}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := socketpair(t)
			defer b.Close()
			c := NewClient(a, Options{Window: 4096, MaxFrame: 64 << 10})
			r := newRaw(t, b, roleServer)
			called := make(chan error, 1)
			go func() { _, err := c.Call(bg, "x", nil); called <- err }()
			r.expect(kCall, 0)
			st := must[*Stream](t)(c.Stream(bg, "y"))
			r.expect(kOpen, 1)
			for _, s := range tc.steps {
				b.Write(appendFrame(nil, s.k, s.id, s.arg, s.name, []byte(s.body)))
			}
			wantKind(t, "Call", <-called, api.Unavailable)
			<-c.Done()
			wantKind(t, "Err", c.Err(), api.Invalid)
			for err := error(nil); err == nil; {
				_, err = st.Recv()
			}
			c.Close()
		})
	}
}

// A peer that asks and does not read the answers: the server stops to read from
// it, and holds a bounded amount until it cuts the peer off.
func TestServerIsBoundedAgainstAPeerThatDoesNotRead(t *testing.T) {
	const answer = 8 << 10
	for method, requests := range map[string]int{"big": 64, "big inline": 1e6, "none": 1e6, "ping": 1e5} {
		t.Run(method, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var answers atomic.Int64
				s := NewServer(Options{MaxCalls: 64})
				fn := func(context.Context, *Request) ([]byte, error) { answers.Add(1); return make([]byte, answer), nil }
				s.Handle("big", fn)
				s.HandleInline("big inline", fn)
				a, b := net.Pipe()
				ses := &session{methods: &s.methods}
				ses.init(b, s.opt, roleServer)
				served := make(chan error, 1)
				begun := time.Now()
				go func() { served <- ses.serve(bg) }()
				newRaw(t, a, roleCaller)
				a.SetDeadline(time.Time{})
				var sent int
				stopped := make(chan struct{})
				go func() {
					defer close(stopped)
					for sent < requests {
						var batch []byte // in one write, so that the server finds much to do at once
						n := min(requests-sent, 2000)
						for i := range n {
							if method == "ping" {
								batch = appendFrame(batch, kPing, 0, 0, "", nil)
							} else {
								batch = appendFrame(batch, kCall, uint32(i%64), 0, method, nil)
							}
						}
						if _, err := a.Write(batch); err != nil {
							return
						}
						sent += n
					}
				}()
				synctest.Wait()
				ses.mu.Lock()
				queued := len(ses.out)
				ses.mu.Unlock()
				if most := queueSize + answer + headerSize; queued > most {
					t.Errorf("%d bytes are queued, after %d requests; want at most %d", queued, sent, most)
				}
				if most := int64(2*queueSize/answer + 64); answers.Load() > most {
					t.Errorf("%d answers were made, want at most %d", answers.Load(), most)
				}
				if requests == 1e6 && sent > 20_000 {
					t.Errorf("%d requests were taken", sent)
				}
				wantKind(t, "ServeConn", <-served, api.Unavailable)
				if took := time.Since(begun); took > 15*time.Second {
					t.Errorf("the peer was cut off after %v", took)
				}
				<-stopped
				a.Close()
			})
		})
	}
}

// Answers that wait for a caller that does not read are bounded in bytes.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{MaxBytes: 1 << 20})
		gate := make(chan struct{}) // until all are under way
		s.Handle("big", func(context.Context, *Request) ([]byte, error) { <-gate; return make([]byte, 400<<10), nil })
		a, b := net.Pipe()
		served := make(chan error, 1)
		go func() { served <- s.ServeConn(bg, b, nil) }()
		r := newRaw(t, a, roleCaller)
		for i := range 10 {
			r.send(kCall, uint32(i), 0, "big", nil)
		}
		synctest.Wait()
		close(gate)
		synctest.Wait()
		kinds := map[string]int{}
		for range 10 {
			f, err := r.in.next()
			if err != nil {
				t.Fatal(err)
			}
			if f.kind == kAnswer {
				kinds["answer"]++
				continue
			}
			e, err := decodeError(f.body)
			if err != nil {
				t.Fatal(err)
			}
			kinds[string(e.Kind)]++
		}
		// One is being written, one is queued, two wait; or the first is not yet.
		if n := kinds["answer"]; n < 3 || n > 4 || kinds["unavailable"] != 10-n {
			t.Errorf("10 answers of 400 KiB with MaxBytes of 1 MiB: %v", kinds)
		}
		a.Close()
		<-served
	})
}

// However much credit a peer gives, what waits to be written is bounded.
func TestCreditDoesNotFillMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewServer(Options{})
		s.HandleStream("flood", func(_ context.Context, st *Stream) (err error) {
			for err == nil {
				err = st.Send(make([]byte, 1000))
			}
			return err
		})
		a, b := net.Pipe()
		ses := &session{methods: &s.methods}
		ses.init(b, s.opt, roleServer)
		served := make(chan error, 1)
		go func() { served <- ses.serve(bg) }()
		if _, err := readHello(a, roleServer); err != nil {
			t.Fatal(err)
		}
		in := appendHello(nil, hello{newest: version, oldest: oldest, role: roleCaller, maxFrame: mostFrame, window: mostFrame, maxCalls: mostCalls})
		for id := range uint32(10) {
			in = appendFrame(in, kOpen, id, 0, "flood", nil)
		}
		if _, err := a.Write(in); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		ses.mu.Lock()
		queued := len(ses.out)
		ses.mu.Unlock()
		if queued < queueSize || queued > queueSize+2000 {
			t.Errorf("%d bytes are queued, want %d and a message", queued, queueSize)
		}
		wantKind(t, "ServeConn", <-served, api.Unavailable)
		a.Close()
	})
}

// A server that never answers costs its caller numbers, not memory, and a
// flood of pings not more than one pong at a time.
func TestClientIsBoundedAgainstAServerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := NewClient(a, Options{WriteTimeout: time.Hour})
		r := newRaw(t, b, roleServer)
		b.SetDeadline(time.Time{})
		for range 100_000 {
			r.send(kPing, 0, 0, "", nil)
		}
		for range 10_000 {
			ctx, cancel := context.WithTimeout(bg, time.Millisecond)
			_, err := c.Call(ctx, "x", make([]byte, 1000))
			cancel()
			if err == nil {
				t.Fatal("answered")
			}
		}
		c.mu.Lock()
		out, waiting := len(c.out), c.numbers.queue.Len()
		c.mu.Unlock()
		if most := queueSize + 2000 + 4096*headerSize; out > most || waiting > 0 {
			t.Errorf("%d bytes are queued and %d calls wait; want at most %d and 0", out, waiting, most)
		}
		c.Close()
		b.Close()
	})
}

// Memory is measured, too: a crowd of hostile connections, each with what its
// limits allow.
func TestHostilePeersAreBoundedInMemory(t *testing.T) {
	const conns, window = 20, 64 << 10
	o := Options{MaxFrame: 64 << 10, Window: window, MaxBytes: 256 << 10, MaxCalls: 64}
	s := testServer(o)
	heap := func() int64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int64(m.HeapAlloc + m.StackInuse)
	}
	before := heap()
	for range conns {
		a, b := socketpair(t)
		serve(t, s, b)
		r := newRaw(t, a, roleCaller)
		r.in.limit = 64 << 10
		t.Cleanup(func() { a.Close() })
		for id := range uint32(32) { // streams that nobody reads, as many as fit
			r.send(kOpen, id, 0, "wait stream", nil)
		}
		refused := 0
		for range 28 {
			if f, err := r.in.next(); err == nil && f.kind == kError {
				refused++
			}
		}
		if refused != 28 {
			t.Fatalf("%d of 32 streams were refused, want 28", refused)
		}
		for id := range uint32(4) {
			for range window / least { // empty messages count, too
				r.write(appendFrame(nil, kData, id, 0, "", nil))
			}
		}
		r.send(kPing, 0, 0, "", nil) // all of that was taken
		r.expect(kPong, 0)
	}
	grown := (heap() - before) / conns
	if most := int64(256<<10 + 2*largeBuf + 128<<10); grown > most {
		t.Errorf("each hostile connection costs %d bytes, want at most %d", grown, most)
	}
	t.Logf("%d bytes for each connection", grown)
}
