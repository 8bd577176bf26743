package treetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var errStop = errors.New("the test has seen enough")

// watcher collects what one watch tells.
type watcher struct {
	*env
	told chan struct{} // one for each call
	end  chan error
	stop context.CancelFunc

	mu     sync.Mutex
	at     uint64
	calls  int
	events []tree.Event
}

// watch begins a watch; with version 0 it returns once the watch counts.
func (e *env) watch(f tree.File, version uint64) *watcher {
	e.Helper()
	ctx, cancel := context.WithCancel(e.ctx)
	w := &watcher{env: e, told: make(chan struct{}, 1), end: make(chan error, 1), stop: cancel}
	go func() {
		w.end <- f.Watch(ctx, version, func(at uint64, ev []tree.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.check(version, at, ev)
			w.at, w.calls, w.events = at, w.calls+1, append(w.events, ev...)
			select {
			case w.told <- struct{}{}:
			default:
			}
			return nil
		})
		w.end <- nil
	}()
	e.Cleanup(func() { cancel(); <-w.end })
	if version == 0 {
		w.await("the first call", func() bool { return w.calls > 0 })
	}
	return w
}

// check holds one call to the order that package tree promises; mu is held.
func (w *watcher) check(from, at uint64, ev []tree.Event) {
	if w.calls == 0 && from == 0 && len(ev) > 0 {
		w.Errorf("the first call of a watch from now on has the events %v", ev)
	}
	last := max(from, w.at)
	if n := len(w.events); n > 0 && len(ev) > 0 && w.events[n-1].Version == ev[0].Version {
		w.Errorf("version %d is told in two calls; a watch resumed between them would miss a part", ev[0].Version)
	}
	for _, x := range ev {
		if x.Version < last || x.Version <= w.at || x.Version > at {
			w.Errorf("event %+v after version %d in a call up to %d", x, last, at)
		}
		last = x.Version
	}
	if at < w.at {
		w.Errorf("a call up to %d came after one up to %d", at, w.at)
	}
}

// await returns when ok, which is called with mu held.
func (w *watcher) await(what string, ok func() bool) {
	w.Helper()
	for {
		w.mu.Lock()
		done := ok()
		w.mu.Unlock()
		if done {
			return
		}
		select {
		case <-w.told:
		case err := <-w.end:
			w.end <- nil
			w.Fatalf("while waiting for %s the watch ended: %v", what, err)
		case <-w.ctx.Done():
			w.Fatalf("%s was not told; there are %v", what, w.got())
		}
	}
}

// got lists the events as text, without versions.
func (w *watcher) got() (out []string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return texts(w.events)
}

func texts(ev []tree.Event) (out []string) {
	kinds := []string{"?", "created", "changed", "removed", "renamed"}
	for _, x := range ev {
		k := kinds[0]
		if int(x.Kind) < len(kinds) {
			k = kinds[x.Kind]
		}
		out = append(out, k+" "+x.Name)
	}
	return out
}

// wants waits until the events are these.
func (w *watcher) wants(want ...string) {
	w.Helper()
	w.await(fmt.Sprint(want), func() bool { return len(w.events) >= len(want) })
	if got := w.got(); !slices.Equal(got, want) {
		w.Fatalf("the watch tells %q, want %q", got, want)
	}
}

func testWatchDirectory(e *env) {
	e.put(e.alice, "old", "x")
	sub := e.create(e.alice, "sub", tree.ModeDir|0o755)
	w := e.watch(e.bob, 0)
	e.put(e.alice, "new", "1")
	w.wants("created new")
	e.put(e.alice, "new", "2")
	e.put(e.alice, "old", "3")
	e.put(sub, "deeper", "x") // not an entry of the watched directory
	e.ok(e.alice.Remove(e.ctx, "old", false), "Remove")
	w.wants("created new", "changed new", "changed old", "removed old")
	if got, want := w.events[0].ID, e.attr(e.walk(e.alice, "new")).ID; got != want {
		e.Errorf("the event has file %d, want %d", got, want)
	}
	if e.cfg.Versions {
		if got, want := w.events[1].Version, e.attr(e.walk(e.alice, "new")).Version; got != want {
			e.Errorf("the event has version %d, Attr %d", got, want)
		}
		if got, want := w.events[3].Version, e.attr(e.alice).Version; got != want {
			e.Errorf("the removal has version %d, the directory %d", got, want)
		}
	}
}

func testWatchFile(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	e.put(e.alice, "other", "x")
	w := e.watch(e.walk(e.bob, "f"), 0)
	e.put(e.alice, "f", "1")
	w.wants("changed ")
	e.put(e.alice, "other", "y")
	h := e.open(f, rw)
	e.write(h, 0, "2")
	perm := uint32(0o600)
	_, err := f.SetAttr(e.ctx, tree.SetAttr{Perm: &perm})
	e.ok(err, "SetAttr")
	e.ok(h.Close(), "Close")
	e.ok(e.alice.Remove(e.ctx, "f", false), "Remove")
	w.wants("changed ", "changed ", "changed ", "removed ")
}

// A watch that goes on from any version tells exactly what came behind it.
func testWatchResume(e *env) {
	w := e.watch(e.alice, 0)
	start := w.at
	for i := range 10 {
		e.put(e.alice, fmt.Sprint("f", i%3), fmt.Sprint(i))
	}
	e.put(e.alice, "end", "")
	w.await("11 events", func() bool { return len(w.events) >= 11 })
	all := slices.Clone(w.events)
	for i := range all {
		from, want := start, texts(all[i:])
		if i > 0 {
			from = all[i-1].Version
		}
		r := e.watch(e.bob, from)
		r.await("the end", func() bool { n := len(r.events); return n > 0 && r.events[n-1].Name == "end" })
		r.stop()
		if got := r.got(); !slices.Equal(got, want) {
			e.Errorf("from version %d the watch tells %q, want %q", from, got, want)
		}
	}
}

func testWatchTooOld(e *env) {
	w := e.watch(e.alice, 0)
	start := w.at
	w.stop()
	for i := range e.cfg.History + 2 {
		e.put(e.alice, "f", fmt.Sprint(i))
	}
	err := e.alice.Watch(e.ctx, start, func(uint64, []tree.Event) error { return errStop })
	e.is(err, "Watch from a version that is forgotten", api.TooOld)
	err = e.alice.Watch(e.ctx, 1<<63, func(uint64, []tree.Event) error { return errStop })
	e.is(err, "Watch from a version that will never be", api.TooOld, api.Invalid)
}
