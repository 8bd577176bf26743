package treetest

import (
	"errors"
	"io"
	"math"
	"strings"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var rw = tree.OpenMode{Read: true, Write: true}

func testReadWrite(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	h := e.open(f, rw)
	big := strings.Repeat("0123456789abcdef", 4<<10) // 64 KiB
	e.write(h, 0, big)
	e.write(h, 5, "XYZ")
	want := big[:5] + "XYZ" + big[8:]
	if got := e.rest(h); got != want {
		e.Errorf("the handle reads %d bytes %.40q, want %d bytes %.40q", len(got), got, len(want), want)
	}
	e.ok(h.Sync(e.ctx), "Sync")
	e.has(e.walk(e.bob, "f"), want)
	if a := e.attr(f); a.Size != int64(len(want)) {
		e.Errorf("Size is %d, want %d", a.Size, len(want))
	}
	e.ok(h.Close(), "Close")
	if _, err := h.ReadAt(e.ctx, make([]byte, 1), 0); err == nil || errors.Is(err, io.EOF) {
		e.Errorf("ReadAt of a closed handle: %v", err)
	}
	if _, err := h.WriteAt(e.ctx, make([]byte, 1), 0); err == nil {
		e.Errorf("WriteAt of a closed handle succeeds")
	}
	e.open(f, tree.OpenMode{Write: true, Truncate: true})
	e.has(f, "")
}

func testOffsets(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	h := e.open(f, rw)
	e.write(h, 10, "end")
	e.has(f, strings.Repeat("\x00", 10)+"end")
	buf := make([]byte, 8)
	for _, off := range []int64{13, 14, 1 << 40, math.MaxInt64 - 4, math.MaxInt64} {
		n, err := h.ReadAt(e.ctx, buf, off)
		if beyond := off > math.MaxInt64-8 && api.KindOf(err) == api.Invalid; n != 0 || !errors.Is(err, io.EOF) && !beyond {
			e.Errorf("ReadAt(%d) of 13 bytes = %d, %v, want 0, EOF", off, n, err)
		}
	}
	if n, err := h.ReadAt(e.ctx, buf, 11); n != 2 || err != nil && !errors.Is(err, io.EOF) || string(buf[:2]) != "nd" {
		e.Errorf("ReadAt(11) of 13 bytes = %d %q, %v", n, buf[:n], err)
	}
	_, err := h.ReadAt(e.ctx, buf, -1)
	e.is(err, "ReadAt(-1)", api.Invalid)
	_, err = h.WriteAt(e.ctx, buf, -1)
	e.is(err, "WriteAt(-1)", api.Invalid)
	for _, off := range []int64{math.MaxInt64, math.MaxInt64 - 7} {
		_, err = h.WriteAt(e.ctx, buf, off)
		e.is(err, "WriteAt beyond every limit", api.TooLarge, api.Invalid, api.Busy)
	}
	if a := e.attr(f); a.Size != 13 {
		e.Errorf("after refused writes Size is %d, want 13", a.Size)
	}
}

func testOpenModes(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	e.put(e.alice, "f", "text")
	r, w := e.open(f, tree.OpenMode{Read: true}), e.open(f, tree.OpenMode{Write: true})
	_, err := r.WriteAt(e.ctx, []byte("x"), 0)
	e.is(err, "WriteAt of a handle to read", api.Denied, api.Invalid)
	_, err = w.ReadAt(e.ctx, make([]byte, 1), 0)
	e.is(err, "ReadAt of a handle to write", api.Denied, api.Invalid)
	_, err = f.Open(e.ctx, tree.OpenMode{})
	e.is(err, "Open for nothing", api.Invalid)
	e.has(f, "text")
}

func testAppend(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	app := tree.OpenMode{Read: true, Write: true, Append: true}
	a, b := e.open(f, app), e.open(f, app)
	for range 3 {
		e.write(a, 0, "a")
		e.write(b, 1, "b")
	}
	e.has(f, "ababab")
	errs := make(chan error, 2)
	for _, h := range []tree.Handle{a, b} {
		go func() {
			for range 50 {
				if _, err := h.WriteAt(e.ctx, []byte("0123"), 0); err != nil {
					errs <- err
					return
				}
			}
			errs <- nil
		}()
	}
	e.ok(errors.Join(<-errs, <-errs), "WriteAt of two that append")
	e.has(f, "ababab"+strings.Repeat("0123", 100))
}

// A handle outlives the entry of its file, as on any Unix.
func testUnlinked(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	h := e.open(f, rw)
	e.write(h, 0, "before")
	e.ok(e.alice.Remove(e.ctx, "f", false), "Remove")
	e.put(e.alice, "f", "another")
	e.write(h, 6, "+after")
	if got := e.rest(h); got != "before+after" {
		e.Errorf("the handle reads %q, want %q", got, "before+after")
	}
	e.has(e.walk(e.alice, "f"), "another")
	if s, ok := h.(tree.Attrs); ok {
		size := int64(3)
		a, err := s.SetAttr(e.ctx, tree.SetAttr{Size: &size})
		e.ok(err, "SetAttr of the handle")
		if b, err := s.Attr(e.ctx); err != nil || a.Size != 3 || b.Size != 3 {
			e.Errorf("after ftruncate(3) the handle says %d, then %d, %v", a.Size, b.Size, err)
		}
	}
}

func testSetAttr(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	e.put(e.alice, "f", "0123456789")
	for _, size := range []int64{4, 8} {
		a, err := f.SetAttr(e.ctx, tree.SetAttr{Size: &size})
		e.ok(err, "SetAttr(size %d)", size)
		if a.Size != size {
			e.Errorf("SetAttr(size %d) returns size %d", size, a.Size)
		}
	}
	e.has(f, "0123\x00\x00\x00\x00")
	size, when := int64(-1), time.Unix(1_000_000_000, 0)
	_, err := f.SetAttr(e.ctx, tree.SetAttr{Size: &size})
	e.is(err, "SetAttr(size -1)", api.Invalid)
	_, err = f.SetAttr(e.ctx, tree.SetAttr{Modified: &when})
	e.ok(err, "SetAttr(modified)")
	if a := e.attr(f); !a.Modified.Equal(when) {
		e.Errorf("Modified is %v, want %v", a.Modified, when)
	}
	before := time.Now().Add(-time.Hour)
	e.put(e.alice, "f", "new")
	if a := e.attr(f); a.Modified.Before(before) {
		e.Errorf("after a Put Modified is %v", a.Modified)
	}
}

func testMaxFile(e *env) {
	limit := e.cfg.MaxFile
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	h := e.open(f, rw)
	e.write(h, limit-1, "x")
	_, err := h.WriteAt(e.ctx, []byte("x"), limit)
	e.is(err, "WriteAt at the limit", api.TooLarge)
	_, err = h.WriteAt(e.ctx, []byte("xx"), limit-1)
	e.is(err, "WriteAt over the limit", api.TooLarge)
	over := limit + 1
	_, err = f.SetAttr(e.ctx, tree.SetAttr{Size: &over})
	e.is(err, "SetAttr over the limit", api.TooLarge)
	if a := e.attr(f); a.Size != limit {
		e.Errorf("Size is %d, want %d", a.Size, limit)
	}
	if e.cfg.Append {
		_, err = e.alice.Put(e.ctx, "f", tree.Put{Append: true, Data: []byte("x")})
		e.is(err, "Put that appends over the limit", api.TooLarge)
	}
	if limit <= 4<<20 && !e.cfg.Foreign {
		_, err = e.alice.Put(e.ctx, "g", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: make([]byte, limit+1)})
		e.is(err, "Put over the limit", api.TooLarge)
		_, err = e.alice.Walk(e.ctx, "g")
		e.is(err, "Walk to what was too large", api.NotFound)
	}
}
