package treetest

import (
	"strings"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testAttach(e *env) {
	e.put(e.alice, "f", "x")
	e.create(e.alice, "d", tree.ModeDir|0o755)
	sub := e.attach("alice", "/t/d", nil)
	if got, want := e.attr(sub).ID, e.attr(e.walk(e.alice, "d")).ID; got != want {
		e.Errorf("Attach at /t/d gives file %d, want %d", got, want)
	}
	for _, aname := range []string{"", "/"} {
		if _, err := e.attach("alice", aname, nil).Walk(e.ctx, "t"); err != nil {
			e.Errorf("Attach(%q) is not the root: %v", aname, err)
		}
	}
	_, err := e.fs.Attach(e.ctx, e.cfg.caller("alice"), "/t/none", nil)
	e.is(err, "Attach at an absent path", api.NotFound)
	for _, aname := range []string{"/t/../..", "/t/\x00", "/t/" + strings.Repeat("x", tree.MaxPath)} {
		_, err := e.fs.Attach(e.ctx, e.cfg.caller("alice"), aname, nil)
		e.is(err, "Attach at a path that cannot be", api.Invalid, api.TooLarge, api.NotFound)
	}
}

// Every call that takes a name refuses the same names, and takes the others.
func testNames(e *env) {
	longest := strings.Repeat("n", tree.MaxName)
	good := []string{"a", "...", "a b", "-rf", "ü€😀", `back\slash`, "~x", "%2e", "a:b", longest}
	for _, n := range good {
		e.put(e.alice, n, n)
		e.has(e.walk(e.alice, n), n)
	}
	if got := e.list(e.alice, tree.MaxPage); len(got) != len(good) {
		e.Errorf("ReadDir gives %q, want the %d names %q", got, len(good), good)
	}
	for _, n := range []string{"", ".", "..", "/", "a/b", "/a", "a\x00b", "\xff\xfe", longest + "n"} {
		want := []api.Kind{api.Invalid}
		if len(n) > tree.MaxName {
			want = []api.Kind{api.TooLarge, api.Invalid}
		}
		_, err := e.alice.Walk(e.ctx, n)
		e.is(err, "Walk of a bad name "+n, append(want, api.NotFound)...)
		_, err = e.alice.Create(e.ctx, n, tree.NewFile{Mode: tree.ModeFile | 0o644})
		e.is(err, "Create of a bad name "+n, want...)
		_, err = e.alice.Put(e.ctx, n, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true})
		e.is(err, "Put of a bad name "+n, want...)
		err = e.alice.Remove(e.ctx, n, false)
		e.is(err, "Remove of a bad name "+n, append(want, api.NotFound)...)
		if e.cfg.Rename {
			err = e.alice.Rename(e.ctx, "a", e.alice, n)
			e.is(err, "Rename to a bad name "+n, want...)
		}
	}
	if got := e.list(e.alice, tree.MaxPage); len(got) != len(good) {
		e.Errorf("after bad names ReadDir gives %q, want the %d names %q", got, len(good), good)
	}
}

func testWrongTypes(e *env) {
	f, d := e.create(e.alice, "f", tree.ModeFile|0o644), e.create(e.alice, "d", tree.ModeDir|0o755)
	_, err := f.Walk(e.ctx, "x")
	e.is(err, "Walk from a file", api.NotDir)
	_, err = f.ReadDir(e.ctx, "", 10)
	e.is(err, "ReadDir of a file", api.NotDir)
	_, err = f.Create(e.ctx, "x", tree.NewFile{Mode: tree.ModeFile | 0o644})
	e.is(err, "Create in a file", api.NotDir)
	_, err = f.Put(e.ctx, "x", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true})
	e.is(err, "Put in a file", api.NotDir)
	e.is(f.Remove(e.ctx, "x", false), "Remove in a file", api.NotDir)
	for _, m := range []tree.OpenMode{{Read: true}, {Write: true}, {Read: true, Write: true, Truncate: true}} {
		_, err = d.Open(e.ctx, m)
		e.is(err, "Open of a directory", api.IsDir)
	}
	size := int64(0)
	_, err = d.SetAttr(e.ctx, tree.SetAttr{Size: &size})
	e.is(err, "SetAttr of a directory's size", api.IsDir, api.Invalid)
	_, err = e.alice.Put(e.ctx, "d", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true})
	e.is(err, "Put on a directory", api.IsDir)
	for _, mode := range []uint32{0o020000, 0o060000, 0o010000} {
		_, err = e.alice.Create(e.ctx, "dev", tree.NewFile{Mode: mode | 0o644})
		e.is(err, "Create of a device or FIFO", api.Invalid, api.Unsupported, api.Denied)
	}
}
