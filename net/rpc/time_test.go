package rpc

import (
	"context"
	"io"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"sigmaos/api"
)

// pipe is connect on simulated time; stop ends both sides and waits.
func pipe(t testing.TB, s *Server, o Options) (c *Client, stop func()) {
	a, b := net.Pipe()
	done := make(chan struct{})
	ctx, cancel := context.WithCancel(context.Background())
	go func() { defer close(done); s.ServeConn(ctx, b, "the peer") }()
	c = NewClient(a, o)
	return c, func() { c.Close(); cancel(); <-done }
}

func TestDeadlineTravels(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testServer(Options{})
		left := make(chan time.Duration, 1)
		ended := make(chan time.Duration, 1)
		tell := func(ctx context.Context) error {
			begun := time.Now()
			if at, ok := ctx.Deadline(); ok {
				left <- time.Until(at)
			} else {
				left <- -1
			}
			<-ctx.Done()
			ended <- time.Since(begun)
			return ctx.Err()
		}
		s.Handle("tell", func(ctx context.Context, _ *Request) ([]byte, error) { return nil, tell(ctx) })
		s.HandleStream("tell stream", func(ctx context.Context, _ *Stream) error { return tell(ctx) })
		c, stop := pipe(t, s, Options{})
		defer stop()
		call := map[string]func(context.Context) error{
			"call": func(ctx context.Context) error { _, err := c.Call(ctx, "tell", nil); return err },
			"stream": func(ctx context.Context) error {
				st, err := c.Stream(ctx, "tell stream")
				if err == nil {
					_, err = st.Recv()
				}
				return err
			},
			"go": func(ctx context.Context) error {
				done := make(chan error, 1)
				if err := c.Go(ctx, "tell", nil, func(_ []byte, err error) { done <- err }); err != nil {
					return err
				}
				return <-done
			},
		}
		for name, call := range call {
			for _, tc := range []struct{ give, want time.Duration }{
				{time.Nanosecond, time.Millisecond}, {1500 * time.Microsecond, 2 * time.Millisecond}, {time.Hour, time.Hour},
			} {
				ctx, cancel := context.WithTimeout(bg, tc.give)
				begun := time.Now()
				err := call(ctx)
				wantKind(t, name, err, api.Deadline)
				if took := time.Since(begun); took != tc.give {
					t.Errorf("%s with %v returned after %v", name, tc.give, took)
				}
				cancel()
				if got := <-left; got != tc.want {
					t.Errorf("%s with %v: the handler was given %v, want %v", name, tc.give, got, tc.want)
				}
				if got := <-ended; got != tc.give { // the cancel comes before its own deadline
					t.Errorf("%s with %v: the handler's ctx ended after %v", name, tc.give, got)
				}
			}
			ctx, cancel := context.WithCancel(bg)
			time.AfterFunc(time.Second, cancel)
			wantKind(t, name+", canceled", call(ctx), api.Canceled)
			if l, e := <-left, <-ended; l != -1 || e != time.Second {
				t.Errorf("%s, canceled after 1 s: the handler was given %v and ended after %v", name, l, e)
			}
		}
		synctest.Wait()
		if n := c.usedNumbers(); n != 0 {
			t.Errorf("%d numbers are still in use", n)
		}
	})
}

// Even when the cancel does not arrive the handler ends at the deadline.
func TestServerKeepsTheDeadlineItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		done := make(chan struct{})
		go func() { defer close(done); testServer(Options{}).ServeConn(bg, b, nil) }()
		r := newRaw(t, a, roleCaller)
		begun := time.Now()
		r.send(kCall, 3, 700, "wait", nil)
		r.send(kOpen, 4, 500, "wait stream", nil)
		for _, want := range []struct {
			id uint32
			at time.Duration
		}{{4, 500 * time.Millisecond}, {3, 700 * time.Millisecond}} {
			e, err := decodeError(r.expect(kError, want.id).body)
			if err != nil || e.Kind != api.Deadline || time.Since(begun) != want.at {
				t.Errorf("call %d: %v, %v after %v; want %q after %v", want.id, e, err, time.Since(begun), api.Deadline, want.at)
			}
		}
		a.Close()
		<-done
	})
}

// A caller that gave up does not wait, even for a handler that goes on; its
// number is used again only when that is over.
func TestCallerDoesNotWaitForTheHandler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := testServer(Options{})
		release := make(chan struct{})
		s.Handle("deaf", func(context.Context, *Request) ([]byte, error) { <-release; return []byte("late"), nil })
		c, stop := pipe(t, s, Options{})
		defer stop()
		for range 3 {
			ctx, cancel := context.WithTimeout(bg, time.Second)
			begun := time.Now()
			_, err := c.Call(ctx, "deaf", nil)
			cancel()
			wantKind(t, "Call", err, api.Deadline)
			if took := time.Since(begun); took != time.Second {
				t.Errorf("Call with 1 s took %v", took)
			}
		}
		if n := c.usedNumbers(); n != 3 {
			t.Errorf("%d numbers are in use, want 3", n)
		}
		close(release)
		synctest.Wait()
		if n := c.usedNumbers(); n != 0 {
			t.Errorf("%d numbers are in use after the handlers' end", n)
		}
		if got, err := c.Call(bg, "echo", []byte("x")); string(got) != "x" {
			t.Errorf("the next call: %q, %v", got, err)
		}
	})
}

