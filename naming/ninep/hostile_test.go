package ninep

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"testing"
	"time"
)

func errnoIs(t *testing.T, what string, m message, want uint32) {
	t.Helper()
	switch e := m.(type) {
	case *lerror:
		if e.Errno == want {
			return
		}
	case *serror:
		if e.Errno == want {
			return
		}
	case nil:
		t.Errorf("%s: the connection ended, want errno %d", what, want)
		return
	}
	t.Errorf("%s: %s, want errno %d", what, text(m), want)
}

// PROBES N25: each is an error to its sender, and the connection goes on.
func TestPROBES_N25(t *testing.T) {
	for _, dialect := range []string{versionPlain, versionSigma} {
		t.Run(dialect, func(t *testing.T) {
			g, _, open := holding(t, "read")
			close(open)
			r := start(t, caller("alice"), g, Options{}, dialect)
			errnoIs(t, "msize 0", r.ask(1, tVersion, &version{0, dialect}), 22)
			if m := r.ask(1, tVersion, &version{math.MaxUint32, dialect}).(*version); m.Version != dialect || m.Msize < maxMsize || m.Msize > maxSigma {
				t.Errorf("msize 2^32-1: %s", text(m))
			}
			r.ask(1, tAttach, &attach{Fid: 0, Afid: noFid})
			r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
			r.ask(1, tWalk, &walk{Fid: 0, NewFid: 2, Names: []string{"dir"}})
			r.ask(1, tLopen, &lopen{1, oReadOnly})
			r.ask(1, tLopen, &lopen{2, oReadOnly})

			errnoIs(t, "attach on a fid in use", r.ask(1, tAttach, &attach{Fid: 1, Afid: noFid}), 9)
			errnoIs(t, "walk to a fid in use", r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1}), 9)
			errnoIs(t, "walk from an unknown fid", r.ask(1, tWalk, &walk{Fid: 9, NewFid: 10}), 9)
			errnoIs(t, "open of an open fid", r.ask(1, tLopen, &lopen{1, oReadOnly}), 9)
			errnoIs(t, "read at 2^63", r.ask(1, tRead, &read{span{1, 1 << 63, 10}}), 22)
			errnoIs(t, "read at 2^64-1", r.ask(1, tRead, &read{span{1, math.MaxUint64, math.MaxUint32}}), 22)
			if m := r.ask(1, tRead, &read{span{1, math.MaxInt64, math.MaxUint32}}); text(m) != `rdata{Data:""}` {
				t.Errorf("read of 4 GiB at 2^63-1: %s", text(m))
			}
			errnoIs(t, "write at 2^63-1", r.ask(1, tWrite, &write{1, math.MaxInt64, []byte("x")}), 27)
			errnoIs(t, "Twrite on a directory", r.ask(1, tWrite, &write{2, 0, []byte("x")}), 21)
			errnoIs(t, "Twrite on a directory that is not open", r.ask(1, tWrite, &write{0, 0, []byte("x")}), 9)
			errnoIs(t, "readdir of a file", r.ask(1, tReaddir, &readdir{span{1, 0, 100}}), 9)

			many := make([]string, 65535)
			b := appendFrame(nil, tWalk, 1, &walk{Fid: 0, NewFid: 20, Names: many[:16]})
			binary.LittleEndian.PutUint16(b[headerSize+8:], 65535) // says 65,535 names, has 16
			r.bytes(b)
			_, m := r.recv()
			errnoIs(t, "a walk that says 65,535 names", m, 22)
			c := coder{b: appendFrame(nil, tWalk, 1, &walk{Fid: 0, NewFid: 20}), write: true}
			c.b = c.b[:len(c.b)-2]
			c.names(&many, math.MaxUint16)
			binary.LittleEndian.PutUint32(c.b, uint32(len(c.b)))
			r.bytes(c.b)
			_, m = r.recv()
			errnoIs(t, "a walk of 65,535 names", m, 22)

			go func() { // a flush storm: each is answered
				for i := range 10_000 {
					r.conn.Write(appendFrame(nil, tFlush, uint16(2+i), &flush{Old: uint16(i * 7)}))
				}
			}()
			for range 10_000 {
				if _, m := r.recv(); text(m) != "empty{}" {
					t.Fatalf("flush: %s", text(m))
				}
			}
			if m := r.ask(1, tRead, &read{span{1, 0, 10}}); text(m) != `rdata{Data:"hello"}` {
				t.Errorf("after all that a read is answered %s", text(m))
			}
		})
	}
}

