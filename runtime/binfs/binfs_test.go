package binfs

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Args[0] == ProcessName {
		os.Exit(Main())
	}
	os.Exit(m.Run())
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i * 7)
	}
	return b
}

func TestStoreKeepsRealmsApartAndChecksWhatItIsGiven(t *testing.T) {
	ctx := context.Background()
	s, err := OpenStore(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	b := content(3*ChunkSize + 5)
	d, err := s.Put("realm-a", bytes.NewReader(b), "", 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	if s.Has("realm-b", d) || !s.Has("realm-a", d) {
		t.Error("a program shows in the wrong realm")
	}
	tree, err := s.Tree(ctx, "realm-a", d)
	if err != nil || tree.Size != int64(len(b)) || len(tree.Chunks) != 4 {
		t.Fatalf("tree %+v: %v", tree.Size, err)
	}
	buf := make([]byte, ChunkSize)
	for i := range tree.Chunks {
		c, err := s.Chunk(ctx, "realm-a", d, tree, i, buf)
		if err != nil || tree.Verify(i, c) != nil {
			t.Errorf("chunk %d: %v", i, err)
		}
	}
	if err := tree.Verify(0, content(10)); err == nil {
		t.Error("wrong bytes pass for chunk 0")
	}
	if _, err := s.Put("realm-a", bytes.NewReader(b[1:]), d, 1<<20); err == nil || !strings.Contains(err.Error(), "announced") {
		t.Errorf("other content under an announced digest: %v", err)
	}
	if _, err := s.Put("realm-a", bytes.NewReader(b), "", 1000); err == nil {
		t.Error("a program over the limit is stored")
	}
	if _, err := s.Put("../x", bytes.NewReader(b), "", 1<<20); err == nil {
		t.Error("a realm id may leave the store")
	}
	left, _ := filepath.Glob(filepath.Join(s.Dir(), "*", "put-*"))
	if len(left) != 0 {
		t.Errorf("left of failed uploads: %v", left)
	}
}

// The mount serves what was stored, verified, once; and goes with its process.
func TestHolderServesVerifiedContent(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	dir, run := t.TempDir(), t.TempDir()
	s, err := OpenStore(dir)
	if err != nil {
		t.Fatal(err)
	}
	b := content(200_000)
	good, _ := s.Put("ra", bytes.NewReader(b), "", 1<<20)
	bad, _ := s.Put("ra", bytes.NewReader(b[5:]), "", 1<<20)
	os.WriteFile(s.Path("ra", bad), content(len(b)-5), 0o600) // damaged on disk
	h, err := Start(ctx, Config{StoreDir: dir, RunDir: run, Exe: "/proc/self/exe", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	// Only another process may touch the mount.
	cat := func(path string) ([]byte, error) {
		return exec.CommandContext(ctx, "nsenter", "--mount=/proc/"+strconv.Itoa(h.Pid())+"/ns/mnt", "cat", filepath.Join(h.Binfs(), path)).Output()
	}
	got, err := cat("ra/" + string(good))
	if err != nil || !bytes.Equal(got, b) {
		t.Fatalf("%d bytes of %d: %v", len(got), len(b), err)
	}
	before, err := h.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// The realm's folder and the file; what the first opening waits for; a small
	// program is all in the page cache then.
	if want := (Stats{Lookups: 2, Attrs: before.Attrs, Opens: before.Opens, Stored: 4}); before != want {
		t.Errorf("the first reading asked %+v, want no READ: %+v", before, want)
	}
	if _, err := cat("ra/" + string(good)); err != nil {
		t.Fatal(err)
	}
	after, err := h.Stats(ctx)
	if err != nil || after != before {
		t.Errorf("a warm read asked the server: %+v then %+v, %v", before, after, err)
	}
	for name, path := range map[string]string{"damaged": "ra/" + string(bad), "another realm's": "rb/" + string(good), "no digest": "ra/x", "up": "ra/../../etc"} {
		if out, err := cat(path); err == nil {
			t.Errorf("%s: %d bytes are served", name, len(out))
		}
	}
	if m, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(m), run) {
		t.Error("the mount shows outside its namespace")
	}
	h.cmd.Process.Kill()
	select {
	case <-h.Done():
	case <-time.After(5 * time.Second):
		t.Error("a killed process is not noticed")
	}
}

func FuzzCheckELF(f *testing.F) {
	exe, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(exe[:4096])
	f.Add([]byte("#!/bin/sh\n"))
	f.Fuzz(func(t *testing.T, b []byte) { CheckELF(bytes.NewReader(b), int64(len(b)), "amd64") })
}

func FuzzUnmarshalTree(f *testing.F) {
	t, _ := Sum(bytes.NewReader(content(100_000)))
	f.Add(t.Marshal())
	f.Fuzz(func(t *testing.T, b []byte) {
		var d Digest = "s1-x"
		if tree, err := UnmarshalTree(b, d); err == nil {
			t.Fatalf("%d bytes pass for the tree of %s: %+v", len(b), d, tree)
		}
	})
}