func TestSilenceIsBounded(t *testing.T) {
	for _, tc := range []struct {
		name string
		opt  Options
		talk func(r *raw) // what the other side says, after which it is silent; nil: not even hello
		want time.Duration
	}{
		{"no hello", Options{}, nil, 10 * time.Second},
		{"no hello, own bound", Options{Handshake: time.Second}, nil, time.Second},
		{"no heartbeat", Options{}, func(*raw) {}, 0},
		{"heartbeat", Options{Heartbeat: 500 * time.Millisecond}, func(*raw) {}, 3 * time.Second},
		{"heartbeat, own bound", Options{Heartbeat: time.Second, Silence: 5 * time.Second}, func(*raw) {}, 5 * time.Second},
		{"a sign of life", Options{Heartbeat: 500 * time.Millisecond}, func(r *raw) {
			time.Sleep(2200 * time.Millisecond)
			r.send(kPong, 0, 0, "", nil)
		}, 5500 * time.Millisecond},
	} {
		for _, side := range []string{"client", "server"} {
			t.Run(tc.name+", "+side, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					a, b := net.Pipe()
					begun := time.Now()
					var over <-chan struct{}
					var err func() error
					role := roleServer
					if side == "client" {
						c := NewClient(a, tc.opt)
						over, err = c.Done(), c.Err
						defer c.Close()
					} else {
						done := make(chan struct{})
						var ended error
						go func() { defer close(done); ended = testServer(tc.opt).ServeConn(bg, a, nil) }()
						over, err = done, func() error { return ended }
						role = roleCaller
					}
					drained := make(chan struct{})
					if tc.talk == nil {
						go func() { defer close(drained); io.Copy(io.Discard, b) }()
					} else {
						r := newRaw(t, b, role)
						b.SetDeadline(time.Time{})
						go func() { defer close(drained); io.Copy(io.Discard, b) }()
						tc.talk(r)
					}
					select {
					case <-over:
						if took := time.Since(begun); took != tc.want {
							t.Errorf("it ended after %v, want %v", took, tc.want)
						}
						wantKind(t, "its end", err(), api.Unavailable)
					case <-time.After(time.Hour):
						if tc.want != 0 {
							t.Errorf("it lived for an hour, want %v", tc.want)
						}
					}
					b.Close()
					<-drained
					<-over
				})
			})
		}
	}
}

// Two sides that have nothing to say keep the connection for ever, whichever of
// them asks for signs of life.
func TestHeartbeatsKeepIdleConnections(t *testing.T) {
	beat := Options{Heartbeat: 500 * time.Millisecond}
	for name, o := range map[string][2]Options{"both": {beat, beat}, "client": {beat, {}}, "server": {{}, beat}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, stop := pipe(t, testServer(o[1]), o[0])
				defer stop()
				time.Sleep(time.Hour)
				if _, err := c.Call(bg, "echo", nil); err != nil {
					t.Errorf("after an hour: %v", err)
				}
			})
		})
	}
}

// A side gives signs of life also while it hears enough of the other one, which
// may hear nothing of it otherwise.
func TestHeartbeatsDoNotWaitForSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		c := NewClient(a, Options{Heartbeat: 500 * time.Millisecond})
		r := newRaw(t, b, roleServer)
		talked := make(chan struct{})
		go func() {
			defer close(talked)
			for {
				time.Sleep(10 * time.Millisecond)
				if _, err := b.Write(appendFrame(nil, kPong, 0, 0, "", nil)); err != nil {
					return
				}
			}
		}()
		begun := time.Now()
		for range 10 {
			r.expect(kPing, 0)
		}
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("10 pings took %v", took)
		}
		b.Close()
		<-talked
		c.Close()
	})
}

// A handler that takes long is no silence, nor is a stream that waits.
func TestLongCallsAreNoSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		beat := Options{Heartbeat: 500 * time.Millisecond}
		c, stop := pipe(t, testServer(beat), beat)
		defer stop()
		ctx, cancel := context.WithTimeout(bg, time.Minute)
		defer cancel()
		_, err := c.Call(ctx, "wait", nil)
		wantKind(t, "a call of a minute", err, api.Deadline)
		if err := c.Err(); err != nil {
			t.Errorf("the connection ended: %v", err)
		}
	})
}

