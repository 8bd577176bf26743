package treetest

import (
	"fmt"
	"slices"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// createOpen makes a file as behind the wire, where tree.CreateOpener is used.
func (e *env) createOpen(name string, exclusive bool) (tree.File, tree.Handle) {
	e.Helper()
	d, ok := e.alice.(tree.CreateOpener)
	if !ok {
		e.Skip("this File is no tree.CreateOpener")
	}
	f, h, err := d.CreateOpen(e.ctx, name, tree.NewFile{Mode: tree.ModeFile | 0o644, Exclusive: exclusive}, tree.OpenMode{Read: true, Write: true, Truncate: true})
	e.ok(err, "CreateOpen(%q)", name)
	return f, h
}

// An object is written from its beginning to its end, and others see it when it
// is closed.
func testObjects(e *env) {
	for _, c := range []struct {
		name string
		size int
	}{{"empty", 0}, {"small", 10}, {"large", 17<<20 + 5}} {
		text := strings.Repeat("0123456789abcdef", c.size/16+1)[:c.size]
		f, h := e.createOpen(c.name, true)
		for off := 0; off < len(text); off += 1 << 20 {
			e.write(h, int64(off), text[off:min(len(text), off+1<<20)])
		}
		_, err := e.bob.Walk(e.ctx, c.name)
		e.is(err, "Walk to an object that is being written", api.NotFound)
		if a, ok := h.(tree.Attrs); ok {
			if a, err := a.Attr(e.ctx); err != nil || a.Size != int64(c.size) || a.Links != 0 {
				e.Errorf("the handle says %+v, %v; want %d bytes and no links", a, err, c.size)
			}
		}
		e.ok(h.Close(), "Close of %s", c.name)
		e.has(e.walk(e.bob, c.name), text)
		if a := e.attr(f); a.Size != int64(c.size) || a.Links == 0 {
			e.Errorf("%s has %+v, want %d bytes", c.name, a, c.size)
		}
		// Another one in its place.
		h = e.open(f, tree.OpenMode{Write: true, Truncate: true})
		e.write(h, 0, "new")
		e.has(e.walk(e.bob, c.name), text)
		e.ok(h.Close(), "Close")
		e.has(e.walk(e.bob, c.name), "new")
	}
	f := e.walk(e.alice, "small")
	for what, m := range map[string]tree.OpenMode{"in the middle": {Write: true}, "behind a gap": {Write: true, Truncate: true}} {
		h := e.open(f, m)
		_, err := h.WriteAt(e.ctx, []byte("x"), 1)
		e.is(err, "WriteAt "+what, api.Unsupported)
		if a, ok := h.(tree.Aborter); ok {
			a.Abort()
		}
	}
	_, err := f.Open(e.ctx, tree.OpenMode{Append: true})
	e.is(err, "Open to append", api.Unsupported)
	e.is(e.alice.Rename(e.ctx, "small", e.alice, "other"), "Rename", api.Unsupported)
	size := int64(1)
	_, err = f.SetAttr(e.ctx, tree.SetAttr{Size: &size})
	e.is(err, "SetAttr of a size", api.Unsupported)
	size = 0
	a, err := f.SetAttr(e.ctx, tree.SetAttr{Size: &size})
	if err != nil || a.Size != 0 {
		e.Errorf("SetAttr(size 0): %+v, %v", a, err)
	}
	e.has(f, "")
}

// What was synced is there; what is written behind it makes one object with it.
func testObjectsSynced(e *env) {
	for _, size := range []int{5, 17 << 20} {
		text := strings.Repeat("0123456789abcdef", size/16+1)[:size]
		_, h := e.createOpen("f", false)
		e.ok(h.Sync(e.ctx), "Sync of nothing")
		want := ""
		for range 3 {
			for off := 0; off < len(text); off += 1 << 20 {
				e.write(h, int64(len(want)+off), text[off:min(len(text), off+1<<20)])
			}
			want += text
			e.ok(h.Sync(e.ctx), "Sync")
			e.has(e.walk(e.bob, "f"), want)
		}
		e.write(h, int64(len(want)), "end")
		e.ok(h.Close(), "Close")
		e.has(e.walk(e.bob, "f"), want+"end")
		e.ok(e.alice.Remove(e.ctx, "f", false), "Remove")
	}
}

// What was not closed never was.
func testObjectsAbandoned(e *env) {
	for _, size := range []int{3, 17 << 20} {
		_, h := e.createOpen("f", true)
		a, ok := h.(tree.Aborter)
		if !ok {
			e.Fatal("the handle is no tree.Aborter")
		}
		for off := 0; off < size; off += 1 << 20 {
			e.write(h, int64(off), strings.Repeat("x", min(size-off, 1<<20)))
		}
		a.Abort()
		_, err := e.alice.Walk(e.ctx, "f")
		e.is(err, "Walk to what was abandoned", api.NotFound)
		e.put(e.alice, "g", "old")
		h = e.open(e.walk(e.alice, "g"), tree.OpenMode{Write: true, Truncate: true})
		e.write(h, 0, "new")
		h.(tree.Aborter).Abort()
		e.has(e.walk(e.alice, "g"), "old")
	}
	_, h := e.createOpen("h", true)
	e.put(e.bob, "h", "was faster")
	e.write(h, 0, "slow")
	e.is(h.Close(), "Close of an exclusive object that somebody else made", api.Exists)
	e.has(e.walk(e.alice, "h"), "was faster")
}

// Names come in byte order, though keys of directories sort by their slash; and
// with attributes, where the tree gives them so.
func testObjectsLists(e *env) {
	want := []string{"a", "a b", "a!", "a-", "a-b", "a-b-c", "a.", "a0", "b", "b-1", "b.d", "c"}
	for i, n := range want {
		if i%2 == 0 {
			e.create(e.create(e.alice, n, tree.ModeDir|0o755), "in", tree.ModeFile|0o644)
		} else {
			e.put(e.alice, n, fmt.Sprint(i))
		}
	}
	slices.Sort(want)
	for _, max := range []int{1, 2, 3, 5, 100} {
		if got := e.list(e.alice, max); !slices.Equal(got, want) {
			e.Errorf("in pages of %d: %q, want %q", max, got, want)
		}
	}
	e.lists(e.alice, 3, true)
}
