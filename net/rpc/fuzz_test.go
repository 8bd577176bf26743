package rpc

import (
	"context"
	"io"
	"net"
	"testing"
	"time"
)

// fromBytes makes frames that are mostly well formed out of any bytes: five for
// each frame, so that a fuzzer gets deep into calls and streams.
func fromBytes(in []byte, names []string) (out []byte) {
	for ; len(in) >= 5; in = in[5:] {
		name := ""
		if in[3]%8 < byte(len(names)) {
			name = names[in[3]%8]
		}
		body := make([]byte, int(in[4])*int(in[4])/8)
		out = appendFrame(out, kind(in[0]%12), uint32(in[1]%6), uint32(in[2]), name, body)
	}
	return append(out, in...)
}

var methods = []string{"inline", "echo", "wait", "echo stream", "wait stream", "none"}

// Garbage, and frames in any order, cost a server one connection: it returns,
// with all handlers, as soon as its input ends.
func FuzzServer(f *testing.F) {
	hi := goodHello(roleCaller)
	f.Add(false, []byte("GET / HTTP/1.1\r\n\r\n"))
	f.Add(false, hi)
	f.Add(false, appendFrame(append(hi[:len(hi):len(hi)], appendFrame(nil, kCall, 0, 9, "echo", []byte("x"))...), kPing, 0, 0, "", nil))
	f.Add(true, []byte{1, 0, 0, 1, 9, 2, 1, 0, 3, 0, 6, 1, 0, 7, 99, 7, 1, 0, 7, 0, 5, 1, 0, 7, 0})
	f.Add(true, []byte{2, 1, 0, 4, 0, 6, 1, 0, 7, 250, 6, 1, 0, 7, 250, 8, 1, 255, 7, 0, 1, 2, 0, 2, 0, 5, 2, 0, 7, 0, 1, 2, 0, 1, 0})
	s := testServer(Options{Window: minWindow, MaxFrame: minFrame, MaxBytes: minFrame})
	f.Fuzz(func(t *testing.T, framed bool, in []byte) {
		if framed {
			in = append(goodHello(roleCaller), fromBytes(in, methods)...)
		}
		a, b := net.Pipe()
		go func() { a.Write(in); time.Sleep(time.Millisecond); a.Close() }()
		drained := make(chan struct{})
		go func() { defer close(drained); io.Copy(io.Discard, a) }()
		served := make(chan struct{})
		go func() { defer close(served); s.ServeConn(bg, b, nil) }()
		for _, ch := range []chan struct{}{served, drained} {
			select {
			case <-ch:
			case <-time.After(patience):
				t.Fatalf("the server hangs on % x", in)
			}
		}
	})
}

// The same from a server: its caller gets an end of everything it waits for.
func FuzzClient(f *testing.F) {
	hi := goodHello(roleServer)
	f.Add(false, []byte("HTTP/1.1 200 OK\r\n\r\n"))
	f.Add(false, appendFrame(hi[:len(hi):len(hi)], kAnswer, 0, 0, "", []byte("x")))
	f.Add(true, []byte{3, 0, 0, 7, 9, 3, 1, 0, 7, 0, 6, 2, 0, 7, 99, 6, 2, 0, 7, 99, 7, 2, 0, 7, 0, 3, 2, 0, 7, 0})
	f.Add(true, []byte{8, 2, 1, 7, 0, 9, 0, 0, 7, 0, 4, 1, 0, 7, 9})
	f.Fuzz(func(t *testing.T, framed bool, in []byte) {
		if framed {
			in = append(goodHello(roleServer), fromBytes(in, nil)...)
		}
		a, b := net.Pipe()
		c := NewClient(a, Options{Window: minWindow, MaxFrame: minFrame})
		results := make(chan error, 3)
		ctx, cancel := context.WithTimeout(bg, patience)
		defer cancel()
		if err := c.Go(ctx, "a", nil, func(_ []byte, err error) { results <- err }); err != nil {
			t.Fatal(err)
		}
		go func() { _, err := c.Call(ctx, "b", nil); results <- err }()
		go func() {
			st, err := c.Stream(ctx, "c")
			for err == nil {
				_, err = st.Recv()
			}
			results <- err
		}()
		drained := make(chan struct{})
		go func() { defer close(drained); io.Copy(io.Discard, b) }()
		b.Write(in)
		b.Close()
		for range cap(results) {
			<-results
		}
		if ctx.Err() != nil {
			t.Errorf("a caller hangs on % x", in)
		}
		c.Close()
		<-drained
	})
}
