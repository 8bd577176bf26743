package treetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testWatchRename(e *env) {
	d := e.create(e.alice, "d", tree.ModeDir|0o755)
	e.put(e.alice, "a", "x")
	f := e.walk(e.alice, "a")
	from, to, file := e.watch(e.alice, 0), e.watch(d, 0), e.watch(f, 0)
	e.ok(e.alice.Rename(e.ctx, "a", e.alice, "b"), "Rename within a directory")
	from.wants("renamed a", "created b")
	e.ok(e.alice.Rename(e.ctx, "b", d, "c"), "Rename into another directory")
	from.wants("renamed a", "created b", "renamed b")
	to.wants("created c")
	file.await("two renames", func() bool { return len(file.events) >= 2 })
	if got := file.got(); !slices.Equal(got, []string{"renamed ", "renamed "}) {
		e.Errorf("the file's own watch tells %q, want two renames", got)
	}
	e.put(d, "over", "y")
	over := e.watch(e.walk(d, "over"), 0)
	e.ok(d.Rename(e.ctx, "c", d, "over"), "Rename over a file")
	over.wants("removed ")
	to.await("the arrival", func() bool {
		n := len(to.events)
		return n > 0 && to.events[n-1].Kind == tree.Created && to.events[n-1].Name == "over" && to.events[n-1].ID == e.attr(f).ID
	})
	// Whether the one that it replaced is said to be removed is left open.
	got := slices.DeleteFunc(to.got(), func(s string) bool { return s == "removed over" })
	if want := []string{"created c", "created over", "renamed c", "created over"}; !slices.Equal(got, want) {
		e.Errorf("the directory's watch tells %q, want %q", got, want)
	}
}

func testWatchEnds(e *env) {
	w := e.watch(e.alice, 0)
	w.stop()
	if err := <-w.end; !errors.Is(err, context.Canceled) && api.KindOf(err) != api.Canceled {
		e.Errorf("after its context ended, Watch returned %v", err)
	}
	calls := 0
	err := e.alice.Watch(e.ctx, 0, func(uint64, []tree.Event) error { calls++; return errStop })
	if !errors.Is(err, errStop) || calls != 1 {
		e.Errorf("after %d calls of fn, Watch returned %v, want fn's error after 1", calls, err)
	}
}

// Every change by many writers is told once and in order.
func testWatchManyWriters(e *env) {
	const writers, each = 8, 40
	w := e.watch(e.bob, 0)
	errs := make(chan error, writers)
	for i := range writers {
		go func() {
			var err error
			for j := 0; j < each && err == nil; j++ {
				name := fmt.Sprintf("w%d-%d", i, j)
				if _, err = e.alice.Create(e.ctx, name, tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: true}); err == nil && j%2 == 0 {
					err = e.alice.Remove(e.ctx, name, false)
				}
			}
			errs <- err
		}()
	}
	for range writers {
		e.ok(<-errs, "Create and Remove")
	}
	e.create(e.alice, "~end", tree.ModeFile|0o644)
	want := writers*(each+each/2) + 1
	w.await("the end", func() bool { n := len(w.events); return n > 0 && w.events[n-1].Name == "~end" })
	there := make(map[string]bool)
	for _, x := range w.events {
		if created := x.Kind == tree.Created; there[x.Name] == created || !created && x.Kind != tree.Removed {
			e.Fatalf("%+v is told while there is %v", x, there[x.Name])
		}
		there[x.Name] = !there[x.Name]
	}
	now := e.list(e.bob, tree.MaxPage)
	told := 0
	for n, is := range there {
		if is {
			told++
		}
		if _, ok := slices.BinarySearch(now, n); ok != is {
			e.Errorf("%s: told %v, listed %v", n, is, ok)
		}
	}
	if len(now) != told || len(w.events) != want {
		e.Errorf("%d events leave %d entries, want %d and %d", len(w.events), told, want, len(now))
	}
}