// bigAnswers is a server's side under load: inline calls with answers of 100 KB,
// 20 of them asked for and more than is queued.
func bigAnswers(t testing.TB) (a net.Conn, served chan error) {
	s := NewServer(Options{Heartbeat: 500 * time.Millisecond})
	s.HandleInline("big", func(context.Context, *Request) ([]byte, error) { return make([]byte, 100<<10), nil })
	a, b := net.Pipe()
	served = make(chan error, 1)
	go func() { served <- s.ServeConn(bg, b, nil) }()
	r := newRaw(t, a, roleCaller)
	a.SetDeadline(time.Time{})
	var batch []byte
	for id := range uint32(20) {
		batch = appendFrame(batch, kCall, id, 0, "big", nil)
	}
	r.write(batch)
	return a, served
}

// A peer that reads slowly lives, although the server waits for it and reads
// nothing itself.
func TestSlowPeerIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, served := bigAnswers(t)
		over := make(chan struct{})
		go func() { // what a Client's heartbeat does
			defer close(over)
			for {
				time.Sleep(time.Second)
				if _, err := a.Write(appendFrame(nil, kPong, 0, 0, "", nil)); err != nil {
					return
				}
			}
		}()
		slowly := pieces{a, func(r io.Reader, p []byte) (int, error) {
			time.Sleep(250 * time.Millisecond)
			return r.Read(p[:min(len(p), 16<<10)])
		}}
		in := &reader{src: slowly, limit: mostFrame}
		for answers := 0; answers < 20; {
			f, err := in.next()
			if err != nil {
				t.Errorf("after %d answers: %v", answers, err)
				break
			}
			if f.kind == kAnswer {
				answers++
			}
		}
		a.Close()
		<-served
		<-over
	})
}

// A peer that stops is noticed in the same time whatever is under way.
func TestFAULTS_F5_HungPeerUnderLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		a, served := bigAnswers(t)
		wantKind(t, "ServeConn", <-served, api.Unavailable)
		if took := time.Since(begun); took < 3*time.Second || took > 3500*time.Millisecond {
			t.Errorf("a hung caller was noticed after %v, want 3 s", took)
		}
		a.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe()
		begun := time.Now()
		c := NewClient(a, Options{Heartbeat: 500 * time.Millisecond})
		newRaw(t, b, roleServer)
		done := make(chan error, 20)
		for range cap(done) {
			go func() { _, err := c.Call(bg, "x", make([]byte, 50<<10)); done <- err }()
		}
		for range cap(done) {
			wantKind(t, "Call", <-done, api.Unavailable)
		}
		if took := time.Since(begun); took < 3*time.Second || took > 3500*time.Millisecond {
			t.Errorf("a hung server was noticed after %v, want 3 s", took)
		}
		c.Close()
		b.Close()
	})
}

// A peer that does not read costs WriteTimeout, and no caller more than its own
// time.
func TestPeerThatDoesNotRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := net.Pipe() // b is never read
		defer b.Close()
		begun := time.Now()
		c := NewClient(a, Options{Handshake: time.Hour})
		ctx, cancel := context.WithTimeout(bg, time.Second)
		defer cancel()
		_, err := c.Call(ctx, "echo", nil)
		wantKind(t, "Call with 1 s", err, api.Deadline)
		if took := time.Since(begun); took != time.Second {
			t.Errorf("Call with 1 s took %v", took)
		}
		_, err = c.Call(bg, "echo", nil)
		wantKind(t, "Call", err, api.Unavailable)
		if took := time.Since(begun); took != 10*time.Second {
			t.Errorf("the connection lasted %v, want WriteTimeout", took)
		}
		c.Close()
	})
}

// A server stops for a ctx, with everything that is under way.
func TestServerStops(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, stop := pipe(t, testServer(Options{}), Options{})
		defer stop()
		a, b := net.Pipe()
		ctx, cancel := context.WithCancel(bg)
		served := make(chan error, 1)
		go func() { served <- testServer(Options{}).ServeConn(ctx, b, nil) }()
		other := NewClient(a, Options{})
		results := make(chan error, 3)
		go func() { _, err := other.Call(bg, "wait", nil); results <- err }()
		go func() {
			st, err := other.Stream(bg, "wait stream")
			if err == nil {
				_, err = st.Recv()
			}
			results <- err
		}()
		go func() {
			st, err := other.Stream(bg, "echo stream")
			for err == nil {
				err = st.Send(make([]byte, 1000)) // until the window is full: nobody reads the echo
			}
			results <- err
		}()
		synctest.Wait()
		cancel()
		for range 3 {
			wantKind(t, "under way at the stop", <-results, api.Unavailable)
		}
		if err := <-served; err != nil {
			t.Errorf("ServeConn: %v", err)
		}
		<-other.Done()
		wantKind(t, "Err", other.Err(), api.Unavailable)
		if _, err := c.Call(bg, "echo", nil); err != nil {
			t.Errorf("another connection: %v", err)
		}
		other.Close()
	})
}
