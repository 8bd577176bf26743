package ux

import (
	"fmt"
	"io"
	"os"
	"testing"

	"sigmaos/naming/tree"
)

const (
	benchFile  = 256 << 20
	benchChunk = 1 << 20
)

func benchServer(b *testing.B) (*Server, tree.File) {
	b.Helper()
	s, err := Open(Config{Dir: b.TempDir(), KeepFree: -1})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { s.Close() })
	root, err := s.FS().Attach(ctx, caller("r1", "alice"), "", nil)
	if err != nil {
		b.Fatal(err)
	}
	return s, root
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// BenchmarkRead reads 256 MiB from the page cache: through ReadAt, through the
// descriptor that a proc is handed, and from the file itself.
func BenchmarkRead(b *testing.B) {
	s, root := benchServer(b)
	f := must(root.Create(ctx, "f", tree.NewFile{Mode: tree.ModeFile | 0o600}))
	h := must(f.Open(ctx, rw))
	buf := make([]byte, benchChunk)
	for off := int64(0); off < benchFile; off += benchChunk {
		must(h.WriteAt(ctx, buf, off))
	}
	h.Close()
	h = must(f.Open(ctx, rd))
	defer h.Close()
	given := must(h.(tree.Descriptor).Descriptor())
	defer given.Close()
	direct := must(os.Open(s.cfg.Dir + "/realms/r1/tree/f"))
	defer direct.Close()
	for _, c := range []struct {
		name string
		read func(p []byte, off int64) (int, error)
	}{
		{"ReadAt", func(p []byte, off int64) (int, error) { return h.ReadAt(ctx, p, off) }},
		{"descriptor", given.ReadAt},
		{"direct", direct.ReadAt},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(benchFile)
			for b.Loop() {
				for off := int64(0); off < benchFile; off += benchChunk {
					if n, err := c.read(buf, off); n != benchChunk || err != nil && err != io.EOF {
						b.Fatal(n, err)
					}
				}
			}
		})
	}
}

// BenchmarkWrite writes a file of 256 MiB anew, in the page cache.
func BenchmarkWrite(b *testing.B) {
	s, root := benchServer(b)
	f := must(root.Create(ctx, "f", tree.NewFile{Mode: tree.ModeFile | 0o600}))
	h := must(f.Open(ctx, rw))
	defer h.Close()
	direct := must(os.Create(s.cfg.Dir + "/direct"))
	defer direct.Close()
	buf := make([]byte, benchChunk)
	for _, c := range []struct {
		name  string
		write func(p []byte, off int64) (int, error)
	}{
		{"WriteAt", func(p []byte, off int64) (int, error) { return h.WriteAt(ctx, p, off) }},
		{"direct", direct.WriteAt},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.SetBytes(benchFile)
			for b.Loop() {
				for off := int64(0); off < benchFile; off += benchChunk {
					must(c.write(buf, off))
				}
			}
		})
	}
}

func BenchmarkSmall(b *testing.B) {
	_, root := benchServer(b)
	put := tree.Put{NewFile: tree.NewFile{Mode: 0o600}, Create: true, Data: make([]byte, 100)}
	var at tree.File
	// Each time a directory of its own: b.Run may begin anew.
	fresh := func() {
		at = must(root.Create(ctx, fmt.Sprint("d", b.Elapsed()), tree.NewFile{Mode: tree.ModeDir | 0o700}))
	}
	name := func(i int) string { return fmt.Sprint("f", i) }
	b.Run("Create", func(b *testing.B) {
		fresh()
		for i := 0; b.Loop(); i++ {
			must(at.Create(ctx, name(i), tree.NewFile{Mode: tree.ModeFile | 0o600, Exclusive: true}))
		}
	})
	b.Run("PutNew", func(b *testing.B) {
		fresh()
		for i := 0; b.Loop(); i++ {
			must(at.Put(ctx, name(i), put))
		}
	})
	b.Run("PutOver", func(b *testing.B) {
		for b.Loop() {
			must(root.Put(ctx, "f", put))
		}
	})
	b.Run("PutAppend", func(b *testing.B) {
		app := put
		app.Append = true
		for b.Loop() {
			must(root.Put(ctx, "log", app))
		}
	})
	must(root.Put(ctx, "f", put))
	b.Run("WalkAndGet", func(b *testing.B) {
		for b.Loop() {
			f := must(root.Walk(ctx, "f"))
			if _, data, err := f.(tree.Getter).Get(ctx, 1000); err != nil || len(data) != 100 {
				b.Fatal(err)
			}
		}
	})
	b.Run("WriteAt4K", func(b *testing.B) {
		h := must(must(root.Walk(ctx, "f")).Open(ctx, rw))
		defer h.Close()
		p := make([]byte, 4096)
		for b.Loop() {
			must(h.WriteAt(ctx, p, 0))
		}
	})
}

// BenchmarkMany lists and counts a directory of 20,000 files.
func BenchmarkMany(b *testing.B) {
	s, root := benchServer(b)
	const n = 20_000
	for i := range n {
		must(root.Create(ctx, fmt.Sprint("f", i), tree.NewFile{Mode: tree.ModeFile | 0o600}))
	}
	r := must(s.realm(ctx, "r1", false))
	b.Run("List", func(b *testing.B) {
		for b.Loop() {
			seen, after := 0, ""
			for {
				page := must(root.ReadDir(ctx, after, tree.MaxPage))
				if seen += len(page); len(page) < tree.MaxPage {
					break
				}
				after = page[len(page)-1].Name
			}
			if seen != n {
				b.Fatal(seen)
			}
		}
	})
	b.Run("Count", func(b *testing.B) {
		for b.Loop() {
			must(count(ctx, r.tree))
		}
	})
}
