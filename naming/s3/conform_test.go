package s3_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"sigmaos/api"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
	"sigmaos/naming/tree"
)

// onEach runs a test against each server that there is: the one that a cluster
// brings, another of the protocol, and that which SIGMA_S3_ENDPOINT names with
// SIGMA_S3_ACCESS_KEY, SIGMA_S3_SECRET and SIGMA_S3_REGION. At the latter it makes
// buckets that begin with sigma-conform-, and removes them.
func onEach(t *testing.T, test func(*testing.T, s3.Store)) {
	t.Run("versitygw", func(t *testing.T) {
		_, st := s3test.Start(t)
		test(t, st)
	})
	t.Run("gofakes3", func(t *testing.T) { test(t, fake(t)) })
	if st, ok := given(t); ok {
		t.Run("given", func(t *testing.T) { test(t, st) })
	}
}

// given is the store that the environment names.
func given(t *testing.T) (s3.Store, bool) {
	end := os.Getenv("SIGMA_S3_ENDPOINT")
	st := s3.Store{
		Endpoint: end, Region: os.Getenv("SIGMA_S3_REGION"), AccessKey: os.Getenv("SIGMA_S3_ACCESS_KEY"), Secret: os.Getenv("SIGMA_S3_SECRET"),
		Prefix: fmt.Sprintf("sigma-conform-%d-", os.Getpid()),
	}
	if end == "" {
		return st, false
	}
	if err := st.Check(); err != nil {
		t.Fatalf("SIGMA_S3_ENDPOINT and the others: %v", err)
	}
	return st, true
}

// TestConformance is what any store that a realm may have must be to its procs.
func TestConformance(t *testing.T) {
	onEach(t, func(t *testing.T, st s3.Store) {
		for _, c := range []struct {
			name string
			test func(*testing.T, tree.File)
		}{
			{"list", conformLists},
			{"ranges", conformRanges},
			{"multipart", conformMultipart},
			{"replaced", conformReplaced},
			{"writers of one key", conformOneKey},
			{"writers that want to be first", conformFirst},
			{"ten thousand keys", conformKeys},
		} {
			t.Run(c.name, func(t *testing.T) {
				s := serve(t, st, s3.Config{Streams: 2, Part: 5 << 20})
				dir := bucket(t, s)
				if st.Prefix != "" {
					t.Cleanup(func() { empty(t, s, nameOf(t, dir)) })
				}
				c.test(t, dir)
			})
		}
	})
}

// empty removes a bucket with all in it.
func empty(t *testing.T, s *s3.Server, name string) {
	ctx := context.Background()
	root, err := s.FS().Attach(ctx, caller, "", nil)
	if err != nil {
		t.Error(err)
		return
	}
	var drop func(dir tree.File)
	drop = func(dir tree.File) {
		for {
			page, err := dir.ReadDir(ctx, "", 0)
			if err != nil || len(page) == 0 {
				return
			}
			for _, d := range page {
				isDir := d.Mode&tree.ModeType == tree.ModeDir
				if sub, err := dir.Walk(ctx, d.Name); isDir && err == nil {
					drop(sub)
				}
				dir.Remove(ctx, d.Name, isDir)
			}
		}
	}
	if b, err := root.Walk(ctx, name); err == nil {
		drop(b)
	}
	if err := root.Remove(ctx, name, true); err != nil {
		t.Errorf("removing bucket %s: %v", name, err)
	}
}

func create(t testing.TB, dir tree.File, name string, exclusive bool) tree.Handle {
	t.Helper()
	_, h, err := dir.(tree.CreateOpener).CreateOpen(t.Context(), name, tree.NewFile{Mode: tree.ModeFile, Exclusive: exclusive}, tree.OpenMode{Write: true, Truncate: true})
	if err != nil {
		t.Fatalf("create %s: %v", name, err)
	}
	return h
}

// readAll reads a file by its name as a stream.
func readAll(ctx context.Context, dir tree.File, name string) ([]byte, error) {
	f, err := dir.Walk(ctx, name)
	if err != nil {
		return nil, err
	}
	h, err := f.Open(ctx, tree.OpenMode{Read: true})
	if err != nil {
		return nil, err
	}
	defer h.Close()
	var out []byte
	buf := make([]byte, 300_000)
	for {
		n, err := h.ReadAt(ctx, buf, int64(len(out)))
		out = append(out, buf[:n]...)
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return out, err
		}
	}
}