// Flushes without end of one request that hangs.
func TestPROBES_N25_FlushStormOfOne(t *testing.T) {
	g, came, open := holding(t, "open")
	g.before = func(ctx context.Context, op string) error { // deaf to its context
		if op == "open" {
			came <- struct{}{}
			<-open
		}
		return nil
	}
	r := start(t, caller("alice"), g, Options{}, versionPlain)
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
	r.send(1, tLopen, &lopen{1, oReadOnly})
	<-came
	const n = maxFlushes + 100
	for i := range uint16(n) {
		r.send(10+i, tFlush, &flush{Old: 1})
	}
	for range n - maxFlushes {
		_, m := r.recv()
		errnoIs(t, "a flush more than can wait", m, 122)
	}
	close(open)
	for i := range maxFlushes + 1 {
		if tag, m := r.recv(); m == nil || (i == 0) != (tag == 1) {
			t.Fatalf("answer %d has tag %d: %s", i, tag, text(m))
		}
	}
}

// A frame whose length makes no sense ends the connection, as do bytes that are
// no 9P; nothing else does.
func TestFramesThatMakeNoSense(t *testing.T) {
	huge := binary.LittleEndian.AppendUint32(nil, 1<<31)
	small := []byte{6, 0, 0, 0, tClunk, 1, 0}
	for name, c := range map[string]struct {
		b    []byte
		ends bool
	}{
		"shorter than a header":     {small, true},
		"two gigabytes":             {append(huge, make([]byte, 100)...), true},
		"larger than msize":         {appendFrame(nil, tWrite, 1, &write{0, 0, make([]byte, 65<<10)}), true},
		"http":                      {[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), true},
		"an empty body":             {[]byte{7, 0, 0, 0, tClunk, 1, 0}, false},
		"bytes behind the fields":   {append([]byte{12, 0, 0, 0, tClunk, 1, 0}, 0, 0, 0, 0, 9), false},
		"an unknown type":           {[]byte{7, 0, 0, 0, 255, 1, 0}, false},
		"an answer's type":          {appendFrame(nil, tClunk+1, 1, &empty{}), false},
		"no tag":                    {appendFrame(nil, tClunk, noTag, &clunk{onFid{0}}), false},
		"sigma's, which is not on":  {appendFrame(nil, tSstat, 1, &sstat{path{0, nil}}), false},
		"a string longer than that": {append([]byte{21, 0, 0, 0, tMkdir, 1, 0, 0, 0, 0, 0}, bytes.Repeat([]byte{255}, 10)...), false},
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, caller("alice"), fixed(t), Options{}, versionPlain)
			r.bytes(c.b)
			_, m := r.recv()
			if c.ends != (m == nil) {
				t.Fatalf("answered %v, want the end of the connection: %v", m, c.ends)
			}
			if !c.ends {
				errno := m.(*lerror).Errno
				if errno != 22 && errno != 95 {
					t.Errorf("answered with errno %d", errno)
				}
				if m := r.ask(1, tGetattr, &getattr{0, 0}); m == nil {
					t.Error("the next request is not answered")
				}
			}
		})
	}
	r := newRaw(t, serve(t, caller("alice"), fixed(t), Options{}))
	errnoIs(t, "a request ahead of Tversion", r.ask(1, tAttach, &attach{Fid: 0, Afid: noFid}), 22)
}

// One that begins a message must end it; one that does not read is cut off.
func TestPeersThatHang(t *testing.T) {
	t.Run("in the middle of a message", func(t *testing.T) {
		r := start(t, caller("alice"), fixed(t), Options{Read: 20 * time.Millisecond}, versionPlain)
		r.bytes(appendFrame(nil, tWrite, 1, &write{0, 0, make([]byte, 1000)})[:500])
		r.ended()
	})
	t.Run("without reading", func(t *testing.T) {
		fs := fixed(t)
		a, b := pair(t)
		defer b.Close()
		done := make(chan error, 1)
		go func() {
			done <- Serve(ctxOf(t), a, caller("alice"), fs, Options{Write: 20 * time.Millisecond})
		}()
		r := newRaw(t, b)
		r.ask(noTag, tVersion, &version{64 << 10, versionPlain})
		b.SetWriteDeadline(time.Now().Add(20 * time.Second))
		for { // until the server hangs up
			if _, err := b.Write(appendFrame(nil, tFlush, 1, &flush{2})); err != nil {
				break
			}
		}
		select {
		case err := <-done:
			if err == nil {
				t.Error("Serve returned nil, want why it ended")
			}
		case <-time.After(20 * time.Second):
			t.Error("the server still waits for a peer that does not read")
		}
		other := start(t, caller("bob"), fs, Options{}, versionPlain)
		if m := other.ask(1, tGetattr, &getattr{0, 0}); m == nil {
			t.Error("another connection is not served")
		}
	})
}

