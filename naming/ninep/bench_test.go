package ninep

import (
	"context"
	"testing"

	"golang.org/x/sys/unix"

	"sigmaos/naming/memfs"
	"sigmaos/naming/tree"
	"sigmaos/net/fdpass"
)

// benchClient is a client over the socketpair that procs of one node have.
func benchClient(b *testing.B) *Fid {
	fs := newMem(b, memfs.Options{Mode: 0o777})
	root, err := fs.Attach(ctxOf(b), caller("alice"), "", nil)
	if err == nil {
		err = furnish(b, root)
	}
	if err != nil {
		b.Fatal(err)
	}
	x, fd, err := fdpass.Pair(unix.SOCK_STREAM, fdpass.Take)
	if err != nil {
		b.Fatal(err)
	}
	y, err := fdpass.New(fd, fdpass.Take)
	if err != nil {
		b.Fatal(err)
	}
	serveOn(b, x, caller("alice"), fs, Options{})
	f, _, err := connect(b, y).Attach(ctxOf(b), "", nil)
	if err != nil {
		b.Fatal(err)
	}
	return f
}

// One round trip: what a cached read of named costs beside named.
func BenchmarkGet(b *testing.B) {
	f := benchClient(b)
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		if data, _, err := f.Get(ctx, 1<<20, "dir", "file"); err != nil || len(data) != 5 {
			b.Fatal(len(data), err)
		}
	}
}

func BenchmarkGet64AtOnce(b *testing.B) {
	f := benchClient(b)
	b.SetParallelism(64)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if _, _, err := f.Get(context.Background(), 1<<20, "dir", "file"); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkRead1MiB(b *testing.B) {
	f := benchClient(b)
	h, _, err := f.CreateOpen(ctxOf(b), tree.NewFile{Mode: tree.ModeFile | 0o600}, tree.OpenMode{Read: true, Write: true}, "dir", "big")
	if err != nil {
		b.Fatal(err)
	}
	buf := make([]byte, 1<<20)
	if _, err := h.WriteAt(ctxOf(b), buf, 0); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(1 << 20)
	for b.Loop() {
		if n, err := h.ReadAt(context.Background(), buf, 0); n != len(buf) {
			b.Fatal(n, err)
		}
	}
}
