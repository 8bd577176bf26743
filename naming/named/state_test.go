package named

import (
	"context"
	"fmt"
	"math/rand/v2"
	"reflect"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// picture is a state without what only memory knows.
type picture struct {
	inodes  map[uint64]inode
	subdirs map[uint64]int
	entries map[entryKey]uint64
	leases  map[string]string
	files   map[string]map[uint64]struct{}
	replays map[replayKey]replay
	version uint64
	nfiles  int64
	bytes   int64
}

func draw(st *state) picture {
	p := picture{make(map[uint64]inode), make(map[uint64]int), make(map[entryKey]uint64), make(map[string]string),
		make(map[string]map[uint64]struct{}), st.replays, st.version, st.files, st.bytes}
	for id, n := range st.nodes {
		in := n.inode
		if len(in.Data) == 0 {
			in.Data = nil
		}
		p.inodes[id] = in
		p.subdirs[id] = n.subdirs
		n.page("", 1<<30, func(k *node, name string) { p.entries[entryKey{id, name}] = k.ID })
	}
	for id, l := range st.leases {
		p.leases[id] = fmt.Sprint(l.leaseRecord)
		p.files[id] = l.files
	}
	return p
}

// reload reads what etcd holds of a realm.
func reload(t *testing.T, realm string, replays int) *state {
	t.Helper()
	resp, err := etcd(t).Get(tctx(t), "none")
	if err != nil {
		t.Fatal(err)
	}
	l := &loader{etcd: etcd(t), keys: realmKeys(realm), rev: resp.Header.Revision, replays: replays, log: testLog()}
	got, err := l.load(tctx(t))
	if err != nil {
		t.Fatal(err)
	}
	if l.lost > 0 {
		t.Errorf("%d parts of the stored tree do not fit together", l.lost)
	}
	return got.st
}

// chance does random things, right and wrong ones.
func chance(ctx context.Context, rng *rand.Rand, fs *realmFS, root tree.File, c api.Caller, leases []string) error {
	name := func() string { return string(rune('a' + rng.IntN(6))) }
	dir := root
	for range rng.IntN(3) {
		if d, err := dir.Walk(ctx, name()); err == nil {
			dir = d
		}
	}
	lease := ""
	if rng.IntN(3) == 0 && len(leases) > 0 {
		lease = leases[rng.IntN(len(leases))]
	}
	perm := tree.ModeFile | uint32(0o644)
	data := make([]byte, rng.IntN(200))
	switch rng.IntN(12) {
	case 0, 1:
		_, err := dir.Create(ctx, name(), tree.NewFile{Mode: tree.ModeDir | 0o755, Exclusive: true})
		return err
	case 2:
		_, err := dir.Create(ctx, name(), tree.NewFile{Mode: perm, Exclusive: rng.IntN(2) == 0, Lease: lease})
		return err
	case 3:
		_, err := dir.Create(ctx, name(), tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: "x/y", Lease: lease})
		return err
	case 4, 5:
		_, err := dir.Put(ctx, name(), tree.Put{NewFile: tree.NewFile{Mode: perm, Lease: lease}, Create: true, Append: rng.IntN(2) == 0, Data: data, NoReplay: fmt.Sprint("id", rng.IntN(40))})
		return err
	case 6:
		return dir.Remove(ctx, name(), false)
	case 7:
		return dir.Remove(ctx, name(), true)
	case 8, 9:
		to := root
		if d, err := root.Walk(ctx, name()); err == nil {
			to = d
		}
		return dir.Rename(ctx, name(), to, name())
	case 10:
		f, err := dir.Walk(ctx, name())
		if err != nil {
			return err
		}
		size := int64(rng.IntN(300))
		_, err = f.SetAttr(ctx, tree.SetAttr{Size: &size})
		return err
	default:
		f, err := dir.Walk(ctx, name())
		if err != nil {
			return err
		}
		h, err := f.Open(ctx, tree.OpenMode{Read: true, Write: true, Append: rng.IntN(2) == 0})
		if err != nil {
			return err
		}
		_, err = h.WriteAt(ctx, data, int64(rng.IntN(100)))
		h.Close()
		return err
	}
}

