package ninep

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

func attachRoot(t *testing.T, c *Client) *Fid {
	t.Helper()
	f, _, err := c.Attach(ctxOf(t), "", nil)
	if err != nil {
		t.Fatalf("Attach: %v", err)
	}
	return f
}

// eventually waits for something that another goroutine does.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not so after 20 s: %s", what)
		}
	}
}

// When the connection is lost, everything that waits and everything that comes
// later says so.
func TestLostConnection(t *testing.T) {
	g, came, _ := holding(t, "read")
	a, b := pair(t)
	serveOn(t, a, caller("alice"), g, Options{})
	c := connect(t, b)
	root := attachRoot(t, c)
	h, _, err := root.Open(ctxOf(t), tree.OpenMode{Read: true}, "dir", "file")
	if err != nil {
		t.Fatal(err)
	}
	errs := make(chan error, 3)
	go func() { _, err := h.ReadAt(ctxOf(t), make([]byte, 10), 0); errs <- err }()
	go func() {
		errs <- root.Watch(ctxOf(t), 0, func(uint64, []tree.Event) error { came <- struct{}{}; return nil })
	}()
	<-came
	<-came
	a.Close()
	for range 2 {
		if err := <-errs; api.KindOf(err) != api.Unavailable {
			t.Errorf("a call under way ended with %v, want unavailable", err)
		}
	}
	<-c.Done()
	_, err = root.Stat(ctxOf(t))
	_, _, err2 := c.Attach(ctxOf(t), "", nil)
	_, err3 := c.Grant(ctxOf(t), time.Second)
	err4 := root.Watch(ctxOf(t), 0, func(uint64, []tree.Event) error { return nil })
	for i, err := range []error{err, err2, err3, err4, h.Close(), root.Close()} {
		if api.KindOf(err) != api.Unavailable {
			t.Errorf("call %d on a lost connection: %v, want unavailable", i, err)
		}
	}
}

// A call ends with its context, at once; the server hears of it, and the
// connection goes on.
func TestCanceledCalls(t *testing.T) {
	g, came, open := holding(t, "read")
	c := connect(t, serve(t, caller("alice"), g, Options{}))
	root := attachRoot(t, c)
	h, _, err := root.Open(ctxOf(t), tree.OpenMode{Read: true}, "dir", "file")
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	var wg sync.WaitGroup
	ctx, cancel := context.WithCancel(ctxOf(t))
	for range n {
		wg.Go(func() {
			if _, err := h.ReadAt(ctx, make([]byte, 10), 0); !errors.Is(err, context.Canceled) || api.KindOf(err) != api.Canceled {
				t.Errorf("ReadAt: %v, want canceled", err)
			}
		})
	}
	for range n {
		<-came
	}
	cancel()
	wg.Wait()
	eventually(t, "all reads are canceled at the server", func() bool { return g.get(&g.canceled) == n })
	close(open)
	buf := make([]byte, 10)
	if k, _ := h.ReadAt(ctxOf(t), buf, 0); string(buf[:k]) != "hello" {
		t.Errorf("after canceled reads: %q", buf[:k])
	}
	eventually(t, "all tags are free", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return len(c.calls) == 0 && len(c.slots) == 0 && len(c.tags) == int(c.tag)
	})
}

// What a canceled call has made at the server is given back.
func TestCanceledCallsLeaveNothing(t *testing.T) {
	g, came, open := holding(t, "walk")
	g.before = func(ctx context.Context, op string) error { // deaf to its context
		if op == "walk" {
			came <- struct{}{}
			<-open
		}
		return nil
	}
	c := connect(t, serve(t, caller("alice"), g, Options{}))
	root := attachRoot(t, c)
	ctx, cancel := context.WithCancel(ctxOf(t))
	go func() { <-came; cancel() }()
	if _, _, err := root.Walk(ctx, "dir"); !errors.Is(err, context.Canceled) {
		t.Fatalf("Walk: %v, want canceled", err)
	}
	close(open)
	eventually(t, "the server forgot the place", func() bool { return g.get(&g.forgot) == 1 })
	eventually(t, "the number is free", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.live == 1
	})
}

// Files of a Remote that are dropped are found and given back, as are those that
// are forgotten.
func TestRemoteFilesAreGivenBack(t *testing.T) {
	g, _, open := holding(t, "none")
	close(open)
	r := Remote{connect(t, serve(t, caller("alice"), g, Options{}))}
	root, err := r.Attach(ctxOf(t), api.Caller{}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	const n = 100
	for i := range n {
		f, err := root.Walk(ctxOf(t), "dir")
		if err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			f.(tree.Forgetter).Forget()
			if _, err := f.Attr(ctxOf(t)); err == nil {
				t.Error("Attr of a file that was forgotten succeeds")
			}
		}
	}
	eventually(t, "all files are forgotten", func() bool { runtime.GC(); return g.get(&g.forgot) == n })
	if _, err := root.Attr(ctxOf(t)); err != nil {
		t.Errorf("the root, which is still there: %v", err)
	}
}

