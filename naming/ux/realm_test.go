package ux

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"sync"
	"testing"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/tree"
)

func (s *server) trash() []os.DirEntry {
	s.Helper()
	list, err := os.ReadDir(filepath.Join(s.dir, "trash"))
	if err != nil {
		s.Fatal(err)
	}
	return list
}

// Whoever still uses a realm that is removed gets NotFound from then on.
func TestFAULTS_F34_RemoveRealm(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.mkdir("d")
	root.put("d/f", "x")
	r, w := root.open("d/f", rd), root.open("d/f", rw)
	handed := root.descriptor("d/f")
	defer handed.Close()
	begun, end := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		end <- root.Watch(ctx, 0, func(uint64, []tree.Event) error { begun <- struct{}{}; return nil })
	}()
	<-begun
	other, err := s.FS().Attach(ctx, caller("r2", "alice"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	(&dir{t, other}).put("f", "kept")

	if err := s.RemoveRealm(ctx, "r1"); err != nil {
		t.Fatalf("RemoveRealm: %v", err)
	}
	kind(t, <-end, api.NotFound)
	_, err = r.ReadAt(ctx, make([]byte, 1), 0)
	kind(t, err, api.NotFound)
	_, err = w.WriteAt(ctx, []byte("x"), 0)
	kind(t, err, api.NotFound)
	kind(t, w.Sync(ctx), api.NotFound)
	kind(t, w.Close(), "")
	_, err = root.Walk(ctx, "d")
	kind(t, err, api.NotFound)
	_, err = root.Put(ctx, "f", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true})
	kind(t, err, api.NotFound)
	_, err = root.Create(ctx, "f", tree.NewFile{Mode: tree.ModeFile | 0o600})
	kind(t, err, api.NotFound)
	_, err = s.FS().Attach(ctx, caller("r1", "alice"), "", nil)
	kind(t, err, api.NotFound)
	_, err = s.Usage(ctx, "r1")
	kind(t, err, api.NotFound)
	if _, err := os.Stat(filepath.Join(s.dir, "realms/r1")); !errors.Is(err, os.ErrNotExist) || len(s.trash()) != 0 {
		t.Errorf("on the disk there is %v, and %v in the trash", err, s.trash())
	}
	if b, err := io.ReadAll(handed); err != nil || string(b) != "x" {
		t.Errorf("a descriptor that was handed out reads %q, %v", b, err)
	}
	(&dir{t, other}).has("f", "kept")
	for _, id := range []string{"r1", "never-was"} {
		if err := s.RemoveRealm(ctx, id); err != nil {
			t.Errorf("RemoveRealm(%s) of what is not there: %v", id, err)
		}
	}
}

// Nothing is left open behind callers that go on working while their realm goes.
func TestRemoveRealmUnderLoad(t *testing.T) {
	s := start(t, Config{})
	s.as("alice").mkdir("d")
	var wg sync.WaitGroup
	for w := range 4 {
		at := s.as("alice").File
		wg.Go(func() {
			for i := 0; ; i++ {
				name := fmt.Sprint(w, "-", i%5)
				a, err := at.Put(ctx, name, tree.Put{NewFile: tree.NewFile{Mode: 0o660}, Create: true, Data: []byte(name)})
				if err == nil {
					var f tree.File
					if f, err = at.Walk(ctx, name); err == nil {
						var h tree.Handle
						if h, err = f.Open(ctx, rw); err == nil {
							_, err = h.WriteAt(ctx, []byte("more"), a.Size)
							h.Close()
						}
					}
				}
				if err != nil {
					kind(t, err, api.NotFound)
					return
				}
			}
		})
	}
	if err := s.RemoveRealm(ctx, "r1"); err != nil {
		t.Errorf("RemoveRealm: %v", err)
	}
	wg.Wait()
	if list := s.trash(); len(list) != 0 {
		t.Errorf("the trash holds %v", list)
	}
}

