package named

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// A watcher that never reads costs nothing but its place, and is cut off; the
// others hear everything.
func TestFAULTS_F36_ASlowWatcherIsCutOff(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", func(c *Config) { c.Limits.Pending, c.Limits.Events = 400, 1000 })
	root := h.root(t, realm, "alice")
	busy, quiet := mkdir(t, root, "busy", 0o755), mkdir(t, root, "quiet", 0o755)
	put(t, quiet, "q", "x")

	const stuck = 1000
	stop := make(chan struct{})
	ends := make(chan error, stuck)
	var ready sync.WaitGroup
	for range stuck {
		ready.Add(1)
		go func() {
			told := false
			ends <- busy.Watch(ctx, 0, func(uint64, []tree.Event) error {
				if told {
					return errors.New("it was kept, and told more")
				}
				told = true
				ready.Done()
				<-stop
				return nil
			})
		}()
	}
	ready.Wait()
	before := inUse()
	var heard []tree.Event
	reader := make(chan error, 1)
	errEnd := errors.New("end")
	began := make(chan struct{})
	const changes = 1000
	go func() {
		reader <- busy.Watch(ctx, 0, func(_ uint64, ev []tree.Event) error {
			if len(ev) == 0 {
				close(began)
			}
			if heard = append(heard, ev...); len(heard) == changes {
				return errEnd
			}
			return nil
		})
	}()
	<-began
	put(t, busy, "f", "x")
	var writers sync.WaitGroup
	for range 4 {
		writers.Go(func() {
			for range (changes - 1) / 4 {
				put(t, busy, "f", "y")
			}
		})
	}
	writers.Wait()
	for range (changes - 1) % 4 {
		put(t, busy, "f", "y")
	}
	if err := <-reader; err != errEnd {
		t.Errorf("the watcher that reads: %v", err)
	}
	for i := 1; i < len(heard); i++ {
		if heard[i].Version != heard[i-1].Version+1 {
			t.Fatalf("event %d has version %d, the one before %d", i, heard[i].Version, heard[i-1].Version)
		}
	}
	// 1,000 watchers times 1,000 events that they have not read would be 40 MB
	// and more.
	if grown := inUse() - before; grown > 16<<20 {
		t.Errorf("%d watchers that do not read have cost %d MiB in %d changes", stuck, grown>>20, changes)
	}
	close(stop)
	for range stuck {
		wantKind(t, <-ends, "Watch by one who did not read", api.Busy)
	}
	if err := quiet.Watch(ctx, 0, func(uint64, []tree.Event) error { return errEnd }); err != errEnd {
		t.Errorf("another watch: %v", err)
	}
}

func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A watch of a quiet directory stays resumable while others change a lot: it is
// told how far it has come.
func TestAQuietWatchKeepsUp(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	h := newHost(t, "na", nil)
	root := h.root(t, realm, "alice")
	quiet := mkdir(t, root, "quiet", 0o755)
	fs := h.tree(t, realm)
	ctx, cancel := context.WithCancel(ctx)
	told := make(chan uint64, 10)
	done := make(chan error, 1)
	go func() {
		done <- quiet.Watch(ctx, 0, func(at uint64, ev []tree.Event) error {
			if len(ev) > 0 {
				t.Errorf("events %v", ev)
			}
			told <- at
			return nil
		})
	}()
	first := <-told
	// As many changes as would take long to write are published as they are.
	term := fs.term
	for range 3 * progressEvery / 1000 {
		term.mu.Lock()
		var ev []event
		for range 1000 {
			term.st.version++
			ev = append(ev, event{version: term.st.version, parent: rootID, id: 99, name: "x", kind: tree.Changed})
		}
		term.ring.push(ev)
		term.hub.tell(ev)
		term.mu.Unlock()
	}
	if at := <-told; at < first+progressEvery {
		t.Errorf("told that it has come to %d, from %d", at, first)
	}
	cancel()
	wantKind(t, <-done, "Watch", api.Canceled)
}

