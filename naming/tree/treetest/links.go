package treetest

import (
	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testSymlinks(e *env) {
	const target = "../somewhere/ü else"
	f, err := e.alice.Create(e.ctx, "l", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: target, Exclusive: true})
	e.ok(err, "Create of a symlink")
	if a := e.attr(f); a.Size != int64(len(target)) {
		e.Errorf("a symlink's size is %d, want its target's length %d, which tools read by", a.Size, len(target))
	}
	testLink(e, f, tree.ModeSymlink, target)
	_, err = e.alice.Create(e.ctx, "m", tree.NewFile{Mode: tree.ModeSymlink | 0o777})
	e.is(err, "Create of a symlink to nothing", api.Invalid)
	_, err = e.alice.Create(e.ctx, "m", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: "a\x00b"})
	e.is(err, "Create of a symlink with NUL", api.Invalid)
	_, err = e.alice.Create(e.ctx, "m", tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: string(make([]byte, tree.MaxPath+1))})
	e.is(err, "Create of a symlink longer than a path", api.Invalid, api.TooLarge)
}

func testEndpoints(e *env) {
	const token = "v4.public.token-of-an-endpoint"
	f, err := e.alice.Create(e.ctx, "ep", tree.NewFile{Mode: tree.ModeEndpoint | 0o644, Target: token, Exclusive: true})
	e.ok(err, "Create of an endpoint link")
	if e.attr(f).Published {
		e.Errorf("an ordinary endpoint link is Published")
	}
	testLink(e, f, tree.ModeEndpoint, token)
	published := tree.NewFile{Mode: tree.ModeEndpoint | 0o644, Target: token, Exclusive: true, Published: true}
	_, err = e.alice.Create(e.ctx, "pub", published)
	e.is(err, "Create of a published link by a user", api.Denied)
	f, err = e.root.Create(e.ctx, "pub", published)
	e.ok(err, "Create of a published link by an operator")
	if !e.attr(f).Published {
		e.Errorf("what an operator published is not Published")
	}
}

// testLink tests what symlinks and endpoint links have in common; f is made by
// alice.
func testLink(e *env, f tree.File, mode uint32, target string) {
	a := e.attr(f)
	if a.Mode&tree.ModeType != mode || a.Target != target {
		e.Errorf("a link has %+v, want type %o and target %q", a, mode, target)
	}
	name := ""
	page, err := e.alice.ReadDir(e.ctx, "", 10)
	e.ok(err, "ReadDir")
	for _, d := range page {
		if d.ID == a.ID && d.Mode&tree.ModeType == mode {
			name = d.Name
		}
	}
	if name == "" {
		e.Fatalf("ReadDir gives %+v, want the link in it", page)
	}
	if b := e.attr(e.walk(e.alice, name)); b.Target != target {
		e.Errorf("Walk to the link gives %+v, want the link itself", b)
	}
	_, err = f.Walk(e.ctx, "x")
	e.is(err, "Walk from a link", api.NotDir)
	_, err = f.ReadDir(e.ctx, "", 10)
	e.is(err, "ReadDir of a link", api.NotDir)
	_, err = f.Open(e.ctx, tree.OpenMode{Read: true})
	e.is(err, "Open of a link", api.Invalid)
	_, err = e.alice.Put(e.ctx, name, tree.Put{Data: []byte("x")})
	e.is(err, "Put on a link", api.Invalid)
	_, err = e.alice.Create(e.ctx, name, tree.NewFile{Mode: mode | 0o777, Target: target, Exclusive: true})
	e.is(err, "exclusive Create on a link", api.Exists)
	if e.cfg.Rename {
		e.ok(e.alice.Rename(e.ctx, name, e.alice, "moved"), "Rename of a link")
		name = "moved"
		if b := e.attr(e.walk(e.alice, name)); b.Target != target || b.ID != a.ID {
			e.Errorf("after Rename the link is %+v", b)
		}
	}
	e.is(e.alice.Remove(e.ctx, name, true), "Remove of a link as a directory", api.NotDir)
	e.ok(e.alice.Remove(e.ctx, name, false), "Remove of a link")
}