// A removal that was cut short goes on in the background, and at the next start.
func TestRemoveRealmResumes(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	for i := range 20 {
		d := root.mkdir(fmt.Sprint("d", i))
		for j := range 20 {
			d.put(fmt.Sprint("f", j), "x")
		}
	}
	s.purging <- struct{}{} // somebody else is at the trash
	gone, cancel := context.WithCancel(ctx)
	cancel()
	kind(t, s.RemoveRealm(gone, "r1"), api.Deadline, "goes on")
	<-s.purging
	if err := s.RemoveRealm(ctx, "r1"); err != nil || len(s.trash()) != 0 {
		t.Errorf("a second RemoveRealm: %v, the trash holds %v", err, s.trash())
	}

	s.Close()
	half := filepath.Join(s.dir, "trash", "r9.1", "tree", "d")
	if err := os.MkdirAll(half, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half, "f"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	s = start(t, Config{Dir: s.dir})
	if err := s.purge(ctx, ""); err != nil || len(s.trash()) != 0 { // waits for the one of the start, or does it
		t.Errorf("after a start: %v, the trash holds %v", err, s.trash())
	}
}

func TestCloseEndsEverything(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.put("f", "x")
	h := root.open("f", rw)
	write(t, h, 0, "y")
	version := root.attr("f").Version
	begun, end := make(chan struct{}, 1), make(chan error, 1)
	go func() {
		end <- root.Watch(ctx, 0, func(uint64, []tree.Event) error { begun <- struct{}{}; return nil })
	}()
	<-begun
	if err := s.purge(ctx, ""); err != nil { // so that the one of the start is over, with its descriptors
		t.Fatal(err)
	}
	leaktest.Settle()
	before := descriptors(t)
	s.Close()
	kind(t, <-end, api.Unavailable, "closed")
	_, err := h.ReadAt(ctx, make([]byte, 1), 0)
	kind(t, err, api.Unavailable)
	h.Close()
	_, err = root.Attr(ctx)
	kind(t, err, api.Unavailable)
	_, err = s.FS().Attach(ctx, caller("r1", "alice"), "", nil)
	kind(t, err, api.Unavailable)
	kind(t, s.RemoveRealm(ctx, "r1"), api.Unavailable)
	if after := descriptors(t); before-after != 7 { // lock, realms, trash; home, tree, tmp; f
		t.Errorf("Close took the descriptors from %d to %d, want 7 fewer", before, after)
	}
	// What was open was closed properly: its version is known.
	if a := start(t, Config{Dir: s.dir}).as("alice").attr("f"); a.Version != version {
		t.Errorf("after a restart the version is %d, want %d", a.Version, version)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}

// Nobody owns the root of a realm, not even a user without a name.
func TestRootBelongsToNobody(t *testing.T) {
	s := start(t, Config{})
	for _, user := range []string{"mallory", "root"} {
		_, err := s.as(user).SetAttr(ctx, tree.SetAttr{Perm: ptr(uint32(0o700))})
		kind(t, err, api.Denied)
	}
	at, err := s.FS().Attach(ctx, api.Caller{Realm: "r1"}, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	_, err = at.SetAttr(ctx, tree.SetAttr{Perm: ptr(uint32(0o700))})
	kind(t, err, api.Denied)
	s.as("alice").put("f", "x")
	if _, err := s.as("").SetAttr(ctx, tree.SetAttr{Perm: ptr(uint32(0o750))}); err != nil {
		t.Errorf("an operator: %v", err)
	}
	_, err = s.as("alice").Put(ctx, "g", tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true})
	kind(t, err, api.Denied)
}

// A File is the file, not its path: it follows renames of everything above it.
func TestFilesFollowRenames(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.mkdir("a").mkdir("b").put("f", "x")
	b := &dir{t, root.walk("a/b")}
	f := &dir{t, root.walk("a/b/f")}
	h := f.open("", rw)
	root.rename("a", "z")
	root.mkdir("a").mkdir("b").put("f", "another")
	b.put("g", "made after the move")
	root.has("z/b/g", "made after the move")
	f.has("", "x")
	write(t, h, 0, "y")
	root.has("z/b/f", "y")
	root.has("a/b/f", "another")
	if got, want := f.attr("").ID, root.attr("z/b/f").ID; got != want {
		t.Errorf("the file has id %d, at its new path %d", got, want)
	}
}

// A directory that was emptied behind the server's back and then removed does
// not make its files those of the root.
func TestFilesOfARemovedDirectory(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	root.mkdir("d").put("f", "deep")
	root.put("f", "top")
	f := root.walk("d/f")
	if err := os.Remove(s.on("r1", "d/f")); err != nil {
		t.Fatal(err)
	}
	_, err := f.Attr(ctx)
	kind(t, err, api.NotFound)
	root.remove("d", true)
	_, err = f.Attr(ctx)
	kind(t, err, api.NotFound)
	_, err = f.Open(ctx, rw)
	kind(t, err, api.NotFound)
	root.has("f", "top")
}

// Nodes that nobody knows any more are not kept: neither they nor their names.
func TestForgottenNodes(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	const n = 2000
	for i := range n {
		root.put(fmt.Sprint("f", i), "")
		if i%500 == 0 {
			runtime.GC()
		}
	}
	runtime.GC()
	r, err := s.realm(ctx, "r1", false)
	if err != nil {
		t.Fatal(err)
	}
	root.put("last", "")
	r.tab.Lock()
	known := len(r.root.children)
	r.tab.Unlock()
	if known > n*3/4 {
		t.Errorf("%d of %d names are remembered", known, n)
	}
	root.has("f7", "")
}

// Somebody restored a backup by hand: the files are the realm's.
func TestStrayFiles(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	if err := os.MkdirAll(s.on("r1", "restored/d"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(s.on("r1", "restored/d/f"), []byte("text"), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := root.walk("restored").ReadDir(ctx, "", 10)
	if err != nil || len(list) != 1 || list[0].ID != root.attr("restored/d").ID || list[0].Mode != tree.ModeDir|0o770 {
		t.Errorf("ReadDir: %+v, %v", list, err)
	}
	root.has("restored/d/f", "text")
	root.put("restored/d/f", "changed")
	id := root.attr("restored/d/f").ID
	s = s.again()
	if a := s.as("bob").attr("restored/d/f"); a.ID != id {
		t.Errorf("after a restart the file has id %d, want %d", a.ID, id)
	}
	s.counted()
	s.as("bob").remove("restored/d/f", false)
}

// Listing a large directory reads it from the disk once, not once a page.
func TestLargeDirectory(t *testing.T) {
	s := start(t, Config{})
	root := s.as("alice")
	for i := range 1000 {
		root.create(fmt.Sprintf("f%04d", i), tree.NewFile{Mode: tree.ModeFile | 0o600})
	}
	r, _ := s.realm(ctx, "r1", false)
	after, seen := "", 0
	for {
		page, err := root.ReadDir(ctx, after, 100)
		if err != nil {
			t.Fatal(err)
		}
		if seen += len(page); len(page) < 100 {
			break
		}
		after = page[len(page)-1].Name
		if len(r.lists.lists) != 1 || r.lists.bytes != 1000*(16+5) {
			if seen < 1000 {
				t.Fatalf("after %d entries %d listings of %d bytes are kept", seen, len(r.lists.lists), r.lists.bytes)
			}
		}
	}
	if seen != 1000 || len(r.lists.lists) != 0 || r.lists.bytes != 0 {
		t.Errorf("%d entries are listed, and %d listings of %d bytes are kept", seen, len(r.lists.lists), r.lists.bytes)
	}
}
