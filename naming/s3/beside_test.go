package s3_test

import (
	"bytes"
	"context"
	"fmt"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/naming/s3"
	"sigmaos/naming/s3/s3test"
	"sigmaos/naming/tree"
)

// count is what is kept beside objects that begin with "KEEP".
type count struct{ n int }

func (c *count) Write(p []byte) (int, error) { c.n += len(p); return len(p), nil }

func (c *count) Sum(version uint64) []byte { return fmt.Appendf(nil, "%d %d", version, c.n) }

// What is kept beside an object is about the version that is there, however it was
// written; it is not listed, goes with its object, and keeps no bucket.
func TestBeside(t *testing.T) {
	_, st := s3test.Start(t)
	s := serve(t, st, s3.Config{Part: 5 << 20, Beside: func(first []byte) s3.Beside {
		if string(first[:4]) != "KEEP" {
			return nil
		}
		return new(count)
	}})
	ctx, b := context.Background(), bucket(t, s)
	beside := func(key string) (string, error) {
		d, err := b.Walk(ctx, s3.Besides)
		if err != nil {
			return "", err
		}
		f, err := d.Walk(ctx, s3.BesideName(key))
		if err != nil {
			return "", err
		}
		_, data, err := f.(tree.Getter).Get(ctx, 1<<20)
		return string(data), err
	}
	check := func(how string, size int) {
		t.Helper()
		f, err := b.Walk(ctx, "prog")
		if err != nil {
			t.Fatal(err)
		}
		a, err := f.Attr(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := beside("prog"); err != nil || got != fmt.Sprintf("%d %d", a.Version, size) {
			t.Errorf("beside an object of %d bytes, %s: %q, %v; its version is %d", size, how, got, err, a.Version)
		}
	}
	put := func(data []byte) {
		t.Helper()
		if _, err := b.Put(ctx, "prog", tree.Put{NewFile: tree.NewFile{Mode: 0o664}, Create: true, Data: data}); err != nil {
			t.Fatal(err)
		}
	}
	write := func(n int) {
		t.Helper()
		_, h, err := b.(tree.CreateOpener).CreateOpen(ctx, "prog", tree.NewFile{Mode: tree.ModeFile | 0o664}, tree.OpenMode{Write: true, Truncate: true})
		if err != nil {
			t.Fatal(err)
		}
		data := append([]byte("KEEP"), make([]byte, n-4)...)
		for off := 0; off < n; off += 1 << 20 {
			if _, err := h.WriteAt(ctx, data[off:min(n, off+1<<20)], int64(off)); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	put([]byte("KEEP this"))
	check("put", 9)
	write(100_000)
	check("written", 100_000)
	write(12 << 20)
	check("written in parts", 12<<20)
	list, err := b.ReadDir(ctx, "", 0)
	if err != nil || len(list) != 1 || list[0].Name != "prog" {
		t.Errorf("the bucket shows %v, %v; want the object alone", list, err)
	}
	put([]byte("no more"))
	if got, _ := beside("prog"); bytes.HasSuffix([]byte(got), []byte(" 7")) {
		t.Errorf("beside an object of which nothing is kept: %q", got)
	}
	put([]byte("KEEP"))
	root, err := s.FS().Attach(ctx, caller, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	name := fmt.Sprintf("bucket-%d", buckets.Load())
	if err := root.Remove(ctx, name, true); api.KindOf(err) != api.NotEmpty {
		t.Errorf("removing a bucket that has an object: %v, want NotEmpty", err)
	}
	if _, err := beside("prog"); err != nil {
		t.Errorf("a bucket that was not removed has lost what it keeps: %v", err)
	}
	if err := b.Remove(ctx, "prog", false); err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		if _, err := beside("prog"); api.KindOf(err) == api.NotFound {
			break
		}
		if time.Now().After(end) {
			t.Fatal("what was kept beside a removed object stays")
		}
	}
	put([]byte("KEEP"))
	write(10)
	if err := b.Remove(ctx, "prog", false); err != nil {
		t.Fatal(err)
	}
	if err := root.Remove(ctx, name, true); err != nil {
		t.Errorf("removing a bucket without objects: %v", err)
	}
}