// What the leader has in memory is what a new leader would read, whatever many
// clients did at once: the stage is published as it was written.
func TestMemoryIsWhatEtcdHolds(t *testing.T) {
	realm := newRealm(t)
	const replays = 20
	h := newHost(t, "n1", func(c *Config) { c.Limits.Replays = replays })
	fs := h.tree(t, realm)
	ctx, c := tctx(t), as(realm, "alice")
	root := h.root(t, realm, "alice")
	for round := range 4 {
		var leases []string
		for range 5 {
			l, err := fs.Grant(ctx, c, time.Minute)
			if err != nil {
				t.Fatal(err)
			}
			leases = append(leases, l)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		kinds := make(map[api.Kind]int)
		for w := range 8 {
			rng := rand.New(rand.NewPCG(uint64(round), uint64(w)))
			wg.Go(func() {
				for range 150 {
					err := chance(ctx, rng, fs, root, c, leases)
					mu.Lock()
					kinds[api.KindOf(err)]++
					mu.Unlock()
				}
			})
		}
		wg.Go(func() { // some leases end while files join them
			for _, l := range leases[:2] {
				fs.Revoke(ctx, c, l)
			}
		})
		wg.Wait()
		if kinds[""] < 100 || kinds[api.Internal]+kinds[api.Unavailable]+kinds[api.Busy] > 0 {
			t.Fatalf("outcomes %v", kinds)
		}
		fs.term.mu.RLock()
		got := draw(fs.term.st)
		fs.term.mu.RUnlock()
		want := draw(reload(t, realm, replays))
		compare(t, got, want)
		for _, l := range leases[:2] {
			if _, ok := got.leases[l]; ok {
				t.Errorf("lease %s is still there", l)
			}
			for id, in := range got.inodes {
				if in.Lease == l {
					t.Errorf("file %d is left of lease %s", id, l)
				}
			}
		}
	}
}

func compare(t *testing.T, got, want picture) {
	t.Helper()
	for id, in := range got.inodes {
		if !reflect.DeepEqual(in, want.inodes[id]) {
			t.Errorf("in memory %+v, in etcd %+v", in, want.inodes[id])
		}
	}
	for _, part := range []struct {
		name      string
		got, want any
	}{
		{"number of inodes", len(got.inodes), len(want.inodes)}, {"entries", got.entries, want.entries}, {"counts of subdirectories", got.subdirs, want.subdirs},
		{"leases", got.leases, want.leases}, {"files of leases", got.files, want.files}, {"remembered writes", got.replays, want.replays},
		{"version", got.version, want.version}, {"number of files", got.nfiles, want.nfiles}, {"bytes", got.bytes, want.bytes},
	} {
		if !reflect.DeepEqual(part.got, part.want) {
			t.Errorf("%s: in memory %v, in etcd %v", part.name, part.got, part.want)
		}
	}
}

func TestLoadInPages(t *testing.T) {
	realm := newRealm(t)
	h := newHost(t, "n1", nil)
	root := h.root(t, realm, "")
	big := make([]byte, maxFileSize)
	for i := range 6 {
		put(t, root, fmt.Sprint("big", i), string(big))
	}
	many := mkdir(t, root, "many", 0o755)
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 40 {
				put(t, many, fmt.Sprintf("f%d-%d", w, i), "x")
			}
		})
	}
	wg.Wait()
	st := reload(t, realm, 1)
	if st.files != 6+1+320 || st.bytes < 6*maxFileSize {
		t.Errorf("loaded are %d files of %d bytes", st.files, st.bytes)
	}
}

