package ninep

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// FAULTS F36: a watcher that does not read is cut off with an error; what is
// kept for it is bounded, and others do not notice.
func TestFAULTS_F36_WatcherThatDoesNotRead(t *testing.T) {
	fs := newMem(t, memfs.Options{History: 1 << 16})
	o := Options{Unread: 64, Write: time.Minute, Slow: 20 * time.Millisecond}
	slow := start(t, caller("alice"), fs, o, versionSigma)
	first := slow.ask(5, tSwatch, &swatch{Fid: 0}).(*rswatch)
	other, _, err := connect(t, serve(t, caller("bob"), fs, o)).Attach(ctxOf(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	// All at once may be told in one call, and what one call tells is taken whole. So
	// there are some later, one by one, of which more than enough wait.
	const atOnce, later = 20_000, 400
	const changes = atOnce + later
	told := make(chan uint64, changes)
	ctx, cancel := context.WithCancel(ctxOf(t))
	watching := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		watching <- other.Watch(ctx, 0, func(at uint64, ev []tree.Event) error {
			if len(ev) == 0 {
				close(ready)
			}
			for _, e := range ev {
				told <- e.Version
			}
			return nil
		})
	}()
	<-ready
	root, _ := fs.Attach(ctx, caller(""), "", nil)
	for i := range changes {
		if _, err := root.Put(ctx, fmt.Sprint("f", i%10), tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o600}, Create: true}); err != nil {
			t.Fatal(err)
		}
		if i >= atOnce {
			time.Sleep(o.Slow / 4)
		}
		if i%32 == 31 { // no faster than the one who reads
			for range 32 {
				<-told
			}
		}
	}
	cancel()
	if err := <-watching; api.KindOf(err) == api.Busy {
		t.Errorf("the watcher that reads was cut off: %v", err)
	}

	// What the slow one finds when it reads at last: events without a gap, then
	// the error.
	last, n := first.At, 0
	for {
		tag, m := slow.recv()
		if w, ok := m.(*rswatch); ok && tag == 5 {
			for _, e := range w.Events {
				if e.Version != last+1 {
					t.Fatalf("version %d after %d", e.Version, last)
				}
				last, n = e.Version, n+1
			}
			continue
		}
		if e, ok := m.(*serror); !ok || e.Kind != string(api.Busy) {
			t.Errorf("the slow watch ended with %s, want busy", text(m))
		}
		break
	}
	if n == 0 || n >= changes {
		t.Errorf("the slow watch was told %d of %d changes", n, changes)
	}
	if m := slow.ask(6, tSstat, &sstat{path{0, nil}}); fmt.Sprintf("%T", m) != "*ninep.walked" {
		t.Errorf("another request on the connection: %s", text(m))
	}
	if w, ok := slow.ask(7, tSwatch, &swatch{Fid: 0, Version: last}).(*rswatch); !ok || w.Events[0].Version != last+1 {
		t.Errorf("the watch does not go on from version %d: %v", last, w)
	}
}

