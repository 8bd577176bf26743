package ninep

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
)

// entriesOf decodes an Rreaddir.
func entriesOf(t *testing.T, m message) (out []dirent) {
	t.Helper()
	d, ok := m.(*rdata)
	if !ok {
		t.Fatalf("Treaddir is answered %s", text(m))
	}
	c := coder{b: d.Data}
	for len(c.b) > 0 {
		var e dirent
		if e.code(&c); c.bad {
			t.Fatalf("entries %q make no sense", d.Data)
		}
		out = append(out, e)
	}
	return out
}

func makeFiles(t *testing.T, dir tree.File, format string, n int) {
	t.Helper()
	for i := range n {
		_, err := dir.Create(ctxOf(t), fmt.Sprintf(format, i), tree.NewFile{Mode: tree.ModeFile | 0o600, Exclusive: true})
		ok(t, "Create", err)
	}
}

// What is in a directory all the time is listed once to a plain client, whatever
// comes and goes, and wherever it reads on.
func TestListingWhileChanging(t *testing.T) {
	fs := newMem(t, memfs.Options{Mode: 0o777})
	root, err := fs.Attach(ctxOf(t), caller("alice"), "", nil)
	ok(t, "Attach", err)
	makeFiles(t, root, "keep-%03d", 300)
	r := start(t, caller("alice"), fs, Options{}, versionPlain)
	r.ask(1, tLopen, &lopen{0, oReadOnly})
	rnd := rand.New(rand.NewPCG(3, 4))
	seen := make(map[string]int)
	for offset, round := uint64(0), 0; ; round++ {
		list := entriesOf(t, r.ask(1, tReaddir, &readdir{span{0, offset, 200 + rnd.Uint32N(1500)}}))
		if len(list) == 0 {
			break
		}
		// Some clients take a part of an answer and ask for the rest again.
		list = list[:1+rnd.IntN(len(list))]
		for _, e := range list {
			seen[e.Name]++
			offset = e.Offset
		}
		last := list[len(list)-1].Name
		if len(last) > 4 && last[:4] == "keep" {
			ok(t, "Remove", root.Remove(ctxOf(t), last, false))
		}
		makeFiles(t, root, fmt.Sprint("a-", round, "-%d"), 3) // in front of it
		makeFiles(t, root, fmt.Sprint("keep-", last[max(0, len(last)-3):], "-", round, "-%d"), 2)
	}
	for i := range 300 {
		if n := fmt.Sprintf("keep-%03d", i); seen[n] != 1 {
			t.Errorf("%s was listed %d times", n, seen[n])
		}
	}
	for name, n := range seen {
		if n > 1 {
			t.Errorf("%s was listed %d times", name, n)
		}
	}
	if seen["."] != 1 || seen[".."] != 1 {
		t.Errorf("the dots were listed %d and %d times", seen["."], seen[".."])
	}
}

// A client may read on from any cookie that it was given; from those of old
// answers too, if nothing changed.
func TestListingFromAnyCookie(t *testing.T) {
	fs := newMem(t, memfs.Options{Mode: 0o777})
	root, err := fs.Attach(ctxOf(t), caller("alice"), "", nil)
	ok(t, "Attach", err)
	makeFiles(t, root, "f%05d", 6000)
	r := start(t, caller("alice"), fs, Options{}, versionPlain)
	r.ask(1, tLopen, &lopen{0, oReadOnly})
	var all []dirent
	for offset := uint64(0); ; offset = all[len(all)-1].Offset {
		list := entriesOf(t, r.ask(1, tReaddir, &readdir{span{0, offset, 900}}))
		if len(list) == 0 {
			break
		}
		all = append(all, list...)
	}
	if len(all) != 6002 || !slices.IsSortedFunc(all, func(a, b dirent) int { return int(a.Offset) - int(b.Offset) }) {
		t.Fatalf("%d entries were listed, want 6002", len(all))
	}
	for _, i := range []int{5999, 3000, 0, 1, 2, 17, 4500, 6001} {
		list := entriesOf(t, r.ask(1, tReaddir, &readdir{span{0, all[i].Offset, 100}}))
		switch {
		case i+1 == len(all):
			if len(list) != 0 {
				t.Errorf("behind the last entry is %v", list)
			}
		case len(list) == 0 || list[0].Name != all[i+1].Name:
			t.Errorf("behind entry %d, %s, is %v, want %s", i, all[i].Name, list, all[i+1].Name)
		}
	}
}

// What open directories remember is bounded for a connection.
func TestListingsAreBounded(t *testing.T) {
	s := &server{}
	names := make([]string, 10_000)
	for i := range names {
		names[i] = fmt.Sprint(i)
	}
	kept := 0
	for range 200 {
		l := &listing{}
		for at := 0; at < len(names); at += 2500 {
			l.gave(s, uint64(cookieDotDot+at), names[at:at+2500])
		}
		kept += len(l.names) + len(l.ends)
		if after, skip, ok := l.find(cookieDotDot + 10_000); after != "9999" || skip != 0 || !ok {
			t.Fatalf("the end of the last answer is %q+%d, %v", after, skip, ok)
		}
		if _, _, ok := l.find(cookieDotDot + 10_001); ok {
			t.Fatal("a cookie that was not given is found")
		}
	}
	if kept > maxBudget+200 || s.listed > maxBudget {
		t.Errorf("%d names are kept, counted %d; the bound is %d", kept, s.listed, maxBudget)
	}
}

// fstat and ftruncate of a file that was removed, through any fid of it; and a
// file under its old name is not touched by a fid of another.
func TestRemovedWhileOpen(t *testing.T) {
	fs := newMem(t, memfs.Options{Mode: 0o777})
	r := start(t, caller("alice"), fs, Options{}, versionPlain)
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1})
	r.ask(1, tLcreate, &lcreate{Fid: 1, Name: "f", Flags: oReadWrite | oExclusive, Mode: 0o600})
	r.ask(1, tWrite, &write{1, 0, []byte("0123456789")})
	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 2, Names: []string{"f"}}) // not open
	r.ask(1, tUnlinkat, &unlinkat{0, "f", 0})
	for _, fid := range []uint32{1, 2} {
		if m, ok := r.ask(1, tGetattr, &getattr{fid, validBasic}).(*rgetattr); !ok || m.Size != 10 || m.Links != 0 {
			t.Errorf("Tgetattr of fid %d of a removed file: %+v", fid, m)
		}
	}
	if m := r.ask(1, tSetattr, &setattr{Fid: 2, Valid: setSize, Size: 4}); text(m) != "empty{}" {
		t.Errorf("Tsetattr of a removed file: %s", text(m))
	}
	if m := r.ask(1, tRead, &read{span{1, 0, 100}}); text(m) != `rdata{Data:"0123"}` {
		t.Errorf("after it: %s", text(m))
	}
	r.ask(1, tClunk, &clunk{onFid{1}})
	errnoIs(t, "Tgetattr once nobody has it open", r.ask(1, tGetattr, &getattr{2, 0}), 2)

	r.ask(1, tWalk, &walk{Fid: 0, NewFid: 1})
	r.ask(1, tLcreate, &lcreate{Fid: 1, Name: "f", Flags: oReadWrite | oExclusive, Mode: 0o600})
	errnoIs(t, "Tremove of a fid whose name is another file's", r.ask(1, tRemove, &remove{onFid{2}}), 2)
	if m, ok := r.ask(1, tWalk, &walk{Fid: 0, NewFid: 3, Names: []string{"f"}}).(*rwalk); !ok {
		t.Errorf("the other file is gone: %v", m)
	}
}