// A tree that lost a key is served without what hung on it, and says so.
func TestLoadOfADamagedTree(t *testing.T) {
	realm := newRealm(t)
	h := newHost(t, "n1", nil)
	root := h.root(t, realm, "")
	d := mkdir(t, root, "d", 0o755)
	put(t, mkdir(t, d, "sub", 0o755), "in", "x")
	put(t, root, "kept", "x")
	h.Close()
	k, ctx := realmKeys(realm), tctx(t)
	if _, err := etcd(t).Delete(ctx, k.dirent(entryKey{rootID, "d"})); err != nil {
		t.Fatal(err)
	}
	// One of the first format without its file, and one that says it is the root.
	for name, v := range map[string][]byte{"apart": oldEntry(77, tree.ModeFile), "root": oldEntry(rootID, tree.ModeDir)} {
		if _, err := etcd(t).Put(ctx, k.dirent(entryKey{rootID, name}), string(v)); err != nil {
			t.Fatal(err)
		}
	}
	l := &loader{etcd: etcd(t), keys: k, log: testLog()}
	got, err := l.load(ctx)
	if err != nil {
		t.Fatal(err)
	}
	// Those two, directory sub and the file in it.
	if l.lost != 4 || got.st.files != 1 {
		t.Errorf("%d parts are lost and %d files left, want 4 and 1", l.lost, got.st.files)
	}
	var names []string
	got.st.nodes[rootID].page("", 10, func(_ *node, name string) { names = append(names, name) })
	if len(names) != 1 || names[0] != "kept" {
		t.Errorf("the root has %q, want kept", names)
	}
	for _, key := range []string{k.inode(77), k.log(), k.ids(), k.lease("x"), k.replay(5), k.dirent(entryKey{rootID, "bad"})} {
		if _, err := etcd(t).Put(ctx, key, "\x63damaged"); err != nil {
			t.Fatal(err)
		}
		if _, err := (&loader{etcd: etcd(t), keys: k, log: testLog()}).load(ctx); err == nil {
			t.Errorf("a damaged %s is read as if it were none", key)
		}
		if _, err := etcd(t).Delete(ctx, key); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := etcd(t).Delete(ctx, string(k), clientv3.WithPrefix()); err != nil {
		t.Fatal(err)
	}
}

// oldEntry and oldFile are as the first format had them.
func oldEntry(id uint64, mode uint32) []byte {
	return be.AppendUint32(be.AppendUint64([]byte{format}, id), mode)
}

func oldFile(in inode) []byte {
	b := be.AppendUint32([]byte{format}, in.Mode)
	for _, v := range []uint64{in.Version, in.Created, uint64(in.Modified)} {
		b = be.AppendUint64(b, v)
	}
	b = append(b, 0)
	for _, v := range []string{in.Owner, in.Lease, in.Target} {
		b = putStr(b, v)
	}
	return append(b, in.Data...)
}

// A tree that was written in the first format is read, served, and stored anew by
// whoever comes to lead it; so is one of which a part was stored anew.
func TestTheFirstFormatIsRead(t *testing.T) {
	realm, ctx := newRealm(t), tctx(t)
	k := realmKeys(realm)
	write := func(key string, v []byte) {
		if _, err := etcd(t).Put(ctx, key, string(v)); err != nil {
			t.Fatal(err)
		}
	}
	const files = 150
	write(k.inode(rootID), oldFile(inode{Mode: tree.ModeDir | 0o775, Version: 400, Created: 1}))
	write(k.inode(2), oldFile(inode{Mode: tree.ModeDir | 0o755, Version: 399, Created: 2, Owner: "alice"}))
	write(k.dirent(entryKey{rootID, "d"}), oldEntry(2, tree.ModeDir))
	for i := range uint64(files) {
		f := inode{Mode: tree.ModeFile | 0o644, Version: 10 + i, Created: 10 + i, Modified: 1e18, Owner: "alice", Data: fmt.Append(nil, "text ", i)}
		write(k.inode(100+i), oldFile(f))
		write(k.dirent(entryKey{2, fmt.Sprint("f", i)}), oldEntry(100+i, f.Mode))
	}
	write(k.ids(), encodeID(1000))
	write(k.log(), append(be.AppendUint64(be.AppendUint64(be.AppendUint64([]byte{format}, 1), 9), 400), 0, 0, 0, 0))
	done := replay{key: replayKey{"alice", "once"}, file: 100, version: 10, mode: tree.ModeFile | 0o644, size: 6, owner: "alice"}
	write(k.replay(7), done.append([]byte{format}))

	for _, node := range []string{"na", "nb"} {
		h := newHost(t, node, nil)
		root := h.root(t, realm, "alice")
		if a, err := root.Attr(ctx); err != nil || a.Version != 400 {
			t.Errorf("the root has version %d, %v", a.Version, err)
		}
		for i := range files {
			wantFile(t, root, fmt.Sprint("d/f", i), fmt.Sprint("text ", i))
		}
		a, err := root.Put(ctx, "other", tree.Put{NoReplay: "once", Create: true, Data: []byte("again")})
		if err != nil || a.ID != 100 || a.Version != 10 {
			t.Errorf("a write that was done before: %+v, %v", a, err)
		}
		if st := reload(t, realm, 100); st.files != files+1 {
			t.Errorf("stored are %d files, want %d", st.files, files+1)
		}
		left, err := etcd(t).Get(ctx, string(k)+"i/", clientv3.WithPrefix(), clientv3.WithKeysOnly())
		if err != nil || len(left.Kvs) != 1 || string(left.Kvs[0].Key) != k.inode(rootID) {
			t.Errorf("%s leaves %d files apart, %v; want the root alone", node, len(left.Kvs), err)
		}
		h.Close()
		// As if it had broken off: an entry of the first format again.
		write(k.inode(100), oldFile(inode{Mode: tree.ModeFile | 0o644, Version: 10, Created: 10, Owner: "alice", Data: []byte("text 0")}))
		write(k.dirent(entryKey{2, "f0"}), oldEntry(100, tree.ModeFile|0o644))
	}
}
