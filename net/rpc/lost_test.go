package rpc

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"sigmaos/api"
)

// breaking is a connection that ends after a number of bytes in each direction.
type breaking struct {
	net.Conn
	read, write atomic.Int64 // what may still pass
	hit         atomic.Bool
}

func (c *breaking) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if left := c.read.Add(-int64(n)); left < 0 {
		c.end()
		return n + int(max(left, -int64(n))), io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *breaking) Write(p []byte) (int, error) {
	if left := c.write.Add(-int64(len(p))); left < 0 {
		n, _ := c.Conn.Write(p[:len(p)+int(max(left, -int64(len(p))))])
		c.end()
		return n, io.ErrClosedPipe
	}
	return c.Conn.Write(p)
}

func (c *breaking) end() { c.hit.Store(true); c.Conn.Close() }

// story uses everything once; it returns the errors it met.
func story(c *Client) (errs []error) {
	var mu sync.Mutex
	note := func(err error) error {
		if err != nil && err != io.EOF {
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		}
		return err
	}
	var wg sync.WaitGroup
	for range 2 {
		wg.Add(3)
		go func() {
			defer wg.Done()
			for _, m := range []string{"inline", "echo", "none"} {
				_, err := c.Call(bg, m, []byte("request"))
				if api.KindOf(err) != api.Unsupported {
					note(err)
				}
			}
		}()
		go func() {
			defer wg.Done()
			ctx, cancel := context.WithCancel(bg)
			defer cancel()
			done := make(chan error, 1)
			if note(c.Go(ctx, "wait", nil, func(_ []byte, err error) { done <- err })) == nil {
				cancel()
				if err := <-done; api.KindOf(err) != api.Canceled {
					note(err)
				}
			}
		}()
		go func() {
			defer wg.Done()
			st, err := c.Stream(bg, "echo stream")
			if note(err) != nil {
				return
			}
			for range 4 {
				if note(st.Send([]byte("message"))) != nil {
					break
				}
				if _, err := st.Recv(); note(err) != nil {
					break
				}
			}
			st.CloseSend()
			for err == nil {
				_, err = st.Recv()
			}
			note(err)
		}()
	}
	wg.Wait()
	return errs
}

// Wherever the connection breaks, in either direction: everybody who waits is
// told, with Unavailable; both sides end, and nothing stays behind.
func TestConnectionLostAtEachByte(t *testing.T) {
	const whole = 1 << 40
	uncut := func(read, write int64) (hit bool) {
		synctest.Test(t, func(t *testing.T) {
			a, b := net.Pipe()
			conn := &breaking{Conn: a}
			conn.read.Store(read)
			conn.write.Store(write)
			served := make(chan error, 1)
			go func() { served <- testServer(Options{}).ServeConn(bg, b, nil) }()
			c := NewClient(conn, Options{})
			errs := story(c)
			for _, err := range errs {
				if api.KindOf(err) != api.Unavailable {
					t.Errorf("cut after %d bytes in and %d out: %v (kind %q), want kind %q", read, write, err, api.KindOf(err), api.Unavailable)
				}
			}
			if hit = conn.hit.Load(); hit {
				<-c.Done()
				wantKind(t, "Err", c.Err(), api.Unavailable)
				_, err := c.Call(bg, "echo", nil)
				wantKind(t, "Call afterwards", err, api.Unavailable)
			} else if len(errs) > 0 {
				t.Errorf("nothing was cut after %d bytes in and %d out, but: %v", read, write, errs)
			}
			c.Close()
			if err := <-served; err != nil && api.KindOf(err) != api.Unavailable {
				t.Errorf("ServeConn: %v", err)
			}
		})
		return hit
	}
	if uncut(whole, whole) {
		t.Fatal("the whole story was cut")
	}
	step := int64(1)
	if testing.Short() {
		step = 17
	}
	var in, out int64
	for in = 0; uncut(in, whole); in += step {
	}
	for out = 0; uncut(whole, out); out += step {
	}
	if in < 400 || out < 400 {
		t.Errorf("the story took %d bytes in and %d out; something is missing", in, out)
	}
	t.Logf("%d places in, %d places out", in/step, out/step)
}

// A server's end, seen from the other side: clean between frames, else not.
func TestServerSaysHowItEnded(t *testing.T) {
	call := appendFrame(nil, kCall, 0, 0, "echo", []byte("x"))
	for _, tc := range []struct {
		name string
		in   []byte
		want api.Kind
	}{
		{"nothing", nil, ""},
		{"half a hello", goodHello(roleCaller)[:7], api.Unavailable},
		{"a hello", goodHello(roleCaller), ""},
		{"a call", append(goodHello(roleCaller), call...), ""},
		{"half a call", append(goodHello(roleCaller), call[:18]...), api.Unavailable},
		{"garbage", []byte("SSH-2.0-x\r\n"), api.Invalid},
		{"a bad frame", append(goodHello(roleCaller), make([]byte, 16)...), api.Invalid},
		{"another version", append([]byte(magic+"\x09\x08"), make([]byte, 14)...), api.Unsupported},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := socketpair(t)
			defer a.Close()
			wait := serve(t, testServer(Options{}), b)
			if _, err := a.Write(tc.in); err != nil {
				t.Fatal(err)
			}
			a.(*net.UnixConn).CloseWrite()
			wantKind(t, "ServeConn", wait(), tc.want)
		})
	}
}

// A Client that finds something else at the other end says so to every call.
func TestClientMeetsAStranger(t *testing.T) {
	for _, tc := range []struct {
		name string
		says []byte
		want api.Kind
	}{
		{"http", []byte("HTTP/1.1 400 Bad Request\r\n\r\n"), api.Invalid},
		{"another client", goodHello(roleCaller), api.Invalid},
		{"later version", append([]byte(magic+"\x09\x08\x02"), make([]byte, 13)...), api.Unsupported},
		{"closes", nil, api.Unavailable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a, b := socketpair(t)
			defer b.Close()
			c := NewClient(a, Options{})
			if _, err := b.Write(tc.says); err != nil {
				t.Fatal(err)
			}
			b.(*net.UnixConn).CloseWrite()
			_, err := c.Call(bg, "echo", nil)
			wantKind(t, "Call", err, api.Unavailable)
			<-c.Done()
			wantKind(t, "Err", c.Err(), tc.want)
			c.Close()
		})
	}
}
