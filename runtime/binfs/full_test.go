package binfs

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

// FAULTS F27: on a full disk programs come from elsewhere as before, right to the
// last byte; the oldest of the cache make room, and what is kept is right.
func TestFAULTS_F27_FullCacheDisk(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("sigma-test", dir, "tmpfs", 0, "size=4m"); err != nil {
		t.Fatal(err)
	}
	defer unix.Unmount(dir, unix.MNT_DETACH)
	mine, err := OpenStore(filepath.Join(dir, "bin"))
	if err == nil {
		err = mine.Admit("ra")
	}
	if err != nil {
		t.Fatal(err)
	}
	ctx := context.Background()
	var from *place
	c := newCache(mine, direct{NewChain(func(string, Digest) []Origin { return []Origin{from} })}, 1<<30, slog.New(slog.DiscardHandler))
	read := func(d Digest, want []byte) {
		t.Helper()
		tree, _, err := c.Tree(ctx, "ra", d)
		if err != nil {
			t.Fatal(err)
		}
		var got []byte
		buf := make([]byte, ChunkSize)
		for i := range tree.Chunks {
			b, err := c.Chunk(ctx, "ra", d, tree, i, buf)
			if err != nil {
				t.Fatalf("chunk %d on a full disk: %v", i, err)
			}
			got = append(got, b...)
		}
		if !bytes.Equal(got, want) {
			t.Error("what was read is something else")
		}
		eventually(t, "nothing is under way", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return len(c.flights) == 0
		})
	}
	kept := func(d Digest) (n int) {
		again := newCache(mine, nil, 1<<30, slog.New(slog.DiscardHandler))
		tree, _, err := again.Tree(ctx, "ra", d)
		if err != nil {
			return 0
		}
		for i := range tree.Chunks {
			if b, err := again.Chunk(ctx, "ra", d, tree, i, make([]byte, ChunkSize)); err == nil && tree.Verify(i, b) == nil {
				n++
			}
		}
		return n
	}
	program := func(size, seed int) (Digest, []byte) {
		b := content(size)
		b[0] = byte(seed)
		s, d := stored(t, b)
		from = &place{name: "peer", store: s}
		return d, b
	}
	first, b := program(20*ChunkSize+5, 1)
	read(first, b)
	if n := kept(first); n != 21 {
		t.Errorf("%d chunks are kept of a program that fits, want 21", n)
	}
	large, b := program(100*ChunkSize, 2)
	read(large, b)
	if n := kept(large); n == 0 || n == 100 {
		t.Errorf("%d chunks are kept of a program that does not fit, want some", n)
	}
	if n := kept(first); n != 0 {
		t.Errorf("%d chunks of an older program are kept on a full disk", n)
	}
	last, b := program(10*ChunkSize, 3)
	read(last, b)
	if n := kept(last); n != 10 {
		t.Errorf("%d chunks are kept of a program that fits when older ones go, want 10", n)
	}
}