// A program that is slow gets all; one that stands still is cut off, and can go
// on from where it was.
func TestFAULTS_F36_SlowFunction(t *testing.T) {
	fs := newMem(t, memfs.Options{History: 1 << 16})
	c := connect(t, serve(t, caller("alice"), fs, Options{Unread: 1000, Slow: 50 * time.Millisecond}))
	f, _, err := c.Attach(ctxOf(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	root, _ := fs.Attach(ctxOf(t), caller(""), "", nil)
	name := strings.Repeat("n", tree.MaxName)
	const changes = 40_000 // more than may wait anywhere but in the tree
	var last uint64
	n, most := 0, 0
	done := errors.New("done")
	follow := func(at uint64, ev []tree.Event) error {
		most = max(most, c.streamed())
		for _, e := range ev {
			if e.Version != last+1 {
				t.Fatalf("version %d after %d", e.Version, last)
			}
			last, n = e.Version, n+1
		}
		if n == changes {
			return done
		}
		return nil
	}
	ended := make(chan struct{})
	err = f.Watch(ctxOf(t), 0, func(at uint64, ev []tree.Event) error {
		if len(ev) > 0 {
			return follow(at, ev)
		}
		last = at
		for range changes {
			if _, err := root.Put(ctxOf(t), name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o600}, Create: true}); err != nil {
				return err
			}
		}
		go func() { // stand still until the server's patience ends
			defer close(ended)
			for deadline := time.Now().Add(20 * time.Second); c.watching() && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
		}()
		<-ended
		return nil
	})
	if api.KindOf(err) != api.Busy || n == 0 || n >= changes {
		t.Fatalf("after %d of %d events Watch returned %v, want busy", n, changes, err)
	}
	if _, err := f.Stat(ctxOf(t)); err != nil {
		t.Errorf("another call on the connection: %v", err)
	}
	c = connect(t, serve(t, caller("alice"), fs, Options{Unread: 1000})) // with more patience
	err = attachRoot(t, c).Watch(ctxOf(t), last, func(at uint64, ev []tree.Event) error {
		time.Sleep(100 * time.Microsecond)
		return follow(at, ev)
	})
	if err != done {
		t.Errorf("after %d of %d events: %v", n, changes, err)
	}
	if bound := watchWindow * (eventSize + tree.MaxName + 100); most > bound {
		t.Errorf("%d bytes waited in the client, more than %d", most, bound)
	}
}

// streamed is how many bytes wait in the watches of c.
func (c *Client) streamed() (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.calls {
		if k.stream != nil {
			k.stream.mu.Lock()
			n += k.stream.bytes
			k.stream.mu.Unlock()
		}
	}
	return n
}

// watching reports whether a watch of c has no end yet.
func (c *Client) watching() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, k := range c.calls {
		if k.stream != nil {
			return true
		}
	}
	return false
}

// teller is a tree whose root tells a watch what a test wants.
type teller struct {
	tree.File
	watch func(ctx context.Context, fn func(uint64, []tree.Event) error) error
}

func (f *teller) Attach(ctx context.Context, c api.Caller, aname string, _ *tree.Fence) (tree.File, error) {
	return f, nil
}

func (f *teller) Watch(ctx context.Context, _ uint64, fn func(uint64, []tree.Event) error) error {
	return f.watch(ctx, fn)
}

// Events of one version stay together, however many messages they take; those of
// others are told as they come.
func TestWatchOfManyEvents(t *testing.T) {
	root, err := fixed(t).Attach(ctxOf(t), caller(""), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var all []tree.Event
	for i := range 3000 {
		v := uint64(10)
		if i >= 1000 {
			v = uint64(i)
		}
		all = append(all, tree.Event{Version: v, Kind: tree.Removed, Name: fmt.Sprintf("%0250d", i), ID: uint64(i)})
	}
	f := &teller{root, func(ctx context.Context, fn func(uint64, []tree.Event) error) error {
		if err := fn(5, nil); err != nil {
			return err
		}
		if err := fn(5000, all); err != nil {
			return err
		}
		return api.E(api.TooOld, "watch", "x", "that is all")
	}}
	fid, _, err := connect(t, serve(t, caller("alice"), f, Options{Msize: minMsize})).Attach(ctxOf(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	var got []tree.Event
	var ats []uint64
	err = fid.Watch(ctxOf(t), 0, func(at uint64, ev []tree.Event) error {
		if n := len(got); n > 0 && len(ev) > 0 && got[n-1].Version == ev[0].Version {
			t.Errorf("version %d is told in two calls", ev[0].Version)
		}
		got, ats = append(got, ev...), append(ats, at)
		return nil
	})
	if e := api.AsError("", err); e.Kind != api.TooOld || e.Op != "watch" || e.Subject != "x" || e.Text != "that is all" {
		t.Errorf("Watch returned %+v, want the tree's error", e)
	}
	if !slices.Equal(got, all) {
		t.Errorf("%d events were told, not the %d there were", len(got), len(all))
	}
	if !slices.IsSorted(ats) || ats[0] != 5 || ats[len(ats)-1] != 5000 || len(ats) < 100 {
		t.Errorf("calls were told up to %v", ats)
	}
}
