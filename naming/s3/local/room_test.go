package local

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

func TestRoom(t *testing.T) {
	s := New(Config{Dir: t.TempDir(), RunDir: t.TempDir(), Quota: 10_000})
	defer s.Close()
	for _, b := range []string{"red-a", "red-b", "blue-a"} {
		if err := os.MkdirAll(filepath.Join(s.cfg.Dir, b, "dir"), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(s.cfg.Dir, b, "dir", "f"), make([]byte, 4000), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	is := func(prefix string, n int64, want api.Kind) {
		t.Helper()
		if err := s.Room(prefix, n); api.KindOf(err) != want {
			t.Errorf("Room(%s, %d): %v, want kind %q", prefix, n, err, want)
		}
	}
	is("red-", 2001, api.Busy)
	is("red-", 1500, "")
	is("red-", 1000, api.Busy) // with what was sent before
	is("blue-", 6000, "")
	is("green-", 10_001, api.Busy)
	is("green-", 1<<62, api.Unavailable) // more than the disk has
	// What was removed counts no more, once it was counted again.
	os.RemoveAll(filepath.Join(s.cfg.Dir, "red-b"))
	s.usages["red-"].at = time.Now().Add(-time.Hour)
	is("red-", 6000, "")
}

func TestNoProgram(t *testing.T) {
	for name, binary := range map[string]string{"none": "", "absent": "/does/not/exist", "not one": "/bin/true"} {
		s := New(Config{Binary: binary, Dir: t.TempDir(), RunDir: t.TempDir(), Start: 2 * time.Second})
		if _, err := s.Use(t.Context()); err == nil || api.KindOf(err) == api.Internal {
			t.Errorf("%s: %v, want an error that says what is missing", name, err)
		}
		s.Close()
	}
}

func TestStaleUploads(t *testing.T) {
	s := New(Config{Dir: t.TempDir(), RunDir: t.TempDir()})
	defer s.Close()
	old, young := filepath.Join(s.cfg.Dir, "b", ".sgwtmp", "multipart", "h", "old"), filepath.Join(s.cfg.Dir, "b", ".sgwtmp", "multipart", "h", "young")
	for _, d := range []string{old, young} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	os.Chtimes(old, time.Now(), time.Now().Add(-25*time.Hour))
	s.removeStale()
	if _, err := os.Stat(old); !os.IsNotExist(err) {
		t.Errorf("an upload of a day ago is there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("a young upload: %v", err)
	}
}
