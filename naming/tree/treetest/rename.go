package treetest

import (
	"context"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testRename(e *env) {
	d := e.create(e.alice, "d", tree.ModeDir|0o755)
	f := e.create(e.alice, "f", tree.ModeFile|0o644)
	e.put(e.alice, "f", "text")
	id := e.attr(f).ID
	e.ok(e.alice.Rename(e.ctx, "f", e.alice, "g"), "Rename within a directory")
	e.ok(e.alice.Rename(e.ctx, "g", d, "h"), "Rename into another directory")
	_, err := e.alice.Walk(e.ctx, "f")
	e.is(err, "Walk to the first name", api.NotFound)
	_, err = e.alice.Walk(e.ctx, "g")
	e.is(err, "Walk to the second name", api.NotFound)
	if got := e.attr(e.walk(d, "h")).ID; got != id {
		e.Errorf("after two renames it is file %d, want %d", got, id)
	}
	e.put(d, "over", "old")
	e.ok(d.Rename(e.ctx, "h", d, "over"), "Rename over a file")
	e.has(e.walk(d, "over"), "text")
	e.ok(d.Rename(e.ctx, "over", d, "over"), "Rename to the same name")
	e.has(e.walk(d, "over"), "text")

	sub := e.create(d, "sub", tree.ModeDir|0o755)
	e.put(sub, "in", "deep")
	e.create(e.alice, "empty", tree.ModeDir|0o755)
	e.ok(d.Rename(e.ctx, "sub", e.alice, "empty"), "Rename of a directory over an empty one")
	e.has(e.walk(e.alice, "empty", "in"), "deep")
	if got := e.list(d, 10); len(got) != 1 || got[0] != "over" {
		e.Errorf("the directory has %q, want over alone", got)
	}
}

// foreign is a File of no tree.
type foreign struct{ tree.File }

func (foreign) Attr(context.Context) (tree.Attr, error) {
	return tree.Attr{ID: 1, Mode: tree.ModeDir | 0o777}, nil
}

func testRenameRefused(e *env) {
	a := e.create(e.alice, "a", tree.ModeDir|0o755)
	b := e.create(a, "b", tree.ModeDir|0o755)
	e.put(e.alice, "f", "f")
	e.put(b, "in", "in")
	e.create(e.alice, "empty", tree.ModeDir|0o755)
	for _, c := range []struct {
		call     string
		from     tree.File
		name     string
		to       tree.File
		new      string
		refusals []api.Kind
	}{
		{"Rename of nothing", e.alice, "none", e.alice, "x", []api.Kind{api.NotFound}},
		{"Rename of a directory into itself", e.alice, "a", a, "x", []api.Kind{api.Invalid}},
		{"Rename of a directory below itself", e.alice, "a", b, "x", []api.Kind{api.Invalid}},
		{"Rename over a directory with entries", e.alice, "empty", a, "b", []api.Kind{api.NotEmpty}},
		{"Rename of a file over a directory", e.alice, "f", e.alice, "empty", []api.Kind{api.IsDir}},
		{"Rename of a directory over a file", e.alice, "empty", e.alice, "f", []api.Kind{api.NotDir}},
		{"Rename into a file", e.alice, "empty", e.walk(e.alice, "f"), "x", []api.Kind{api.NotDir}},
		{"Rename into another tree", e.alice, "f", foreign{}, "x", []api.Kind{api.Unsupported, api.Invalid}},
	} {
		e.is(c.from.Rename(e.ctx, c.name, c.to, c.new), c.call, c.refusals...)
	}
	e.has(e.walk(e.alice, "a", "b", "in"), "in")
	e.has(e.walk(e.alice, "f"), "f")
	if got := e.list(e.alice, 10); len(got) != 3 {
		e.Errorf("after refused renames there are %q, want a, empty, f", got)
	}
}
