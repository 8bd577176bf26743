package ninep

import (
	"context"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// throughTo has the same tree behind every link.
func throughTo(fs tree.FS) func(context.Context, tree.Attr, api.Caller) (tree.File, error) {
	return func(ctx context.Context, _ tree.Attr, c api.Caller) (tree.File, error) {
		return fs.Attach(ctx, c, "", nil)
	}
}

// To a plain client an endpoint link is the directory behind it; to σ's clients,
// and where nothing answers behind it, it is a link.
func TestThrough(t *testing.T) {
	front, behind := fixed(t), fixed(t)
	for _, fs := range []tree.FS{front, behind} {
		root, err := fs.Attach(ctxOf(t), caller(""), "", nil)
		if err == nil {
			err = furnish(t, root)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	alive := true
	o := Options{Through: func(ctx context.Context, link tree.Attr, c api.Caller) (tree.File, error) {
		if !alive || link.Target != "token" || c.User != "alice" {
			return nil, api.E(api.Unavailable, "dial", link.Target, "nobody listens")
		}
		return behind.Attach(ctx, c, "/", nil)
	}}
	r := start(t, caller("alice"), front, o, versionPlain)
	walk0 := func(to uint32, names ...string) *rwalk {
		t.Helper()
		m, ok := r.ask(1, tWalk, &walk{Fid: 0, NewFid: to, Names: names}).(*rwalk)
		if !ok || len(m.Qids) != len(names) {
			t.Fatalf("walk %q: %v", names, m)
		}
		return m
	}
	here, there := walk0(1, "dir", "file").Qids[1], walk0(2, "dir", "ep", "dir", "file").Qids
	if there[1].Type != qidDir || there[3].Path == here.Path {
		t.Errorf("the link has qid %+v; a file behind it %+v, one before it %+v", there[1], there[3], here)
	}
	if up := walk0(3, "dir", "ep", ".."); up.Qids[2] != walk0(4, "dir").Qids[0] {
		t.Errorf("above what is behind the link is %+v", up.Qids[2])
	}
	r.ask(1, tLopen, &lopen{4, oReadOnly})
	list := r.ask(1, tReaddir, &readdir{span{4, 2, 1000}}).(*rdata)
	c := coder{b: list.Data}
	var d dirent
	if d.code(&c); d.Name != "ep" || d.Type != dtUnknown {
		t.Errorf("the link is listed as %+v, want type unknown", d)
	}
	walk0(5, "dir")
	errnoIs(t, "rmdir of the link", r.ask(1, tUnlinkat, &unlinkat{5, "ep", atRemoveDir}), 16)
	walk0(6, "dir", "ep", "dir")
	errnoIs(t, "rename from one server to another", r.ask(1, tRenameat, &renameat{5, "file", 6, "x"}), 18)
	alive = false
	if q := walk0(7, "dir", "ep").Qids[1]; q.Type != 0 {
		t.Errorf("a link behind which nobody is has qid %+v", q)
	}
	alive = true

	f, _, err := connect(t, serve(t, caller("alice"), front, o)).Attach(ctxOf(t), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := f.Stat(ctxOf(t), "dir", "ep", "dir", "file")
	if err != nil || !w.Link || w.Names != 2 || w.Attr.Target != "token" {
		t.Errorf("σ's Stat through the link: %+v, %v", w, err)
	}
}
