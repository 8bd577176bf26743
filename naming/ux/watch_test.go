package ux

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var errSeen = errors.New("the test has seen enough")

// A restart is a gap: what happened before it is not known any more.
func TestWatchOverARestart(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	at := root.put("f", "x").Version
	root.put("g", "x")
	s = s.again()
	root = s.as("alice")
	err := root.Watch(ctx, at, func(uint64, []tree.Event) error { return errSeen })
	kind(t, err, api.TooOld, "list again")
	err = root.Watch(ctx, 0, func(now uint64, ev []tree.Event) error {
		if now <= at || len(ev) > 0 {
			t.Errorf("the first call is at %d with %v, want behind %d and none", now, ev, at)
		}
		return errSeen
	})
	if !errors.Is(err, errSeen) {
		t.Errorf("Watch: %v", err)
	}
}

// One writer of a large file does not make everybody else's watch TooOld, and
// its last version is told.
func TestWritesAreTold(t *testing.T) {
	s := start(t, Config{History: 8})
	root := s.as("alice")
	root.put("f", "")
	before := root.put("other", "x").Version
	h := root.open("f", rw)
	for i := range 100 {
		write(t, h, int64(i), "x")
	}
	last := root.attr("f").Version
	err := root.Watch(ctx, before, func(at uint64, ev []tree.Event) error {
		if len(ev) != 1 || ev[0].Kind != tree.Changed || ev[0].Name != "f" || ev[0].Version != last || at != last {
			t.Errorf("100 writes are told as %+v up to %d, want one change of f at %d", ev, at, last)
		}
		return errSeen
	})
	if !errors.Is(err, errSeen) {
		t.Errorf("Watch: %v", err)
	}
}

// A watch that does not keep up ends; it holds no memory, and others go on. One
// of a quiet file is not too slow because other files change.
func TestFAULTS_F36_SlowWatch(t *testing.T) {
	s := start(t, Config{History: 16})
	root := s.as("alice")
	root.put("quiet", "x")
	root.mkdir("busy")
	begun, goOn := make(chan string, 2), make(chan struct{})
	end := make(chan error, 2)
	told := 0
	for _, name := range []string{"busy", "quiet"} {
		f := root.walk(name)
		go func() {
			end <- f.Watch(ctx, 0, func(_ uint64, ev []tree.Event) error {
				if len(ev) == 0 {
					begun <- name
					if name == "busy" {
						<-goOn
					}
					return nil
				}
				if told += len(ev); name == "quiet" {
					return errSeen
				}
				return nil
			})
		}()
	}
	<-begun
	<-begun
	for i := range 40 {
		root.put(fmt.Sprint("busy/", i), "x")
	}
	close(goOn)
	kind(t, <-end, api.TooOld, "too slow")
	root.put("quiet", "y")
	if err := <-end; !errors.Is(err, errSeen) || told != 1 {
		t.Errorf("the quiet file's watch was told %d changes and ended: %v", told, err)
	}
}

func TestPROBES_N28_WatchFlood(t *testing.T) {
	s := start(t, Config{Watches: 3})
	root := s.as("mallory")
	wctx, cancel := context.WithCancel(ctx)
	begun, end := make(chan struct{}), make(chan error)
	for range 3 {
		go func() {
			end <- root.Watch(wctx, 0, func(uint64, []tree.Event) error { begun <- struct{}{}; return nil })
		}()
		<-begun
	}
	err := root.Watch(ctx, 0, func(uint64, []tree.Event) error { return errSeen })
	kind(t, err, api.Busy, "3 watches")
	cancel()
	for range 3 {
		if err := <-end; !errors.Is(err, context.Canceled) {
			t.Errorf("Watch: %v", err)
		}
	}
	if err := root.Watch(ctx, 0, func(uint64, []tree.Event) error { return errSeen }); !errors.Is(err, errSeen) {
		t.Errorf("after the others ended: %v", err)
	}
}

// Changes that know their version before they are done come into the history in
// order, and only when they happened.
func TestHistoryOrder(t *testing.T) {
	h := newHistory(100, 10)
	n := &node{}
	n.meta.Store(&meta{id: 7})
	a, b := h.begin(nil), h.begin(nil)
	c := h.change(n, false)
	h.end(b, record{kind: tree.Created, id: 2})
	if len(h.ring) != 0 || h.settled() != 100 {
		t.Errorf("before %d ended, %v is told up to %d", a, h.ring, h.settled())
	}
	h.end(a) // failed
	var got []uint64
	for i := range h.ring {
		got = append(got, h.at(i).version)
	}
	if fmt.Sprint(got) != fmt.Sprint([]uint64{b, c}) || h.settled() != c || len(h.waiting) != 0 {
		t.Errorf("told %v up to %d, %d waiting, want %d and %d", got, h.settled(), len(h.waiting), b, c)
	}
}
