package treetest

import (
	"fmt"
	"slices"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func testCreate(e *env) {
	f := e.create(e.alice, "f", tree.ModeFile|0o640)
	a := e.attr(f)
	if a.Mode&tree.ModeType != tree.ModeFile || a.Size != 0 || a.ID == 0 || a.Links == 0 {
		e.Errorf("a new file has %+v", a)
	}
	if e.cfg.Owners && (a.Mode != tree.ModeFile|0o640 || a.Owner != "alice") {
		e.Errorf("a new file has mode %o of %q, want %o of alice", a.Mode, a.Owner, tree.ModeFile|0o640)
	}
	d := e.create(e.alice, "d", tree.ModeDir|0o750)
	if b := e.attr(d); !b.IsDir() || b.ID == a.ID {
		e.Errorf("a new directory has %+v", b)
	}
	for _, mode := range []uint32{tree.ModeFile, tree.ModeDir} {
		for _, name := range []string{"f", "d"} {
			_, err := e.alice.Create(e.ctx, name, tree.NewFile{Mode: mode | 0o644, Exclusive: true})
			e.is(err, "exclusive Create of "+name, api.Exists)
		}
	}
	e.put(e.alice, "f", "kept")
	again, err := e.alice.Create(e.ctx, "f", tree.NewFile{Mode: tree.ModeFile | 0o644})
	e.ok(err, "Create of what is there")
	if got := e.attr(again).ID; got != a.ID {
		e.Errorf("Create of what is there gives file %d, want %d", got, a.ID)
	}
	e.has(again, "kept")
	_, err = e.alice.Create(e.ctx, "d", tree.NewFile{Mode: tree.ModeFile | 0o644})
	e.is(err, "Create of a file where a directory is", api.IsDir, api.Exists)
	_, err = e.alice.Create(e.ctx, "f", tree.NewFile{Mode: tree.ModeDir | 0o755})
	e.is(err, "Create of a directory where a file is", api.NotDir, api.Exists)
}

func testRemove(e *env) {
	e.put(e.alice, "f", "x")
	d := e.create(e.alice, "d", tree.ModeDir|0o755)
	e.put(d, "in", "x")
	e.is(e.alice.Remove(e.ctx, "none", false), "Remove of nothing", api.NotFound)
	e.is(e.alice.Remove(e.ctx, "none", true), "Remove of no directory", api.NotFound)
	e.is(e.alice.Remove(e.ctx, "f", true), "Remove of a file as a directory", api.NotDir)
	e.is(e.alice.Remove(e.ctx, "d", false), "Remove of a directory as a file", api.IsDir)
	e.is(e.alice.Remove(e.ctx, "d", true), "Remove of a directory with a file in it", api.NotEmpty)
	e.ok(d.Remove(e.ctx, "in", false), "Remove in")
	e.ok(e.alice.Remove(e.ctx, "d", true), "Remove d")
	old := e.walk(e.alice, "f")
	id := e.attr(old).ID
	e.ok(e.alice.Remove(e.ctx, "f", false), "Remove f")
	if got := e.list(e.alice, 10); len(got) != 0 {
		e.Errorf("after all was removed there are %q", got)
	}
	_, err := e.alice.Walk(e.ctx, "f")
	e.is(err, "Walk to what was removed", api.NotFound)
	_, err = old.Attr(e.ctx)
	e.is(err, "Attr of what was removed", api.NotFound)
	_, err = old.Open(e.ctx, tree.OpenMode{Read: true})
	e.is(err, "Open of what was removed", api.NotFound)
	_, err = d.Create(e.ctx, "x", tree.NewFile{Mode: tree.ModeFile | 0o644})
	e.is(err, "Create in a directory that was removed", api.NotFound)
	if again := e.put(e.alice, "f", "y"); again.ID == id && !e.cfg.Foreign && !e.cfg.Objects {
		e.Errorf("a new file has the number %d of one that was removed", id)
	}
}

func testReadDir(e *env) {
	if got := e.list(e.alice, 10); len(got) != 0 {
		e.Errorf("an empty directory has %q", got)
	}
	var want []string
	for i := range 300 {
		n := fmt.Sprintf("%x-%03d", i*7%16, i)
		want = append(want, n)
		if i%3 == 0 {
			e.create(e.alice, n, tree.ModeDir|0o755)
		} else {
			e.create(e.alice, n, tree.ModeFile|0o644)
		}
	}
	slices.Sort(want)
	for _, max := range []int{1, 7, 100, 300, 301, tree.MaxPage} {
		if got := e.list(e.alice, max); !slices.Equal(got, want) {
			e.Errorf("in pages of %d: %d names %.200q, want %d in byte order", max, len(got), got, len(want))
		}
	}
	for _, max := range []int{7, 300, tree.MaxPage} {
		e.lists(e.alice, max, true)
	}
	page, err := e.alice.ReadDir(e.ctx, "5", 3) // a name that is not there
	e.ok(err, "ReadDir behind a name that is not there")
	if i, _ := slices.BinarySearch(want, "5"); len(page) != 3 || page[0].Name != want[i] {
		e.Errorf("ReadDir behind 5 gives %v, want to begin with %s", page, want[i])
	}
	for _, d := range page {
		if a := e.attr(e.walk(e.alice, d.Name)); a.ID != d.ID || a.Mode&tree.ModeType != d.Mode&tree.ModeType {
			e.Errorf("ReadDir says %+v, Attr %+v", d, a)
		}
	}
}

// What is there all the time is listed exactly once, whatever comes and goes.
func testReadDirWhileChanging(e *env) {
	for i := range 100 {
		e.create(e.alice, fmt.Sprintf("k%02d", i), tree.ModeFile|0o644)
	}
	seen := make(map[string]int)
	for after, i := "", 0; ; i++ {
		page, err := e.alice.ReadDir(e.ctx, after, 10)
		e.ok(err, "ReadDir(%q, 10)", after)
		for _, d := range page {
			seen[d.Name]++
			after = d.Name
		}
		if len(page) < 10 {
			break
		}
		e.ok(e.alice.Remove(e.ctx, after, false), "Remove(%q)", after) // the place where the next page begins
		e.create(e.alice, fmt.Sprintf("a%02d", i), tree.ModeFile|0o644)
		e.create(e.alice, fmt.Sprintf("z%02d", i), tree.ModeFile|0o644)
	}
	for i := range 100 {
		if n := fmt.Sprintf("k%02d", i); seen[n] != 1 {
			e.Errorf("%s was listed %d times", n, seen[n])
		}
	}
}
