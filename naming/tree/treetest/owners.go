package treetest

import (
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testOwners(e *env) {
	perm := func(bits uint32) tree.SetAttr { return tree.SetAttr{Perm: &bits} }
	f := e.create(e.alice, "f", tree.ModeFile|0o640)
	e.put(e.alice, "f", "text")
	bobs := e.walk(e.bob, "f")
	e.has(bobs, "text")
	_, err := bobs.Open(e.ctx, tree.OpenMode{Write: true})
	e.is(err, "bob opens what the group may read, to write", api.Denied)
	_, err = bobs.Open(e.ctx, tree.OpenMode{Read: true, Truncate: true})
	e.is(err, "bob opens what the group may read, to truncate", api.Denied, api.Invalid)
	_, err = e.bob.Put(e.ctx, "f", tree.Put{Data: []byte("x")})
	e.is(err, "bob puts what the group may read", api.Denied)
	size, user, when := int64(0), "bob", time.Unix(1, 0)
	for _, c := range []struct {
		call string
		by   tree.File
		set  tree.SetAttr
	}{
		{"bob sets the mode of alice's file", bobs, perm(0o666)},
		{"bob sets its size", bobs, tree.SetAttr{Size: &size}},
		{"bob sets its time", bobs, tree.SetAttr{Modified: &when}},
		{"bob sets its owner", bobs, tree.SetAttr{Owner: &user}},
		{"alice gives her file away", f, tree.SetAttr{Owner: &user}},
	} {
		_, err := c.by.SetAttr(e.ctx, c.set)
		e.is(err, c.call, api.Denied)
	}
	_, err = f.SetAttr(e.ctx, perm(0o660))
	e.ok(err, "alice sets the mode")
	_, err = e.bob.Put(e.ctx, "f", tree.Put{Data: []byte("bob's")})
	e.ok(err, "bob puts what the group may write")
	_, err = f.SetAttr(e.ctx, perm(0o066))
	e.ok(err, "alice takes her own rights")
	_, err = f.Open(e.ctx, tree.OpenMode{Read: true})
	e.is(err, "alice opens what only the group may read", api.Denied)
	_, err = f.SetAttr(e.ctx, perm(0))
	e.ok(err, "alice sets the mode of what she cannot read")
	_, err = e.walk(e.root, "f").Open(e.ctx, rw)
	e.ok(err, "an operator opens what nobody may")
	a, err := e.walk(e.root, "f").SetAttr(e.ctx, tree.SetAttr{Owner: &user})
	e.ok(err, "an operator gives a file to bob")
	if a.Owner != "bob" {
		e.Errorf("the owner is %q, want bob", a.Owner)
	}
	_, err = bobs.SetAttr(e.ctx, perm(0o107777))
	e.ok(err, "bob sets more than permission bits")
	if a := e.attr(bobs); a.Mode != tree.ModeFile|0o777 {
		e.Errorf("the mode is %o, want %o: the type stays, set-uid and its like are dropped", a.Mode, tree.ModeFile|0o777)
	}
}

// A right that was there at Open stays with the handle; directories guard their
// entries.
func testOwnersOfEntries(e *env) {
	d := e.create(e.alice, "d", tree.ModeDir|0o750)
	f := e.create(d, "f", tree.ModeFile|0o666)
	e.put(d, "f", "text")
	bobs := e.walk(e.bob, "d")
	h := e.open(e.walk(bobs, "f"), rw)
	_, err := bobs.Create(e.ctx, "x", tree.NewFile{Mode: tree.ModeFile | 0o644})
	e.is(err, "bob creates where the group cannot write", api.Denied)
	_, err = bobs.Put(e.ctx, "x", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true})
	e.is(err, "bob puts where the group cannot write", api.Denied)
	e.is(bobs.Remove(e.ctx, "f", false), "bob removes where the group cannot write", api.Denied)
	if e.cfg.Rename {
		e.is(bobs.Rename(e.ctx, "f", e.bob, "f"), "bob takes an entry away", api.Denied)
		e.put(e.bob, "b", "bob's")
		e.is(e.bob.Rename(e.ctx, "b", bobs, "f"), "bob puts an entry over another", api.Denied)
	}
	no, list := uint32(0o700), uint32(0o740)
	_, err = f.SetAttr(e.ctx, tree.SetAttr{Perm: &no})
	e.ok(err, "alice closes the file")
	e.write(h, 0, "T")
	e.has(f, "Text")
	_, err = d.SetAttr(e.ctx, tree.SetAttr{Perm: &list})
	e.ok(err, "alice closes the directory for walking")
	_, err = bobs.Walk(e.ctx, "f")
	e.is(err, "bob walks where the group may only list", api.Denied)
	if got := e.list(bobs, 10); len(got) != 1 {
		e.Errorf("bob lists %q, want f", got)
	}
	e.lists(bobs, 10, false)
	_, err = d.SetAttr(e.ctx, tree.SetAttr{Perm: &no})
	e.ok(err, "alice closes the directory")
	_, err = bobs.ReadDir(e.ctx, "", 10)
	e.is(err, "bob lists what is closed", api.Denied)
	_, err = e.fs.Attach(e.ctx, e.cfg.caller("bob"), "/t/d/f", nil)
	e.is(err, "bob attaches below what is closed", api.Denied)
	if e.cfg.Watch {
		err = bobs.Watch(e.ctx, 0, func(uint64, []tree.Event) error { return errStop })
		e.is(err, "bob watches what is closed", api.Denied)
	}
}
