package ninep

import (
	"context"
	"io"
	"net"
	"testing"
	"time"

	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// packed is a row of messages as fuzzing sees them: type, length, fields. The
// headers come with the unpacking, so that what is changed stays a message.
func packed(steps ...step) (b []byte) {
	for _, s := range steps {
		body := appendFrame(nil, s.typ, 0, s.m)[headerSize:]
		if len(body) < 256 {
			b = append(append(b, s.typ, byte(len(body))), body...)
		}
	}
	return b
}

func unpacked(dialect string, b []byte) (out []byte) {
	out = appendFrame(out, tVersion, noTag, &version{Msize: 8192, Version: dialect})
	out = appendFrame(out, tAttach, 1, &attach{Fid: 0, Afid: noFid})
	for tag := uint16(2); len(b) >= 2; tag++ {
		n := min(int(b[1]), len(b)-2)
		size := headerSize + n
		out = append(out, byte(size), byte(size>>8), 0, 0, b[0], byte(tag), byte(tag>>8))
		out = append(out, b[2:2+n]...)
		b = b[2+n:]
	}
	return out
}

// Whatever comes, messages or bytes, the server neither panics nor hangs, and
// leaves nothing behind.
func FuzzServer(f *testing.F) {
	const (
		sigmaBit = 1 << iota
		throughBit
		rawBit
	)
	for _, s := range stories {
		for how := range uint8(4) {
			f.Add(packed(s.asked...), how)
		}
		f.Add(unpacked(s.dialect, packed(s.asked...)), uint8(rawBit))
	}
	for _, m := range messages {
		f.Add(packed(step{m.typ, m.m}), uint8(sigmaBit))
	}
	f.Add(packed(step{tSwatch, &swatch{0, 0, 2}}, step{tSput, &sput{down(0, "dir", "x"), tree.Put{Create: true}}}, step{tSseen, &sseen{2, 5}}, step{tFlush, &flush{2}}), uint8(sigmaBit))
	f.Fuzz(func(t *testing.T, b []byte, how uint8) {
		dialect := versionPlain
		if how&sigmaBit != 0 {
			dialect = versionSigma
		}
		if how&rawBit == 0 {
			b = unpacked(dialect, b)
		}
		fs := memfs.New(memfs.Options{MaxBytes: 1 << 20, MaxFiles: 100, Watches: 10, History: 100})
		defer fs.Close()
		root, err := fs.Attach(context.Background(), caller(""), "", nil)
		if err != nil {
			t.Fatal(err)
		}
		furnish(t, root)
		o := Options{Fids: 50, Handles: 20, Watches: 10, Requests: 4, Waiting: 8, Unread: 16, Slow: time.Millisecond, Bytes: 1 << 20}
		if how&throughBit != 0 {
			o.Through = throughTo(fs)
		}
		a, p := net.Pipe()
		done := make(chan struct{})
		go func() {
			defer close(done)
			Serve(context.Background(), a, caller("alice"), fs, o)
		}()
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(io.Discard, p) }()
		p.Write(b)
		p.Close()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			panic("the server does not end")
		}
		<-read
	})
}

// Whatever a server answers, calls end and nothing panics.
func FuzzClient(f *testing.F) {
	for _, v := range []string{versionPlain, versionSigma} {
		b := appendFrame(nil, tVersion+1, noTag, &version{Msize: 8192, Version: v})
		for _, m := range messages {
			if m.typ%2 == 1 {
				f.Add(appendFrame(b, m.typ, 0, m.m))
			}
		}
		b = appendFrame(b, tSattach+1, 0, &walked{Attr: someAttr})
		b = appendFrame(b, tSget+1, 0, &rsget{walked{Names: 1, Attr: someAttr}, []byte("abc")})
		b = appendFrame(b, tSopen+1, 0, &ropened{false, walked{Names: 1, Attr: someAttr}, 10})
		b = appendFrame(b, tRead+1, 0, &rdata{[]byte("abc")})
		b = appendFrame(b, tSwatch+1, 0, &rswatch{true, 10, []tree.Event{{Version: 10}}})
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		a, p := net.Pipe()
		read := make(chan struct{})
		go func() { defer close(read); io.Copy(io.Discard, a) }()
		wrote := make(chan struct{})
		go func() { defer close(wrote); a.Write(b); a.Close() }()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		c, err := NewClient(ctx, p)
		if err == nil {
			useAll(ctx, c)
			c.Close()
		}
		p.Close()
		<-wrote
		<-read
		if ctx.Err() != nil {
			t.Fatal("a call waited for a connection that has ended")
		}
	})
}

func useAll(ctx context.Context, c *Client) {
	root, _, err := c.Attach(ctx, "", nil)
	if err != nil {
		return
	}
	root.Stat(ctx, "a")
	root.Get(ctx, 100, "a")
	if h, _, err := root.Open(ctx, tree.OpenMode{Read: true, Write: true}, "a"); err == nil && h != nil {
		h.ReadAt(ctx, make([]byte, 100), 0)
		h.WriteAt(ctx, make([]byte, 100), 0)
		h.Close()
	}
	root.ReadDir(ctx, "", 10, true, "a")
	root.Put(ctx, tree.Put{}, "a")
	root.Watch(ctx, 0, func(uint64, []tree.Event) error { return nil })
	root.Close()
}
