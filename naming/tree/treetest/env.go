package treetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// env is one tree, seen by three callers in a directory where all may write.
type env struct {
	*testing.T
	cfg Config
	fs  tree.FS
	ctx context.Context

	root, alice, bob tree.File // the directory "t", for an operator and two users
}

func newEnv(t *testing.T, cfg Config, fs tree.FS) *env {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	e := &env{T: t, cfg: cfg, fs: fs, ctx: ctx}
	top, err := fs.Attach(ctx, cfg.caller(""), "", nil)
	if err != nil {
		t.Fatalf("Attach as operator: %v", err)
	}
	if e.root, err = top.Create(ctx, "t", tree.NewFile{Mode: tree.ModeDir | 0o777, Exclusive: true}); err != nil {
		t.Fatalf("Create t in the root as operator: %v", err)
	}
	e.alice, e.bob = e.attach("alice", "/t", nil), e.attach("bob", "t", nil)
	return e
}

func (e *env) attach(user, aname string, fence *tree.Fence) tree.File {
	e.Helper()
	f, err := e.fs.Attach(e.ctx, e.cfg.caller(user), aname, fence)
	if err != nil {
		e.Fatalf("Attach(%q, %q): %v", user, aname, err)
	}
	return f
}

// ok ends the test at an error.
func (e *env) ok(err error, call string, args ...any) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", fmt.Sprintf(call, args...), err)
	}
}

// is checks that err has one of the kinds.
func (e *env) is(err error, call string, kinds ...api.Kind) {
	e.Helper()
	if !slices.Contains(kinds, api.KindOf(err)) {
		e.Errorf("%s: kind %q (%v), want %q", call, api.KindOf(err), err, kinds)
	}
}

func (e *env) create(dir tree.File, name string, mode uint32) tree.File {
	e.Helper()
	f, err := dir.Create(e.ctx, name, tree.NewFile{Mode: mode, Exclusive: true})
	e.ok(err, "Create(%q, %o)", name, mode)
	return f
}

func (e *env) walk(dir tree.File, names ...string) tree.File {
	e.Helper()
	for _, n := range names {
		f, err := dir.Walk(e.ctx, n)
		e.ok(err, "Walk(%q)", n)
		dir = f
	}
	return dir
}

func (e *env) attr(f tree.File) tree.Attr {
	e.Helper()
	a, err := f.Attr(e.ctx)
	e.ok(err, "Attr")
	return a
}

func (e *env) put(dir tree.File, name, data string) tree.Attr {
	e.Helper()
	a, err := dir.Put(e.ctx, name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: []byte(data)})
	e.ok(err, "Put(%q)", name)
	return a
}

func (e *env) open(f tree.File, m tree.OpenMode) tree.Handle {
	e.Helper()
	h, err := f.Open(e.ctx, m)
	e.ok(err, "Open(%+v)", m)
	e.Cleanup(func() { h.Close() })
	return h
}

func (e *env) write(h tree.Handle, off int64, data string) {
	e.Helper()
	if n, err := h.WriteAt(e.ctx, []byte(data), off); err != nil || n != len(data) {
		e.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(data), off, n, err)
	}
}

// content reads all of a file.
func (e *env) content(f tree.File) string {
	e.Helper()
	h, err := f.Open(e.ctx, tree.OpenMode{Read: true})
	e.ok(err, "Open to read")
	defer h.Close()
	return e.rest(h)
}

func (e *env) rest(h tree.Handle) string {
	e.Helper()
	var all []byte
	buf := make([]byte, 32<<10)
	for {
		n, err := h.ReadAt(e.ctx, buf, int64(len(all)))
		all = append(all, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return string(all)
		}
		e.ok(err, "ReadAt(%d)", len(all))
		if n == 0 {
			e.Fatalf("ReadAt(%d) = 0, nil", len(all))
		}
	}
}

func (e *env) has(f tree.File, want string) {
	e.Helper()
	if got := e.content(f); got != want {
		e.Errorf("the file has %d bytes %.60q, want %d bytes %.60q", len(got), got, len(want), want)
	}
}

// list returns the names in dir, asked for in pages of max.
func (e *env) list(dir tree.File, max int) (names []string) {
	e.Helper()
	after := ""
	for {
		page, err := dir.ReadDir(e.ctx, after, max)
		e.ok(err, "ReadDir(%q, %d)", after, max)
		if len(page) > max {
			e.Fatalf("ReadDir(%q, %d) gives %d entries", after, max, len(page))
		}
		for _, d := range page {
			names = append(names, d.Name)
		}
		if len(page) < max {
			return names
		}
		after = page[len(page)-1].Name
	}
}

// lists checks that a tree.Lister gives what ReadDir gives, and the attributes that
// entries have, or none where the caller may not look at them.
func (e *env) lists(dir tree.File, max int, look bool) {
	e.Helper()
	l, ok := dir.(tree.Lister)
	if !ok {
		return
	}
	for after := ""; ; {
		want, err := dir.ReadDir(e.ctx, after, max)
		e.ok(err, "ReadDir(%q, %d)", after, max)
		list, attrs, err := l.List(e.ctx, after, max)
		e.ok(err, "List(%q, %d)", after, max)
		if !slices.Equal(list, want) {
			e.Errorf("List(%q, %d) gives %v, ReadDir %v", after, max, list, want)
			return
		}
		if !look && attrs != nil || look && len(attrs) != len(list) {
			e.Errorf("List(%q, %d) gives %d attributes of %d entries; it may look at them: %v", after, max, len(attrs), len(list), look)
			return
		}
		for i, d := range list {
			after = d.Name
			if !look {
				continue
			}
			got, want := attrs[i], e.attr(e.walk(dir, d.Name))
			if got.Modified.Truncate(time.Second).Equal(want.Modified.Truncate(time.Second)) { // stores tell one of them in seconds
				got.Modified = want.Modified
			}
			if got != want {
				e.Errorf("List says %+v of %s, Attr %+v", got, d.Name, want)
			}
		}
		if len(list) < max {
			return
		}
	}
}
