package named

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// etcdAlone is an etcd of this test's own.
func etcdAlone(t *testing.T) *clientv3.Client {
	t.Helper()
	dir := t.TempDir()
	p, err := StartPeer(context.Background(), PeerConfig{Name: "n1", DataDir: filepath.Join(dir, "data"), RunDir: dir,
		Logger: slog.New(slog.DiscardHandler), Tick: 20 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p.Client()
}

func TestBackupAndRestore(t *testing.T) {
	ctx := context.Background()
	from := etcdAlone(t)
	big := strings.Repeat("x", 1<<20)
	kept := map[string]string{
		realmPrefix + "r1": "{}", namePrefix + "shop": "r1", treePrefix + "r1/log": "log", treePrefix + "r1/i/1": big,
		treePrefix + "r1/i/2": "", settingsPrefix + "s3/r1": "secret", initPrefix + "r1/front": "{}",
	}
	left := map[string]string{treePrefix + "r1/leader": "n1", clusterKey: "keys", "/sigma/v1/nodes/n1": "1", systemKey: "3"}
	for _, m := range []map[string]string{kept, left} {
		for k, v := range m {
			if _, err := from.Put(ctx, k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	var file bytes.Buffer
	info, err := Backup(ctx, from, &file, BackupInfo{Cluster: "c1"})
	if err != nil || info.Keys != int64(len(kept)) {
		t.Fatalf("Backup = %+v, %v; want %d keys", info, err, len(kept))
	}
	to := etcdAlone(t)
	if got, err := Restore(ctx, to, bytes.NewReader(file.Bytes())); err != nil || got.Keys != info.Keys || got.Cluster != "c1" {
		t.Fatalf("Restore = %+v, %v", got, err)
	}
	all, err := to.Get(ctx, "/sigma/", clientv3.WithPrefix())
	if err != nil || len(all.Kvs) != len(kept) {
		t.Fatalf("there are %d keys, %v; want %d", len(all.Kvs), err, len(kept))
	}
	for _, kv := range all.Kvs {
		if want := kept[string(kv.Key)]; string(kv.Value) != want {
			t.Errorf("%s has %d bytes, want %d", kv.Key, len(kv.Value), len(want))
		}
	}
	if _, err := Restore(ctx, to, bytes.NewReader(file.Bytes())); api.KindOf(err) != api.Conflict {
		t.Errorf("Restore over realms: %v, want a conflict", err)
	}
	for name, b := range map[string][]byte{
		"cut":             file.Bytes()[:file.Len()/2],
		"without its sum": file.Bytes()[:file.Len()-1],
		"one bit":         flipBit(file.Bytes(), file.Len()/2),
		"in its sum":      flipBit(file.Bytes(), file.Len()-3),
		"something else":  []byte("hello"),
	} {
		if _, err := ReadBackup(bytes.NewReader(b), nil); api.KindOf(err) != api.Invalid {
			t.Errorf("%s: ReadBackup = %v, want invalid", name, err)
		}
	}
}

func flipBit(b []byte, i int) []byte {
	b = bytes.Clone(b)
	b[i] ^= 4
	return b
}

func FuzzReadBackup(f *testing.F) {
	var b bytes.Buffer
	b.WriteString(backupTag + "{}\n")
	writeRecord(&b, []byte(realmPrefix+"r1"), []byte("{}"))
	f.Add(b.Bytes())
	f.Add([]byte(backupTag + "{}\n\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ReadBackup(bytes.NewReader(b), func(key, _ []byte) error {
			if !restorable(string(key)) {
				return errors.New("not restorable")
			}
			return nil
		})
	})
}
