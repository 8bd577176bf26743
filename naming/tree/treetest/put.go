package treetest

import (
	"math/rand/v2"
	"strings"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testPut(e *env) {
	file := tree.NewFile{Mode: tree.ModeFile | 0o640}
	_, err := e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Data: []byte("x")})
	e.is(err, "Put without Create", api.NotFound)
	a, err := e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Create: true, Data: []byte("one")})
	e.ok(err, "Put with Create")
	if a.Size != 3 || a.Mode&tree.ModeType != tree.ModeFile {
		e.Errorf("Put returns %+v", a)
	}
	if e.cfg.Owners && (a.Mode != tree.ModeFile|0o640 || a.Owner != "alice") {
		e.Errorf("Put makes mode %o of %q, want %o of alice", a.Mode, a.Owner, tree.ModeFile|0o640)
	}
	b, err := e.alice.Put(e.ctx, "f", tree.Put{Data: []byte("t")})
	e.ok(err, "Put on what is there")
	if b.ID != a.ID || b.Mode != a.Mode || b.Size != 1 {
		e.Errorf("a second Put turns %+v into %+v", a, b)
	}
	e.has(e.walk(e.alice, "f"), "t")
	ex := file
	ex.Exclusive = true
	_, err = e.alice.Put(e.ctx, "f", tree.Put{NewFile: ex, Create: true, Data: []byte("x")})
	e.is(err, "exclusive Put on what is there", api.Exists)
	_, err = e.alice.Put(e.ctx, "g", tree.Put{NewFile: ex, Create: true, Data: []byte("x")})
	e.ok(err, "exclusive Put")
	if e.cfg.Append {
		_, err = e.alice.Put(e.ctx, "f", tree.Put{Append: true, Data: []byte("wo")})
		e.ok(err, "Put that appends")
		e.has(e.walk(e.alice, "f"), "two")
		_, err = e.alice.Put(e.ctx, "new", tree.Put{NewFile: file, Create: true, Append: true, Data: []byte("a")})
		e.ok(err, "Put that creates and appends")
		e.has(e.walk(e.alice, "new"), "a")
	}
	big := strings.Repeat("b", int(e.cfg.MaxPut))
	e.put(e.alice, "big", big)
	e.has(e.walk(e.alice, "big"), big)
	e.put(e.alice, "empty", "")
	e.has(e.walk(e.alice, "empty"), "")
	for i, m := range []uint32{tree.ModeDir, tree.ModeSymlink, 0o020000} {
		_, err = e.alice.Put(e.ctx, "other", tree.Put{NewFile: tree.NewFile{Mode: m | 0o644}, Create: true})
		e.is(err, []string{"Put of a directory", "Put of a symlink", "Put of a device"}[i], api.Invalid, api.Unsupported, api.IsDir)
	}
}

func testPutIf(e *env) {
	file := tree.NewFile{Mode: tree.ModeFile | 0o644}
	zero, none := uint64(0), uint64(rand.Uint32())|1<<33
	_, err := e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Create: true, If: &none, Data: []byte("x")})
	e.is(err, "Put if a version on nothing", api.Conflict)
	a, err := e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Create: true, If: &zero, Data: []byte("1")})
	e.ok(err, "Put if absent")
	_, err = e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Create: true, If: &zero, Data: []byte("x")})
	e.is(err, "Put if absent on what is there", api.Conflict)
	b, err := e.alice.Put(e.ctx, "f", tree.Put{If: &a.Version, Data: []byte("2")})
	e.ok(err, "Put if the version is right")
	_, err = e.alice.Put(e.ctx, "f", tree.Put{If: &a.Version, Data: []byte("x")})
	e.is(err, "Put if the version is old", api.Conflict)
	e.has(e.walk(e.alice, "f"), "2")
	h := e.open(e.walk(e.alice, "f"), rw)
	e.write(h, 0, "3")
	e.ok(h.Close(), "Close")
	_, err = e.alice.Put(e.ctx, "f", tree.Put{If: &b.Version, Data: []byte("x")})
	e.is(err, "Put if the version is that of before a WriteAt", api.Conflict)
	e.ok(e.alice.Remove(e.ctx, "f", false), "Remove")
	c := e.put(e.alice, "f", "4")
	_, err = e.alice.Put(e.ctx, "f", tree.Put{If: &b.Version, Data: []byte("x")})
	e.is(err, "Put if the version is that of another file of this name", api.Conflict)
	e.ok(e.alice.Remove(e.ctx, "f", false), "Remove")
	_, err = e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Create: true, If: &c.Version, Data: []byte("x")})
	e.is(err, "Put if the version is that of what was removed", api.Conflict)
}

// A write that is sent again, because its answer was lost, is done once.
func testPutNoReplay(e *env) {
	file := tree.NewFile{Mode: tree.ModeFile | 0o644}
	for _, id := range []string{"w1", "w1", "w2", "w1", "w2"} {
		a, err := e.alice.Put(e.ctx, "f", tree.Put{NewFile: file, Create: true, Append: true, Data: []byte(id + " "), NoReplay: id})
		e.ok(err, "Put with id %s", id)
		if a.ID == 0 {
			e.Errorf("Put with id %s returns %+v", id, a)
		}
	}
	e.has(e.walk(e.alice, "f"), "w1 w2 ")
	ex := file
	ex.Exclusive = true
	for range 2 {
		_, err := e.alice.Put(e.ctx, "g", tree.Put{NewFile: ex, Create: true, Data: []byte("once"), NoReplay: "x1"})
		e.ok(err, "exclusive Put, sent twice")
	}
	if e.cfg.Versions {
		v := e.attr(e.walk(e.alice, "g")).Version
		for range 2 {
			_, err := e.alice.Put(e.ctx, "g", tree.Put{If: &v, Data: []byte("twice"), NoReplay: "x2"})
			e.ok(err, "Put if the version is right, sent twice")
		}
	}
}

func testVersions(e *env) {
	last := e.attr(e.alice).Version
	grew := func(f tree.File, what string) {
		e.Helper()
		v := e.attr(f).Version
		if v <= last {
			e.Errorf("after %s the version is %d, before it was %d", what, v, last)
		}
		last = max(last, v)
	}
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	grew(f, "Create the file")
	dir := e.attr(e.alice).Version
	e.put(e.alice, "f", "x")
	grew(f, "Put")
	h := e.open(f, rw)
	e.write(h, 0, "y")
	grew(f, "WriteAt")
	size := int64(0)
	a, err := f.SetAttr(e.ctx, tree.SetAttr{Size: &size})
	e.ok(err, "SetAttr")
	if v := e.attr(f).Version; v != a.Version {
		e.Errorf("SetAttr returns version %d, Attr %d", a.Version, v)
	}
	grew(f, "SetAttr")
	if v := e.attr(e.alice).Version; v != dir {
		e.Errorf("writing to a file took its directory from version %d to %d", dir, v)
	}
	e.create(e.alice, "d", tree.ModeDir|0o755)
	grew(e.alice, "an entry came into the directory")
	e.ok(e.alice.Remove(e.ctx, "d", true), "Remove")
	grew(e.alice, "an entry left the directory")
}
