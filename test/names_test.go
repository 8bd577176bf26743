package test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/outside"
)

func outsideClient(t *testing.T, file string) *sigma.Client {
	t.Helper()
	c, _, err := outside.Connect(context.Background(), file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func minute(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func TestIOFS(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	ctx := minute(t)
	awaitScratch(t, names, 1)
	for _, root := range []string{"/tree", "/ux/~local/tree"} {
		fsys := names.FS(ctx, root)
		if err := names.Mkdir(ctx, root, 0o775); err != nil {
			t.Fatal(err)
		}
		want := []string{"a", "dir/b", "dir/deep/c", "empty"}
		for _, name := range want {
			if i := strings.LastIndexByte(name, '/'); i > 0 {
				if err := fsys.MkdirAll(name[:i], 0o775); err != nil {
					t.Fatal(err)
				}
			}
			if err := fsys.WriteFile(name, []byte(strings.Repeat(name, 100)), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := fsys.WriteFile("empty", nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := fstest.TestFS(fsys, want...); err != nil {
			t.Errorf("%s: %v", root, err)
		}
		if _, err := fsys.Open("none"); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: a file that is not there: %v", root, err)
		}
	}
}

func TestWholeFilesAndConditions(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	ctx := minute(t)
	awaitScratch(t, names, 1)
	for _, path := range []string{"/f", "/ux/~local/f"} {
		i, err := names.PutFile(ctx, path, []byte("1"), sigma.Exclusive())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := names.PutFile(ctx, path, nil, sigma.Exclusive()); api.KindOf(err) != api.Exists {
			t.Errorf("%s: a second exclusive put: %v", path, err)
		}
		if _, err := names.PutFile(ctx, path, []byte("2"), sigma.IfVersion(i.Version+1000)); api.KindOf(err) != api.Conflict {
			t.Errorf("%s: a wrong version: %v", path, err)
		}
		j, err := names.PutFile(ctx, path, []byte("2"), sigma.IfVersion(i.Version))
		if err != nil || j.Version <= i.Version {
			t.Errorf("%s: the right version: %+v, %v", path, j, err)
		}
		if _, err := names.PutFile(ctx, path, []byte("+3"), sigma.Append()); err != nil {
			t.Error(err)
		}
		if b, k, err := names.GetFile(ctx, path); err != nil || string(b) != "2+3" || k.Version <= j.Version {
			t.Errorf("%s: %q of version %d, %v", path, b, k.Version, err)
		}
		// Appends of many at once are whole and none is lost.
		var wg sync.WaitGroup
		for w := range 20 {
			wg.Go(func() {
				if _, err := names.PutFile(ctx, path, []byte(fmt.Sprintf("<%02d>", w)), sigma.Append()); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		b, _, err := names.GetFile(ctx, path)
		for w := range 20 {
			if s := fmt.Sprintf("<%02d>", w); strings.Count(string(b), s) != 1 {
				t.Errorf("%s: %s is there %d times, %v", path, s, strings.Count(string(b), s), err)
			}
		}
	}
}

// Every call on files of the paper's Table 1, in a proc, at the realm's root, in
// scratch and in what another proc serves.
func TestPaperTable1_FilesInAProc(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	awaitScratch(t, c.Names(), 1)
	n.Running(c, &api.ProcDesc{Program: n.program("memfs"), Args: []string{"/mem"}})
	for _, dir := range []string{"/files", "/ux/~local/files", "/mem/files"} {
		if st := n.Run(c, &api.ProcDesc{Program: n.program("testproc"), Args: []string{"files", dir}}); !st.OK() {
			t.Errorf("%s: %v", dir, st)
		}
	}
}

// PROBES N21 and the bad input of the name space: each has a clear answer, and
// nothing leads out of the realm.
func TestPROBES_N21_BadPaths(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	ctx := minute(t)
	awaitScratch(t, names, 1)
	if err := names.Mkdir(ctx, "/d", 0o775); err != nil {
		t.Fatal(err)
	}
	if _, err := names.PutFile(ctx, "/d/f", []byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := names.Symlink(ctx, "/loop2", "/loop1"); err != nil {
		t.Fatal(err)
	}
	if err := names.Symlink(ctx, "loop1", "/loop2"); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		do   func() error
		kind api.Kind
	}{
		"NUL":                      {get(ctx, names, "/d/\x00f"), api.Invalid},
		"64 KB":                    {get(ctx, names, strings.Repeat("/x", 32<<10)), api.TooLarge},
		"10,000 names":             {get(ctx, names, strings.Repeat("/", 10_000)+strings.Repeat("a/", 3000)), api.TooLarge},
		"a name of 256 bytes":      {get(ctx, names, "/"+strings.Repeat("n", 256)), api.TooLarge},
		"invalid UTF-8":            {get(ctx, names, "/\xff\xfe"), api.Invalid},
		"relative":                 {get(ctx, names, "d/f"), api.Invalid},
		"empty":                    {get(ctx, names, ""), api.Invalid},
		"out of the realm":         {get(ctx, names, "/../../../../etc/passwd"), api.NotFound},
		"~local where none is":     {get(ctx, names, "/d/~local/x"), api.NotFound},
		"~LOCAL":                   {get(ctx, names, "/ux/~LOCAL/x"), api.NotFound},
		"~local twice":             {get(ctx, names, "/ux/~local/~local/x"), api.NotFound},
		"~local/..":                {get(ctx, names, "/ux/~local/../../d/none"), api.NotFound},
		"a loop of links":          {get(ctx, names, "/loop1"), api.Loop},
		"through a file":           {get(ctx, names, "/d/f/g"), api.NotDir},
		"a directory as a file":    {get(ctx, names, "/d"), api.IsDir},
		"write to a directory":     {put(ctx, names, "/d", 1), api.IsDir},
		"2 MiB into named":         {put(ctx, names, "/big", 2<<20), api.TooLarge},
		"remove of what has files": {func() error { return names.Remove(ctx, "/d") }, api.NotEmpty},
		"rename into itself":       {func() error { return names.Rename(ctx, "/d", "/d/e") }, api.Invalid},
		"rename to another server": {func() error { return names.Rename(ctx, "/d/f", "/ux/~local/f") }, api.Unsupported},
		"create ~local":            {put(ctx, names, "/d/~local", 1), api.NotFound},
	} {
		if err := tt.do(); api.KindOf(err) != tt.kind {
			t.Errorf("%s: %v (kind %q), want kind %q", name, err, api.KindOf(err), tt.kind)
		}
	}
	if err := put(ctx, names, "/big", 2<<20)(); err == nil || !strings.Contains(err.Error(), "too large for named") || !strings.Contains(err.Error(), "/ux") {
		t.Errorf("2 MiB into named: %v", err)
	}
	if _, _, err := names.GetFile(ctx, "/x/../d//./f"); err != nil {
		t.Errorf("dots and slashes that mean /d/f: %v", err)
	}
}

func get(ctx context.Context, n *sigma.Names, path string) func() error {
	return func() error { _, _, err := n.GetFile(ctx, path); return err }
}

func put(ctx context.Context, n *sigma.Names, path string, size int) func() error {
	return func() error { _, err := n.PutFile(ctx, path, make([]byte, size)); return err }
}

// A realm sees nothing of another, and what is not there looks like what is
// another's.
func TestRealmsHaveNamesOfTheirOwn(t *testing.T) {
	n := StartNode(t)
	ctx := minute(t)
	if _, e, code := n.Ctl("realm", "create", "other"); code != 0 {
		t.Fatal(e)
	}
	a, b := n.Client("default").Names(), n.Client("other").Names()
	awaitScratch(t, a, 1)
	awaitScratch(t, b, 1)
	for _, path := range []string{"/secret", "/ux/~local/secret"} {
		if _, err := a.PutFile(ctx, path, []byte("s")); err != nil {
			t.Fatal(err)
		}
		_, _, err := b.GetFile(ctx, path)
		_, _, none := b.GetFile(ctx, path+"x")
		if api.KindOf(err) != api.NotFound || err.Error() != strings.ReplaceAll(none.Error(), "secretx", "secret") {
			t.Errorf("%s from another realm: %v; what is not there: %v", path, err, none)
		}
	}
}

func TestWatchTellsEverythingOnce(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	writer := n.Client("default").Names()
	ctx := minute(t)
	if err := names.Mkdir(ctx, "/w", 0o775); err != nil {
		t.Fatal(err)
	}
	const count = 300
	seen := make(map[string]int)
	var last uint64
	begun := make(chan uint64, 1)
	done := errors.New("all seen")
	go func() {
		<-begun
		for i := range count {
			if _, err := writer.PutFile(ctx, fmt.Sprintf("/w/%d", i), nil); err != nil {
				t.Error(err)
			}
		}
	}()
	// The first half, then a new watch from where it was.
	for _, until := range []int{count / 2, count} {
		err := names.Watch(ctx, "/w", last, func(at uint64, ev []sigma.Event) error {
			if len(ev) == 0 && last == 0 {
				begun <- at
			}
			for _, e := range ev {
				if e.Version <= last {
					t.Errorf("event of version %d after %d", e.Version, last)
				}
				last = e.Version
				seen[e.Name]++
			}
			last = max(last, at)
			if len(seen) >= until {
				return done
			}
			return nil
		})
		if err != done {
			t.Fatalf("after %d: %v", len(seen), err)
		}
	}
	for name, k := range seen {
		if k != 1 {
			t.Errorf("%s was told %d times", name, k)
		}
	}
}

// Whoever opens a watch while entries come is told each once, be it of the list or
// of the changes behind it.
func TestOpenWatchTellsEveryEntryOnce(t *testing.T) {
	n := StartNode(t)
	names, writer := n.Client("default").Names(), n.Client("default").Names()
	ctx := minute(t)
	if err := names.Mkdir(ctx, "/w", 0o775); err != nil {
		t.Fatal(err)
	}
	const count, watches = 400, 8
	var written atomic.Int32
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := range count {
			if _, err := writer.PutFile(ctx, fmt.Sprintf("/w/%d", i), nil); err != nil {
				t.Error(err)
			}
			written.Add(1)
		}
	})
	done := errors.New("all seen")
	for w := range watches {
		wg.Go(func() {
			for written.Load() < int32(w)*count/watches {
				time.Sleep(time.Millisecond)
			}
			seen := make(map[string]int)
			err := names.OpenWatch(ctx, "/w", func(ev []sigma.Event) error {
				for _, e := range ev {
					if seen[e.Name]++; seen[e.Name] > 1 {
						t.Errorf("watch %d: %s is told a second time: %+v", w, e.Name, e)
					}
				}
				if len(seen) == count {
					return done
				}
				return nil
			})
			if err != done {
				t.Errorf("watch %d, after %d: %v", w, len(seen), err)
			}
		})
	}
	wg.Wait()
}

// A deposed leader's writes are refused, by named and by scratch, however late
// they come.
func TestPaper34_ElectionsAreFenced(t *testing.T) {
	n := StartNode(t)
	a, b := n.Client("default").Names(), n.Client("default").Names()
	ctx := minute(t)
	awaitScratch(t, a, 1)
	first, err := a.Elect(ctx, "/leader", []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	won := make(chan *sigma.Term, 1)
	go func() {
		term, err := b.Elect(ctx, "/leader", []byte("b"))
		if err != nil {
			t.Error(err)
		}
		won <- term
	}()
	paths := []string{"/state", "/ux/~local/state"}
	for _, p := range paths {
		if _, err := first.Names().PutFile(ctx, p, []byte("a")); err != nil {
			t.Errorf("%s by the leader: %v", p, err)
		}
	}
	select {
	case <-won:
		t.Fatal("two lead")
	case <-time.After(200 * time.Millisecond):
	}
	if err := a.Remove(ctx, "/leader"); err != nil { // as if its lease had run out in a pause
		t.Fatal(err)
	}
	second := <-won
	if second == nil {
		t.FailNow()
	}
	if second.Epoch() <= first.Epoch() {
		t.Errorf("epochs %d then %d", first.Epoch(), second.Epoch())
	}
	for _, p := range paths {
		if _, err := first.Names().PutFile(ctx, p, []byte("late")); api.KindOf(err) != api.Conflict {
			t.Errorf("%s by the deposed leader: %v, want kind %q", p, err, api.Conflict)
		}
		if _, err := second.Names().PutFile(ctx, p, []byte("b")); err != nil {
			t.Errorf("%s by the new leader: %v", p, err)
		}
		if c, _, err := b.GetFile(ctx, p); err != nil || string(c) != "b" {
			t.Errorf("%s is %q, %v", p, c, err)
		}
	}
	if err := second.Resign(ctx); err != nil {
		t.Error(err)
	}
	first.Resign(ctx)
	if _, err := a.Stat(ctx, "/leader"); api.KindOf(err) != api.NotFound {
		t.Errorf("after the leader resigned: %v", err)
	}
}

// What a proc published goes with it.
func TestPublishedEndpointGoesWithItsProc(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	names := c.Names()
	ctx := minute(t)
	id := n.Running(c, &api.ProcDesc{Program: n.program("memfs"), Args: []string{"/mem"}})
	if _, err := names.PutFile(ctx, "/mem/f", []byte("in memory")); err != nil {
		t.Fatal(err)
	}
	if b, _, err := names.GetFile(ctx, "/mem/f"); err != nil || string(b) != "in memory" {
		t.Errorf("through the link: %q, %v", b, err)
	}
	if err := c.Kill(ctx, id, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, patience, "the link of an ended proc is gone", func() (bool, string) {
		_, err := names.Lstat(ctx, "/mem")
		return api.KindOf(err) == api.NotFound, fmt.Sprint(err)
	})
}

// RemoveAll ends against somebody who still writes there: what comes meanwhile
// goes too.
func TestRemoveAllWhileOthersWrite(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	ctx := minute(t)
	for round := range 5 {
		dir := fmt.Sprintf("/busy%d", round)
		if err := names.MkdirAll(ctx, dir+"/deep", 0o777); err != nil {
			t.Fatal(err)
		}
		first, done := make(chan struct{}), make(chan struct{})
		go func() { // until there is nothing to write to
			defer close(done)
			for i := 0; ; i++ {
				_, err := names.PutFile(ctx, fmt.Sprintf("%s/f%d", dir, i), nil)
				if i == 0 {
					close(first)
				}
				if err != nil {
					return
				}
				time.Sleep(10 * time.Millisecond)
			}
		}()
		<-first
		if err := names.RemoveAll(ctx, dir); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if _, err := names.Stat(ctx, dir); api.KindOf(err) != api.NotFound {
			t.Errorf("round %d: it is still there: %v", round, err)
		}
		<-done
	}
}