// Large reads and writes go in pieces, several of them at once.
func TestPieces(t *testing.T) {
	g, came, open := holding(t, "read")
	g.FS = newMem(t, memfs.Options{})
	c := connect(t, serve(t, caller(""), g, Options{Msize: 16 << 10}))
	root := attachRoot(t, c)
	h, _, err := root.CreateOpen(ctxOf(t), tree.NewFile{Mode: tree.ModeFile | 0o600}, tree.OpenMode{Read: true, Write: true}, "f")
	if err != nil {
		t.Fatal(err)
	}
	data := make([]byte, 1_000_003)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	if n, err := h.WriteAt(ctxOf(t), data, 7); n != len(data) || err != nil {
		t.Fatalf("WriteAt = %d, %v", n, err)
	}
	go func() {
		for range ahead {
			<-came
		}
		close(open)
	}()
	got := make([]byte, len(data)+100)
	n, err := h.ReadAt(ctxOf(t), got, 7)
	if n != len(data) || !bytes.Equal(got[:n], data) || err == nil {
		t.Errorf("ReadAt = %d, %v; equal: %v", n, err, bytes.Equal(got[:n], data))
	}
	if n, err := h.ReadAt(ctxOf(t), got[:1000], 500_000); n != 1000 || err != nil || !bytes.Equal(got[:n], data[500_000-7:][:1000]) {
		t.Errorf("ReadAt in the middle = %d, %v", n, err)
	}
	whole, w, err := root.Get(ctxOf(t), 2<<20, "f")
	if err != nil || len(whole) != len(data)+7 || w.Attr.Size != int64(len(whole)) {
		t.Errorf("Get of what does not fit in a message: %d bytes, %+v, %v", len(whole), w, err)
	}
	if _, w, err := root.Get(ctxOf(t), 1000, "f"); api.KindOf(err) != api.TooLarge || w.Attr.Size != int64(len(whole)) {
		t.Errorf("Get of more than was asked for: %+v, %v", w, err)
	}
}

// More calls at once than may be under way wait for each other and end.
func TestManyCallsAtOnce(t *testing.T) {
	fs := newMem(t, memfs.Options{})
	c := connect(t, serve(t, caller(""), fs, Options{Requests: 8, Waiting: 16, Msize: minMsize}))
	root := attachRoot(t, c)
	data := bytes.Repeat([]byte("x"), 50_000) // in 13 pieces
	if _, _, err := root.CreateOpen(ctxOf(t), tree.NewFile{Mode: tree.ModeFile | 0o600}, tree.OpenMode{Write: true}, "f"); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 400 {
		wg.Go(func() {
			h, _, err := root.Open(ctxOf(t), tree.OpenMode{Read: true, Write: true}, "f")
			if err != nil {
				t.Errorf("Open: %v", err)
				return
			}
			if n, err := h.WriteAt(ctxOf(t), data, int64(i%3)); n != len(data) || err != nil {
				t.Errorf("WriteAt = %d, %v", n, err)
			}
			if n, err := h.ReadAt(ctxOf(t), make([]byte, 40_000), 0); n != 40_000 || err != nil {
				t.Errorf("ReadAt = %d, %v", n, err)
			}
			if err := h.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	}
	wg.Wait()
	if c.live != 2 { // the root, and the file that was made and not closed
		t.Errorf("%d fids are left, want 2", c.live)
	}
}

// Every kind of error crosses the wire: whole in σ's dialect, as its number in
// the plain one. No two kinds have the same number.
func TestErrorsCross(t *testing.T) {
	seen := make(map[any]api.Kind)
	for _, k := range []api.Kind{
		api.Invalid, api.NotFound, api.Exists, api.TooLarge, api.NoCapacity, api.Busy, api.Denied, api.Unavailable, api.Canceled,
		api.Deadline, api.Internal, api.Unsupported, api.Conflict, api.NotDir, api.IsDir, api.NotEmpty, api.TooOld, api.Loop,
	} {
		e := api.E(k, "op", "subject", "text with %d%%", 5)
		_, m := answer(fmt.Errorf("wrapped: %w", e), true)
		if got := api.AsError("", received("x", m)); *got != *e {
			t.Errorf("σ: %+v arrives as %+v", e, got)
		}
		_, m = answer(e, false)
		if got := api.KindOf(received("x", m)); got != k {
			t.Errorf("plain: %s arrives as %s", k, got)
		}
		if other, twice := seen[Errno(e)]; twice {
			t.Errorf("%s and %s are both %v", k, other, Errno(e))
		}
		seen[Errno(e)] = k
	}
	for err, want := range map[error]api.Kind{context.Canceled: api.Canceled, context.DeadlineExceeded: api.Deadline, errors.New("x"): api.Internal} {
		_, m := answer(err, true)
		if got := api.KindOf(received("x", m)); got != want {
			t.Errorf("%v arrives as %s, want %s", err, got, want)
		}
	}
}

// A server that answers nonsense, or nothing, costs nobody more than a call.
func TestServersThatMakeNoSense(t *testing.T) {
	for name, answer := range map[string][]byte{
		"nothing":         nil,
		"text":            []byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
		"an error":        appendFrame(nil, tLerror+1, noTag, &lerror{22}),
		"another version": appendFrame(nil, tVersion+1, noTag, &version{8192, "9P2000"}),
		"msize 0":         appendFrame(nil, tVersion+1, noTag, &version{0, versionPlain}),
		"msize 2^32-1":    appendFrame(nil, tVersion+1, noTag, &version{1<<32 - 1, versionPlain}),
	} {
		t.Run(name, func(t *testing.T) {
			a, b := pair(t)
			defer a.Close()
			if a.Write(answer); name == "nothing" {
				ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
				defer cancel()
				if c, err := NewClient(ctx, b); api.KindOf(err) != api.Deadline {
					t.Errorf("NewClient = %v, %v, want deadline", c, err)
				}
				return
			}
			if c, err := NewClient(ctxOf(t), b); err == nil {
				t.Errorf("NewClient = %v, want an error", c)
			}
		})
	}
}