func TestAWatchOfWhatIsRemovedEnds(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	root := newHost(t, "na", nil).root(t, realm, "alice")
	d := mkdir(t, root, "d", 0o755)
	var got []tree.Event
	ready := make(chan struct{})
	done := make(chan error, 1)
	go func() {
		done <- d.Watch(ctx, 0, func(_ uint64, ev []tree.Event) error {
			if len(ev) == 0 {
				close(ready)
			}
			got = append(got, ev...)
			return nil
		})
	}()
	<-ready
	put(t, d, "f", "x")
	if err := d.Remove(ctx, "f", false); err != nil {
		t.Fatal(err)
	}
	if err := root.Remove(ctx, "d", true); err != nil {
		t.Fatal(err)
	}
	wantKind(t, <-done, "Watch", api.NotFound)
	if len(got) != 3 || got[2].Kind != tree.Removed || got[2].Name != "" {
		t.Errorf("the watch told %+v, want f made, f removed, the directory removed", got)
	}
}

// The past is read from etcd in one term after another; what etcd has compacted
// is too old.
func TestWatchesResumeFromEtcdsHistory(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	var start uint64
	n := 0
	write := func(h *host) {
		root := h.root(t, realm, "alice")
		for range 30 {
			put(t, root, fmt.Sprint("f", n), "x")
			n++
		}
		// A transaction without an event is in the history too.
		grant(t, h.tree(t, realm), as(realm, "alice"), 0)
	}
	for i := range 3 {
		h := newHost(t, fmt.Sprint("n", i), nil)
		if i == 0 {
			a, err := h.root(t, realm, "alice").Attr(ctx)
			if err != nil {
				t.Fatal(err)
			}
			start = a.Version
		}
		write(h)
		h.Close()
	}
	h := newHost(t, "last", nil)
	root := h.root(t, realm, "alice")
	ev := events(t, root, start)
	if len(ev) != n {
		t.Fatalf("%d events since version %d, want %d", len(ev), start, n)
	}
	for i, e := range ev {
		if e.Name != fmt.Sprint("f", i) || e.Kind != tree.Created || e.Version != start+1+uint64(i) {
			t.Fatalf("event %d is %+v", i, e)
		}
	}
	h.Close()

	resp, err := etcd(t).Get(ctx, "none")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := etcd(t).Compact(ctx, resp.Header.Revision); err != nil {
		t.Fatal(err)
	}
	h = newHost(t, "after", nil)
	root = h.root(t, realm, "alice")
	err = root.Watch(ctx, start, func(uint64, []tree.Event) error { return errors.New("told") })
	wantKind(t, err, "Watch from before the compaction", api.TooOld)
	put(t, root, "new", "x")
	if ev := events(t, root, start+uint64(n)); len(ev) != 1 || ev[0].Name != "new" {
		t.Errorf("a watch from the last version tells %v", ev)
	}
}

// Reference for the ring: all events ever.
func TestRingForgetsTheOldest(t *testing.T) {
	g := ring{base: 10, max: 8}
	v := uint64(10)
	for range 100 {
		var ev []event
		for range 3 {
			v++
			ev = append(ev, event{version: v})
		}
		g.push(ev)
		if keeps := v - g.oldest(); keeps != min(v-10, 8) {
			t.Fatalf("at version %d the oldest is %d", v, g.oldest())
		}
		for from := g.oldest(); from <= v; from++ {
			after := g.after(from)
			if len(after) != int(v-from) || len(after) > 0 && (after[0].version != from+1 || after[len(after)-1].version != v) {
				t.Fatalf("after %d at %d there are %v", from, v, after)
			}
		}
		if len(g.ev) > 8+2+3 {
			t.Fatalf("%d events are kept, of 8", len(g.ev))
		}
	}
	g = ring{base: 5, max: 4, ev: []event{{version: 6}}}
	g.prepend([]event{{version: 1}, {version: 2}, {version: 3}, {version: 4}, {version: 5}})
	if g.base != 2 || len(g.ev) != 4 || g.ev[0].version != 3 {
		t.Errorf("after prepend the ring is %+v", g)
	}
}