// conformLists: objects and directories come in one byte order whatever the size
// of a page, though a store has "a/" behind "a-b".
func conformLists(t *testing.T, dir tree.File) {
	want := []string{"a", "a b+c&d=é", "a!", "a-b", "a.b", "aa", "b", "z"}
	for _, name := range want {
		if name != "a" && name != "aa" && name != "b" {
			put(t, dir, name, name)
			continue
		}
		d, err := dir.Create(t.Context(), name, tree.NewFile{Mode: tree.ModeDir | 0o775})
		if err != nil {
			t.Fatal(err)
		}
		if name != "b" { // which stays empty
			put(t, d, "in", "x")
		}
	}
	slices.Sort(want)
	for max := 1; max <= len(want)+1; max++ {
		if got := list(t, dir, max); !slices.Equal(got, want) {
			t.Errorf("in pages of %d: %q, want %q", max, got, want)
		}
	}
	_, attrs, err := dir.(tree.Lister).List(t.Context(), "", 0)
	if err != nil || len(attrs) != len(want) {
		t.Fatalf("List with attributes: %d, %v", len(attrs), err)
	}
	for i, a := range attrs {
		isDir := want[i] == "a" || want[i] == "aa" || want[i] == "b"
		if a.IsDir() != isDir || !isDir && a.Size != int64(len(want[i])) || a.ID == 0 {
			t.Errorf("%q is listed with %+v", want[i], a)
		}
	}
}

// conformRanges: readers of every pattern get the same bytes.
func conformRanges(t *testing.T, dir tree.File) {
	data := make([]byte, 3<<20+17)
	for i := range data {
		data[i] = byte(i * 7 >> 3)
	}
	put(t, dir, "f", string(data))
	f, err := dir.Walk(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	open := func() tree.Handle {
		h, err := f.Open(t.Context(), tree.OpenMode{Read: true})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Close() })
		return h
	}
	check := func(h tree.Handle, off int64, size int) {
		t.Helper()
		buf := make([]byte, size)
		n, err := h.ReadAt(t.Context(), buf, off)
		want := data[min(off, int64(len(data))):min(off+int64(size), int64(len(data)))]
		if !bytes.Equal(buf[:n], want) || err != nil && err != io.EOF || (n < size) != (err == io.EOF) {
			t.Errorf("ReadAt(%d bytes, %d) = %d, %v; want %d bytes of the object", size, off, n, err, len(want))
		}
	}
	h := open()
	for off := int64(0); off < int64(len(data))+1; off += 100_000 { // in order
		check(h, off, 100_000)
	}
	for off := int64(len(data)) - 5; off > 0; off -= 400_000 { // backwards
		check(h, off, 70_000)
	}
	check(h, 5, 10)
	check(h, 15, 10) // where the last one ended: a stream again
	check(h, 2<<20, 1000)
	check(h, 25, 10)
	h = open()
	var wg sync.WaitGroup
	for i := range 8 { // pieces of one large read, at once
		wg.Go(func() { check(h, int64(i)*300_000, 300_000) })
	}
	wg.Wait()
	for range 4 { // more streams than there may be
		check(open(), 0, 1000)
	}
}

// conformMultipart: what is written as a stream is seen when it is closed, whole,
// whatever its size is to that of a part.
func conformMultipart(t *testing.T, dir tree.File) {
	const part = 5 << 20
	for _, size := range []int{part - 1, part, part + 1, 2*part + 12345} {
		name := fmt.Sprint("f", size)
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 31 >> 7)
		}
		h := create(t, dir, name, false)
		for off := 0; off < size; off += 700_001 {
			if _, err := h.WriteAt(t.Context(), data[off:min(size, off+700_001)], int64(off)); err != nil {
				t.Fatalf("%d bytes: WriteAt %d: %v", size, off, err)
			}
		}
		_, err := dir.Walk(t.Context(), name)
		kindIs(t, "Walk to what is being written", err, api.NotFound)
		if err := h.Close(); err != nil {
			t.Fatalf("%d bytes: Close: %v", size, err)
		}
		if got, err := readAll(t.Context(), dir, name); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes: %d came back, %v; are they the same: %v", size, len(got), err, bytes.Equal(got, data))
		}
	}
	h := create(t, dir, "given up", false)
	if _, err := h.WriteAt(t.Context(), make([]byte, part+1), 0); err != nil {
		t.Fatal(err)
	}
	h.(tree.Aborter).Abort()
	_, err := dir.Walk(t.Context(), "given up")
	kindIs(t, "Walk to what was given up", err, api.NotFound)
}

