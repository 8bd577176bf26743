package memfs

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var alice = api.Caller{Realm: "r1", User: "alice"}

func rootOf(t *testing.T, fs *FS) tree.File {
	t.Helper()
	f, err := fs.Attach(t.Context(), alice, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func newFS(t *testing.T, o Options) *FS {
	fs := New(o)
	t.Cleanup(func() { fs.Close() })
	return fs
}

func put(dir tree.File, name string, n int) error {
	_, err := dir.Put(context.Background(), name, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o600}, Create: true, Data: make([]byte, n)})
	return err
}

func kindIs(t *testing.T, call string, err error, want api.Kind) {
	t.Helper()
	if got := api.KindOf(err); got != want {
		t.Errorf("%s: kind %q (%v), want %q", call, got, err, want)
	}
}

func TestFullTree(t *testing.T) {
	fs := newFS(t, Options{MaxBytes: 1000, MaxFile: 600, MaxFiles: 4})
	root := rootOf(t, fs)
	kindIs(t, "Put of 601 bytes", put(root, "a", 601), api.TooLarge)
	kindIs(t, "Put of 600", put(root, "a", 600), "")
	kindIs(t, "Put of 401 more", put(root, "b", 401), api.Busy)
	kindIs(t, "Put of 400 more", put(root, "b", 400), "")
	f, _ := root.Walk(t.Context(), "b")
	h, err := f.Open(t.Context(), tree.OpenMode{Read: true, Write: true})
	kindIs(t, "Open", err, "")
	_, err = h.WriteAt(t.Context(), []byte("x"), 400)
	kindIs(t, "WriteAt that grows a full tree", err, api.Busy)
	_, err = h.WriteAt(t.Context(), []byte("x"), 399)
	kindIs(t, "WriteAt that does not grow it", err, "")
	kindIs(t, "a shorter Put", put(root, "a", 10), "")
	kindIs(t, "Put into the room that came free", put(root, "c", 590), "")
	kindIs(t, "a fifth file", put(root, "d", 0), api.Busy)

	// What is open keeps its place until it is closed.
	kindIs(t, "Remove", root.Remove(t.Context(), "b", false), "")
	kindIs(t, "a file in the place of an open one", put(root, "d", 0), api.Busy)
	kindIs(t, "Close", h.Close(), "")
	kindIs(t, "a file in its place", put(root, "d", 400), "")
	if fs.bytes != 1000 || fs.files != 4 {
		t.Errorf("the tree counts %d bytes in %d files, want 1000 in 4", fs.bytes, fs.files)
	}
	for _, n := range []string{"a", "c", "d"} {
		kindIs(t, "Remove", root.Remove(t.Context(), n, false), "")
	}
	if fs.bytes != 0 || fs.files != 1 {
		t.Errorf("an empty tree counts %d bytes in %d files", fs.bytes, fs.files)
	}
}

// A lease that is not renewed ends, and only then; a timer that was overtaken by
// a renewal does nothing.
func TestLeaseRunsOut(t *testing.T) {
	var mu sync.Mutex
	var timers []func()
	o := Options{After: func(d time.Duration, f func()) func() bool {
		mu.Lock()
		defer mu.Unlock()
		if d != 5*time.Second {
			t.Errorf("a timer of %v", d)
		}
		timers = append(timers, f)
		return func() bool { return false } // it is too late to stop it
	}}
	fs := newFS(t, o)
	root := rootOf(t, fs)
	lease, err := fs.Grant(t.Context(), alice, 5*time.Second)
	kindIs(t, "Grant", err, "")
	_, err = root.Create(t.Context(), "f", tree.NewFile{Mode: tree.ModeFile | 0o600, Lease: lease})
	kindIs(t, "Create", err, "")
	kindIs(t, "Renew", fs.Renew(t.Context(), alice, lease), "")
	timers[0]()
	if _, err := root.Walk(t.Context(), "f"); err != nil {
		t.Errorf("after the timer of before the renewal: %v", err)
	}
	timers[1]()
	_, err = root.Walk(t.Context(), "f")
	kindIs(t, "Walk after the lease ran out", err, api.NotFound)
	kindIs(t, "Renew of it", fs.Renew(t.Context(), alice, lease), api.NotFound)
	other := alice
	other.Proc = "other-proc"
	lease, _ = fs.Grant(t.Context(), alice, 5*time.Second)
	kindIs(t, "Renew by another proc of the user", fs.Renew(t.Context(), other, lease), api.NotFound)
	_, err = fs.Grant(t.Context(), alice, 48*time.Hour)
	kindIs(t, "Grant for two days", err, api.Invalid)
}

