package named

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// onDisk is etcd with its disk full from some time on.
type onDisk struct {
	Etcd
	full  *atomic.Bool
	space guarded
}

func (d onDisk) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if d.full.Load() {
		return d.space.Do(ctx, op)
	}
	return d.Etcd.Do(ctx, op)
}

// On a full disk files are read and removed, also by a new leader; what would
// need more room is refused with the reason, and the term goes on.
func TestFAULTS_F27_FullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	dir := t.TempDir()
	if err := unix.Mount("none", dir, "tmpfs", 0, "size=16m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	t.Cleanup(func() { unix.Unmount(dir, 0) })
	realm, ctx := newRealm(t), tctx(t)
	full := new(atomic.Bool)
	disk := func(c *Config) { c.Etcd = onDisk{c.Etcd, full, guarded{etcd(t).KV, newSpace(dir)}} }
	a := newHost(t, "na", disk)
	root := a.root(t, realm, "alice")
	put(t, root, "f", "text")
	put(t, root, "g", "text")
	term := a.tree(t, realm).term
	full.Store(true)
	err := second(root.Put(ctx, "h", tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile}, Create: true, Data: []byte("x")}))
	if api.KindOf(err) != api.Unavailable || !strings.Contains(err.Error(), "disk") {
		t.Errorf("Put on a full disk: %v", err)
	}
	wantFile(t, root, "f", "text")
	if err := root.Remove(ctx, "g", false); err != nil {
		t.Errorf("Remove on a full disk: %v", err)
	}
	if term.isEnded() {
		t.Error("the term has ended for a refused write")
	}
	a.Close()
	root = newHost(t, "nb", disk).root(t, realm, "alice")
	wantFile(t, root, "f", "text")
	full.Store(false)
	put(t, root, "h", "x")
}

func TestCompactorFollowsGrowth(t *testing.T) {
	c := compactor{quota: 1600}
	for i, s := range []struct {
		inUse int64
		due   bool
	}{{100, false}, {799, false}, {800, true}, {850, false}, {899, false}, {900, true}, {300, false}, {700, false}, {800, true}, {1200, true}, {1250, false}, {1299, false}, {1300, true}} {
		if got := c.due(s.inUse); got != s.due {
			t.Errorf("step %d, %d bytes in use: due is %v", i, s.inUse, got)
		}
	}
}

// ownPeer is an etcd of the test's own, with one realm's tree.
func ownPeer(t *testing.T, quota int64) (*Peer, *Trees) {
	t.Helper()
	dir, ctx := t.TempDir(), tctx(t)
	p, err := StartPeer(ctx, PeerConfig{Name: "n1", DataDir: filepath.Join(dir, "data"), RunDir: t.TempDir(), Logger: testLog(), Quota: quota})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	if _, err := p.Client().Put(ctx, realmPrefix+"r", "{}"); err != nil {
		t.Fatal(err)
	}
	trees, err := NewTrees(Config{Etcd: p.Client(), Node: "n1", Logger: testLog(), LeaseTTL: 30 * time.Second, WriteTimeout: 20 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { trees.Close() })
	return p, trees
}

// On a disk without a free byte things are removed, as many as one likes: etcd has
// room for the snapshots that it writes meanwhile, without which it would end.
func TestFAULTS_F27_SnapshotsOnAFullDisk(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("mounts a small file system: needs root")
	}
	data, ctx := t.TempDir(), tctx(t)
	if err := unix.Mount("none", data, "tmpfs", 0, "size=240m"); err != nil {
		t.Fatalf("mount: %v", err)
	}
	defer unix.Unmount(data, 0)
	p, err := StartPeer(ctx, PeerConfig{Name: "n1", DataDir: filepath.Join(data, "etcd"), RunDir: t.TempDir(), Logger: testLog()})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	filler := filepath.Join(data, "filler")
	f, err := os.Create(filler)
	if err != nil {
		t.Fatal(err)
	}
	for b := make([]byte, 1<<20); len(b) >= 512; b = b[:len(b)/2] {
		for err = nil; err == nil; {
			_, err = f.Write(b)
		}
	}
	f.Close()
	if _, err := p.Client().Put(ctx, "k", "v"); api.KindOf(err) != api.Unavailable {
		t.Errorf("a write on a full disk: %v, want kind %q", err, api.Unavailable)
	}
	snapshots := func() int {
		list, err := filepath.Glob(filepath.Join(data, "etcd", "member", "snap", "*.snap"))
		if err != nil {
			t.Fatal(err)
		}
		return len(list)
	}
	before := snapshots()
	const many = 3 * snapshotCount // changes
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(many)
	for range 64 {
		wg.Go(func() {
			for left.Add(-1) >= 0 {
				if _, err := p.Client().Delete(ctx, "k"); err != nil {
					t.Errorf("a removal: %v", err)
					return
				}
			}
		})
	}
	wg.Wait()
	if n := snapshots() - before; n < 2 {
		t.Errorf("%d snapshots were written, want 2 and more", n)
	}
	if err := os.Remove(filler); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Client().Put(ctx, "k", "v"); err != nil {
		t.Errorf("with space again: %v", err)
	}
}

// putLarge writes 1 MiB, on a slow machine in several terms.
func putLarge(t *testing.T, trees *Trees, name string) error {
	t.Helper()
	ctx := tctx(t)
	p := tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: make([]byte, maxFileSize)}
	for {
		fs, err := trees.Tree(ctx, "r")
		var root tree.File
		if err == nil {
			root, err = fs.Attach(ctx, as("r", "alice"), "", nil)
		}
		if err == nil {
			_, err = root.Put(ctx, name, p)
		}
		if api.KindOf(err) != api.Unavailable || ctx.Err() != nil {
			return err
		}
	}
}

// A tenant that writes the largest file again and again does not fill etcd.
func TestPROBES_N28_RewritingDoesNotFillEtcd(t *testing.T) {
	// Half of it is more than a fast disk takes in the time of a compaction, which
	// frees pages when etcd next commits.
	const quota = 160 << 20
	p, trees := ownPeer(t, quota)
	// As often as a database of this size needs it.
	ctx, cancel := context.WithCancel(context.Background())
	p.wg.Go(func() { p.compactLoop(ctx, quota, compactEvery/100) })
	defer cancel()
	for i := range 2 * quota / maxFileSize {
		if err := putLarge(t, trees, fmt.Sprint("f", i%3)); err != nil {
			t.Fatalf("Put %d of 1 MiB with a quota of %d MiB: %v", i, quota>>20, err)
		}
	}
}

// With more in it than etcd may hold, writes are refused and say why, and the
// term and its reads go on.
func TestEtcdIsFull(t *testing.T) {
	_, trees := ownPeer(t, 16<<20)
	var err error
	for i := 0; i < 200 && err == nil; i++ { // etcd sees its size a little late
		err = putLarge(t, trees, fmt.Sprint("f", i))
	}
	for range 2 {
		if api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "full") {
			t.Errorf("Put into a full etcd: %v, want kind %q", err, api.Busy)
		}
		err = putLarge(t, trees, "more")
	}
	fs, err := trees.Tree(tctx(t), "r")
	if err != nil {
		t.Fatal(err)
	}
	root := attach(t, fs, as("r", "alice"), "", nil)
	wantFile(t, root, "f0", string(make([]byte, maxFileSize)))
	wantKind(t, putLarge(t, trees, "more"), "Put once more", api.Busy)
	if fs.(*realmFS).term.isEnded() {
		t.Error("the term has ended for a refused write")
	}
}