// conformReplaced: an object that is replaced while it is read is never a mixture.
func conformReplaced(t *testing.T, dir tree.File) {
	put(t, dir, "f", strings.Repeat("a", 3<<20))
	f, err := dir.Walk(t.Context(), "f")
	if err != nil {
		t.Fatal(err)
	}
	h, err := f.Open(t.Context(), tree.OpenMode{Read: true})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	buf := make([]byte, 1000)
	if _, err := h.ReadAt(t.Context(), buf, 1<<20); err != nil {
		t.Fatal(err)
	}
	put(t, dir, "f", strings.Repeat("b", 3<<20))
	_, err = h.ReadAt(t.Context(), buf, 2<<20)
	kindIs(t, "ReadAt of an object that was replaced", err, api.Conflict)
}

// conformOneKey: of several who write one key, in one request and in parts, readers
// see at any time what one of them wrote, whole.
func conformOneKey(t *testing.T, dir tree.File) {
	const writers, rounds = 4, 5
	const part = 5 << 20
	value := func(w int) []byte { // of another length each
		n := 100_000 + w
		if w == 0 {
			n = part + 1
		}
		return bytes.Repeat([]byte{byte('a' + w)}, n)
	}
	write := func(w int) error {
		if w > 0 {
			_, err := dir.Put(t.Context(), "f", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: value(w)})
			return err
		}
		h := create(t, dir, "f", false)
		if _, err := h.WriteAt(t.Context(), value(w), 0); err != nil {
			return err
		}
		return h.Close()
	}
	if err := write(1); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	var wg, readers sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for range rounds {
				if err := write(w); err != nil {
					t.Errorf("writer %d: %v", w, err)
					return
				}
			}
		})
	}
	readers.Go(func() {
		for seen := 0; ; {
			select {
			case <-done:
				if seen == 0 {
					t.Error("nothing was read meanwhile")
				}
				return
			default:
			}
			got, err := readAll(t.Context(), dir, "f")
			if api.KindOf(err) == api.Conflict { // it was replaced while it was read, and that is said
				continue
			}
			if err != nil || len(got) == 0 || !bytes.Equal(got, value(int(got[0]-'a'))) {
				t.Errorf("a reader has %d bytes, %.10q to %.10q, %v; want those of one writer", len(got), got, got[max(0, len(got)-10):], err)
				return
			}
			seen++
		}
	})
	wg.Wait()
	close(done)
	readers.Wait()
}

// conformFirst: of many who want to make one file, one does.
func conformFirst(t *testing.T, dir tree.File) {
	const writers = 8
	for _, how := range []string{"put", "stream"} {
		var mu sync.Mutex
		won := 0
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				var err error
				if how == "put" {
					_, err = dir.Put(t.Context(), how, tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile, Exclusive: true}, Create: true, Data: fmt.Append(nil, w)})
				} else {
					var h tree.Handle
					_, h, err = dir.(tree.CreateOpener).CreateOpen(t.Context(), how, tree.NewFile{Mode: tree.ModeFile, Exclusive: true}, tree.OpenMode{Write: true})
					if err == nil {
						_, err = h.WriteAt(t.Context(), fmt.Append(nil, w), 0)
						err = errors.Join(err, h.Close())
					}
				}
				mu.Lock()
				defer mu.Unlock()
				switch api.KindOf(err) {
				case "":
					won++
				case api.Exists:
				default:
					t.Errorf("%s, writer %d: %v, want Exists", how, w, err)
				}
			})
		}
		wg.Wait()
		if won != 1 {
			t.Errorf("%s: %d writers made the file, want 1", how, won)
		}
	}
}

// conformKeys: 10,000 keys (in short tests 1,100: more than a page), listed in pages of
// any size, each once; made by 16 at once.
func conformKeys(t *testing.T, dir tree.File) {
	n := 1100
	if os.Getenv("SIGMA_LONG") != "" {
		n = 10_000
	}
	const writers = 16
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			for i := w; i < n; i += writers {
				_, err := dir.Put(t.Context(), fmt.Sprintf("k%05d", i), tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: []byte(fmt.Sprint(i))})
				if err != nil {
					t.Errorf("Put of key %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	for _, max := range []int{700, 1000, tree.MaxPage} {
		got := list(t, dir, max)
		for i, name := range got {
			if want := fmt.Sprintf("k%05d", i); name != want {
				t.Fatalf("in pages of %d: entry %d is %s, want %s", max, i, name, want)
			}
		}
		if len(got) != n {
			t.Errorf("in pages of %d: %d names, want %d", max, len(got), n)
		}
	}
	for i := 0; i < n; i += n / 50 {
		if got, err := readAll(t.Context(), dir, fmt.Sprintf("k%05d", i)); err != nil || string(got) != fmt.Sprint(i) {
			t.Errorf("key %d is %q, %v", i, got, err)
		}
	}
}