func TestClose(t *testing.T) {
	fs := New(Options{})
	root := rootOf(t, fs)
	ended := make(chan error, 1)
	ready := make(chan struct{})
	go func() {
		ended <- root.Watch(t.Context(), 0, func(uint64, []tree.Event) error { close(ready); return nil })
	}()
	<-ready
	if _, err := fs.Grant(t.Context(), alice, time.Hour); err != nil {
		t.Fatal(err)
	}
	fs.Close()
	fs.Close()
	kindIs(t, "a watch of a closed tree", <-ended, api.Unavailable)
	_, err := root.Attr(t.Context())
	kindIs(t, "Attr", err, api.Unavailable)
	kindIs(t, "Put", put(root, "f", 1), api.Unavailable)
	_, err = fs.Grant(t.Context(), alice, time.Hour)
	kindIs(t, "Grant", err, api.Unavailable)
}

// A tree that begins anew has later versions than any before: a watch that goes
// on is told that it missed something.
func TestWatchAcrossRestart(t *testing.T) {
	now := time.Unix(1000, 0)
	o := Options{Now: func() time.Time { now = now.Add(time.Second); return now }}
	old := newFS(t, o)
	kindIs(t, "Put", put(rootOf(t, old), "f", 1), "")
	a, _ := rootOf(t, old).Attr(t.Context())
	err := rootOf(t, newFS(t, o)).Watch(t.Context(), a.Version, func(uint64, []tree.Event) error { return io.EOF })
	kindIs(t, "Watch from a version of the tree before", err, api.TooOld)
}

func TestWatchesAreBounded(t *testing.T) {
	fs := newFS(t, Options{Watches: 1, Leases: 1})
	root := rootOf(t, fs)
	err := root.Watch(t.Context(), 0, func(uint64, []tree.Event) error {
		kindIs(t, "a second watch", root.Watch(t.Context(), 0, func(uint64, []tree.Event) error { return nil }), api.Busy)
		return io.EOF
	})
	if err != io.EOF {
		t.Errorf("Watch: %v", err)
	}
	fs.Grant(t.Context(), alice, time.Hour)
	_, err = fs.Grant(t.Context(), alice, time.Hour)
	kindIs(t, "a second lease", err, api.Busy)
}

// The ordered set against a sorted slice.
func TestNamesAgainstNaive(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	var s names
	var naive []string
	for i := range 60_000 {
		n := fmt.Sprint(rnd.IntN(8000))
		j, found := slices.BinarySearch(naive, n)
		switch {
		case found && (i < 20_000 && rnd.IntN(3) > 0 || i > 45_000):
			s.remove(n)
			naive = slices.Delete(naive, j, j+1)
		case !found && i < 45_000:
			s.insert(n)
			naive = slices.Insert(naive, j, n)
		}
		if i%97 != 0 {
			continue
		}
		after, max := fmt.Sprint(rnd.IntN(8000)), rnd.IntN(1200)
		k, found := slices.BinarySearch(naive, after)
		if found {
			k++
		}
		want := naive[k:min(len(naive), k+max)]
		if got := s.after(after, max); !slices.Equal(got, want) {
			t.Fatalf("step %d: after(%s, %d) is %.100q, want %.100q", i, after, max, got, want)
		}
		for _, p := range s.pieces {
			if len(p) == 0 || len(p) > pieceMax {
				t.Fatalf("step %d: a piece of %d names", i, len(p))
			}
		}
	}
	if got := s.after("", len(naive)+1); !slices.Equal(got, naive) {
		t.Errorf("%d names are left, want %d", len(got), len(naive))
	}
}

// Memory of a file that was cut is given back.
func TestResizeGivesBack(t *testing.T) {
	fs := newFS(t, Options{})
	n := &node{}
	for _, size := range []int64{0, 10, 1 << 20, 1 << 19, 100, 5000, 0} {
		fs.resizeLocked(n, size)
		if int64(len(n.data)) != size || strings.Trim(string(n.data), "\x00") != "" || int64(cap(n.data)) > 4*size+4096 {
			t.Errorf("resized to %d: %d bytes of %d", size, len(n.data), cap(n.data))
		}
		for i := range n.data {
			n.data[i] = 'x'
		}
		fs.resizeLocked(n, size/2)
		fs.resizeLocked(n, size)
		if got := strings.Count(string(n.data), "\x00"); int64(got) != size-size/2 {
			t.Errorf("halved and grown again to %d: %d zeros, want %d", size, got, size-size/2)
		}
		clear(n.data)
	}
}