func TestBounds(t *testing.T) {
	t.Run("fids", func(t *testing.T) {
		r := start(t, caller("alice"), fixed(t), Options{Fids: 3}, versionPlain)
		for i := range uint32(2) {
			r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1 + i})
		}
		errnoIs(t, "one fid more", r.ask(1, tWalk, &walk{Fid: 0, NewFid: 3}), 122)
		r.ask(1, tClunk, &clunk{onFid{1}})
		if m, ok := r.ask(1, tWalk, &walk{Fid: 0, NewFid: 3}).(*rwalk); !ok {
			t.Errorf("after a clunk: %v", m)
		}
	})
	t.Run("fids of another connection", func(t *testing.T) {
		fs := fixed(t)
		a, b := start(t, caller("alice"), fs, Options{}, versionSigma), start(t, caller("bob"), fs, Options{}, versionSigma)
		a.ask(1, tWalk, &walk{Fid: 0, NewFid: 7})
		errnoIs(t, "alice's fid on bob's connection", b.ask(1, tSstat, &sstat{path{7, nil}}), 9)
	})
	t.Run("handles", func(t *testing.T) {
		g, _, open := holding(t, "read")
		close(open)
		r := start(t, caller("alice"), g, Options{Handles: 2}, versionPlain)
		for i := range uint32(3) {
			r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1 + i, Names: []string{"dir", "file"}})
		}
		r.ask(1, tWalk, &walk{Fid: 0, NewFid: 4, Names: []string{"dir"}})
		r.ask(1, tLopen, &lopen{1, oReadOnly})
		r.ask(1, tLopen, &lopen{4, oReadOnly})
		errnoIs(t, "one file more", r.ask(1, tLopen, &lopen{2, oReadOnly}), 24)
		errnoIs(t, "a new file", r.ask(1, tLcreate, &lcreate{Fid: 4, Name: "x", Flags: oWriteOnly}), 9)
		r.ask(1, tClunk, &clunk{onFid{4}})
		if m, ok := r.ask(1, tLopen, &lopen{2, oReadOnly}).(*opened); !ok {
			t.Errorf("after a clunk: %v", m)
		}
		r.conn.Close()
		for deadline := time.Now().Add(10 * time.Second); g.get(&g.handles) != 0; {
			if time.Now().After(deadline) {
				t.Fatalf("after the connection ended %d files are open", g.get(&g.handles))
			}
			time.Sleep(time.Millisecond)
		}
	})
	t.Run("watches", func(t *testing.T) {
		r := start(t, caller("alice"), fixed(t), Options{Watches: 2}, versionSigma)
		for tag := range uint16(2) {
			r.ask(10+tag, tSwatch, &swatch{Fid: 0})
		}
		errnoIs(t, "one watch more", r.ask(1, tSwatch, &swatch{Fid: 0}), 122)
		r.send(2, tFlush, &flush{Old: 10})
		r.recv()
		r.recv()
		if m, ok := r.ask(1, tSwatch, &swatch{Fid: 0}).(*rswatch); !ok {
			t.Errorf("after a flush: %v", m)
		}
	})
}

// More requests than may run wait, and then are answered: none is refused.
func TestManyRequestsWait(t *testing.T) {
	g, came, open := holding(t, "read")
	o := Options{Requests: 4, Waiting: 8}
	r := start(t, caller("alice"), g, o, versionPlain)
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
	r.ask(1, tLopen, &lopen{1, oReadOnly})
	const n = 200
	go func() {
		for i := range uint16(n) {
			r.conn.Write(appendFrame(nil, tRead, 100+i, &read{span{1, 0, 10}}))
		}
	}()
	for range o.Requests {
		<-came
	}
	select {
	case <-came:
		t.Errorf("more than %d requests run at once", o.Requests)
	case <-time.After(20 * time.Millisecond):
	}
	close(open)
	seen := make(map[uint16]bool)
	for range n {
		tag, m := r.recv()
		if text(m) != `rdata{Data:"hello"}` || seen[tag] {
			t.Fatalf("tag %d: %s", tag, text(m))
		}
		seen[tag] = true
	}
}

// A tag that is in use is refused; as soon as its answer is read it is free.
func TestTags(t *testing.T) {
	g, came, open := holding(t, "open")
	r := start(t, caller("alice"), g, Options{}, versionPlain)
	for range 2000 {
		if m, ok := r.ask(5, tGetattr, &getattr{0, 0}).(*rgetattr); !ok {
			t.Fatalf("a tag used again: %v", m)
		}
	}
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1, Names: []string{"dir", "file"}})
	r.send(5, tLopen, &lopen{1, oReadOnly})
	<-came
	errnoIs(t, "a tag in use", r.ask(5, tGetattr, &getattr{0, 0}), 22)
	close(open)
	if tag, m := r.recv(); tag != 5 || fmt.Sprintf("%T", m) != "*ninep.opened" {
		t.Errorf("the first request with the tag is answered %d %s", tag, text(m))
	}
}
