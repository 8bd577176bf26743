// Package posixtest holds a mounted realm to what ordinary programs expect of a
// directory. The same suite runs on trees in memory and scratch space behind a
// mount of the package's own, and on a whole node's (test/mount_test.go).
//
// The process that runs it must not be the one that serves the mount.
package posixtest

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// Config says where.
type Config struct {
	Dir   string // an empty directory on the mount
	Other string // the same directory on another mount; "": there is none
	Small bool   // files have at most 1 MiB
	Big   int64  // bytes of the large file; 0: none
}

// env is a directory for one test.
type env struct {
	*testing.T
	cfg   Config
	dir   string
	other string // the same, through the other mount
}

// Run runs the suite.
func Run(t *testing.T, cfg Config) {
	for _, c := range []struct {
		name string
		test func(*env)
	}{
		{"Create", testCreate},
		{"ExclusiveRace", testExclusiveRace},
		{"OpenModes", testOpenModes},
		{"Modes", testModes},
		{"Times", testTimes},
		{"RenameOver", testRenameOver},
		{"RenameErrors", testRenameErrors},
		{"RenameOpen", testRenameOpen},
		{"UnlinkWhileOpen", testUnlinkWhileOpen},
		{"Append", testAppend},
		{"Truncate", testTruncate},
		{"Holes", testHoles},
		{"Directories", testDirectories},
		{"ReaddirWhileChanging", testReaddirWhileChanging},
		{"Seekdir", testSeekdir},
		{"Names", testNames},
		{"Symlinks", testSymlinks},
		{"NotHere", testNotHere},
		{"OverlappingWrites", testOverlappingWrites},
		{"ManyHandles", testManyHandles},
		{"ReadWhileWritten", testReadWhileWritten},
		{"Mmap", testMmap},
		{"Sync", testSync},
		{"Locks", testLocks},
		{"Statfs", testStatfs},
		{"Exec", testExec},
		{"CloseToOpen", testCloseToOpen},
		{"SeenElsewhere", testSeenElsewhere},
		{"Big", testBig},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := &env{T: t, cfg: cfg, dir: filepath.Join(cfg.Dir, c.name), other: filepath.Join(cfg.Other, c.name)}
			if cfg.Other == "" {
				e.other = e.dir
			}
			e.ok(os.Mkdir(e.dir, 0o755), "mkdir")
			c.test(e)
			e.ok(os.RemoveAll(e.dir), "rm -r")
			_, err := os.Lstat(e.dir)
			e.is(err, "lstat of what was removed", syscall.ENOENT)
		})
	}
}

func (e *env) path(name string) string { return filepath.Join(e.dir, name) }

// there is a path on the other mount.
func (e *env) there(name string) string { return filepath.Join(e.other, name) }

func (e *env) ok(err error, what string) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

// is checks that err is one of the numbers.
func (e *env) is(err error, what string, want ...syscall.Errno) {
	e.Helper()
	for _, w := range want {
		if errors.Is(err, w) {
			return
		}
	}
	e.Errorf("%s: %v, want %v", what, err, want)
}

func (e *env) write(path, data string) {
	e.Helper()
	e.ok(os.WriteFile(path, []byte(data), 0o644), "write "+filepath.Base(path))
}

func (e *env) has(path, want string) {
	e.Helper()
	got, err := os.ReadFile(path)
	if err != nil || string(got) != want {
		e.Errorf("%s has %s (%v), want %s", filepath.Base(path), short(got), err, short([]byte(want)))
	}
}

func short(b []byte) string {
	if len(b) > 80 {
		return string(b[:40]) + "…" + string(b[len(b)-20:])
	}
	return string(b)
}

func (e *env) open(path string, flags int) *os.File {
	e.Helper()
	f, err := os.OpenFile(path, flags, 0o644)
	e.ok(err, "open "+filepath.Base(path))
	e.Cleanup(func() { f.Close() })
	return f
}

func (e *env) readAt(f *os.File, off int64, want string) {
	e.Helper()
	got := make([]byte, len(want))
	n, err := f.ReadAt(got, off)
	if !bytes.Equal(got[:n], []byte(want)) {
		e.Errorf("at %d there is %s (%v), want %s", off, short(got[:n]), err, short([]byte(want)))
	}
}
