package ux

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/naming/tree"
	"sigmaos/naming/tree/treetest"
)

func TestTree(t *testing.T) {
	cfg := treetest.All()
	cfg.Leases = false // they are Unsupported here
	cfg.MaxFile, cfg.History = 1<<20, 500
	treetest.Run(t, cfg, func(t *testing.T) tree.FS {
		return start(t, Config{Quota: Quota{Bytes: cfg.MaxFile}, History: cfg.History}).FS()
	})
}

var ctx = context.Background()

// server is a Server in a test, with what tests ask of it.
type server struct {
	*testing.T
	*Server
	dir string
}

// start serves cfg.Dir, or a directory of the test's own.
func start(t *testing.T, cfg Config) *server {
	t.Helper()
	if cfg.Dir == "" {
		cfg.Dir = t.TempDir()
	}
	if cfg.Node == "" {
		cfg.Node = "n1"
	}
	if cfg.KeepFree == 0 {
		cfg.KeepFree = -1
	}
	before := goleak.IgnoreCurrent()
	s, err := Open(cfg)
	if err != nil {
		t.Fatalf("Open(%s): %v", cfg.Dir, err)
	}
	t.Cleanup(func() {
		s.Close()
		leaktest.None(t, before)
	})
	return &server{t, s, cfg.Dir}
}

// again ends the server and serves its directory anew.
func (s *server) again() *server {
	s.Helper()
	s.Close()
	return start(s.T, Config{Dir: s.dir, Quota: s.cfg.Quota, CheckFence: s.cfg.CheckFence})
}

// on is where a test's path leads on the disk.
func (s *server) on(realm, path string) string {
	return filepath.Join(s.dir, "realms", realm, "tree", path)
}

// as is the root of realm r1 for a user; "" is an operator.
func (s *server) as(user string) *dir {
	s.Helper()
	return s.fenced(user, nil)
}

func (s *server) fenced(user string, f *tree.Fence) *dir {
	s.Helper()
	at, err := s.FS().Attach(ctx, caller("r1", user), "", f)
	if err != nil {
		s.Fatalf("Attach(%q): %v", user, err)
	}
	return &dir{s.T, at}
}

func caller(realm, user string) api.Caller {
	return api.Caller{Node: "n1", Realm: realm, User: user, Operator: user == ""}
}

// used checks a realm's usage.
func (s *server) used(bytes, inodes int64) {
	s.Helper()
	u, err := s.Usage(ctx, "r1")
	if want := (Quota{bytes, inodes}); err != nil || u.Used != want {
		s.Errorf("Usage: %+v, %v, want %+v", u.Used, err, want)
	}
}

// counted checks that the usage is what the disk has.
func (s *server) counted() Quota {
	s.Helper()
	u, err := s.Usage(ctx, "r1")
	if err != nil {
		s.Fatalf("Usage: %v", err)
	}
	r, err := s.realm(ctx, "r1", false)
	if err != nil {
		s.Fatal(err)
	}
	disk, err := count(ctx, r.tree)
	if err != nil || u.Used != disk {
		s.Errorf("Usage is %+v, the disk has %+v, %v", u.Used, disk, err)
	}
	return disk
}

// dir is a directory, with calls that end the test where they fail.
type dir struct {
	*testing.T
	tree.File
}

func (d *dir) put(path, data string) tree.Attr {
	d.Helper()
	at, name := d.split(path)
	a, err := at.Put(ctx, name, tree.Put{NewFile: tree.NewFile{Mode: 0o660}, Create: true, Data: []byte(data)})
	if err != nil {
		d.Fatalf("Put(%.80q): %v", path, err)
	}
	return a
}

func (d *dir) split(path string) (tree.File, string) {
	d.Helper()
	i := strings.LastIndexByte(path, '/')
	return d.walk(path[:max(i, 0)]), path[i+1:]
}

func (d *dir) walk(path string) tree.File {
	d.Helper()
	f, err := d.find(path)
	if err != nil {
		d.Fatalf("walk to %.80q: %v", path, err)
	}
	return f
}

func (d *dir) find(path string) (at tree.File, err error) {
	at = d.File
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && err == nil {
			at, err = at.Walk(ctx, name)
		}
	}
	return at, err
}

func (d *dir) mkdir(path string) *dir {
	d.Helper()
	return &dir{d.T, d.create(path, tree.NewFile{Mode: tree.ModeDir | 0o770, Exclusive: true})}
}

func (d *dir) create(path string, nf tree.NewFile) tree.File {
	d.Helper()
	at, name := d.split(path)
	f, err := at.Create(ctx, name, nf)
	if err != nil {
		d.Fatalf("Create(%.80q): %v", path, err)
	}
	return f
}

func (d *dir) open(path string, m tree.OpenMode) tree.Handle {
	d.Helper()
	h, err := d.walk(path).Open(ctx, m)
	if err != nil {
		d.Fatalf("Open(%.80q): %v", path, err)
	}
	d.Cleanup(func() { h.Close() })
	return h
}

func (d *dir) remove(path string, isDir bool) {
	d.Helper()
	at, name := d.split(path)
	if err := at.Remove(ctx, name, isDir); err != nil {
		d.Fatalf("Remove(%.80q): %v", path, err)
	}
}

func (d *dir) rename(from, to string) {
	d.Helper()
	f, name := d.split(from)
	at, newName := d.split(to)
	if err := f.Rename(ctx, name, at, newName); err != nil {
		d.Fatalf("Rename(%.80q, %.80q): %v", from, to, err)
	}
}

func (d *dir) attr(path string) tree.Attr {
	d.Helper()
	a, err := d.walk(path).Attr(ctx)
	if err != nil {
		d.Fatalf("Attr(%.80q): %v", path, err)
	}
	return a
}

func (d *dir) has(path, want string) {
	d.Helper()
	_, got, err := d.walk(path).(tree.Getter).Get(ctx, 1<<30)
	if err != nil || string(got) != want {
		d.Errorf("Get(%.80q): %d bytes %.60q, %v, want %d bytes %.60q", path, len(got), got, err, len(want), want)
	}
}

func write(t testing.TB, h tree.Handle, off int64, data string) {
	t.Helper()
	if n, err := h.WriteAt(ctx, []byte(data), off); err != nil || n != len(data) {
		t.Fatalf("WriteAt(%d bytes, %d) = %d, %v", len(data), off, n, err)
	}
}

func content(t testing.TB, h tree.Handle) string {
	t.Helper()
	b := make([]byte, 1<<20)
	n, err := h.ReadAt(ctx, b, 0)
	if err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("ReadAt: %v", err)
	}
	return string(b[:n])
}

// kind checks the kind of an error, and that it says these things.
func kind(t testing.TB, err error, want api.Kind, says ...string) {
	t.Helper()
	if api.KindOf(err) != want {
		t.Errorf("kind %q (%v), want %q", api.KindOf(err), err, want)
	}
	for _, s := range says {
		if err != nil && !strings.Contains(err.Error(), s) {
			t.Errorf("error %q does not say %q", err, s)
		}
	}
}

var rw = tree.OpenMode{Read: true, Write: true}
var rd = tree.OpenMode{Read: true}
