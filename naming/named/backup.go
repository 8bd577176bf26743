package named

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// A backup is what the realms are: their records, settings, names and registered
// procs, all at one revision of etcd. What belongs to a cluster is not in it: its
// keys, its nodes, who leads. So it can be brought back into another cluster.
//
// The format is a line "sigma-backup 1", a line of JSON (BackupInfo), records of
// u32 key length, u32 value length, key and value, little-endian, then a key
// length of 2^32-1 and the SHA-256 of everything before that.

const (
	backupTag   = "sigma-backup 1\n"
	backupEnd   = 1<<32 - 1
	maxHead     = 4 << 10
	maxKey      = 32 << 10
	maxValue    = 2 << 20
	restoreOps  = 100 // in one transaction, and
	restoreSize = 1 << 20
)

// backedUp are the prefixes of what is kept, in the order in which it is brought
// back: a realm's record last, for without one nobody leads the realm.
var backedUp = []string{treePrefix, settingsPrefix, initPrefix, namePrefix, realmPrefix}

// BackupInfo heads a backup.
type BackupInfo struct {
	Cluster  string    `json:"cluster"`
	Time     time.Time `json:"time"`
	Revision int64     `json:"revision"`
	Sigmad   string    `json:"sigmad"` // version
	Keys     int64     `json:"keys,omitempty"`
	Bytes    int64     `json:"bytes,omitempty"`
}

// Backup writes one to w.
func Backup(ctx context.Context, c *clientv3.Client, w io.Writer, info BackupInfo) (BackupInfo, error) {
	r, err := c.Get(ctx, clusterKey, clientv3.WithCountOnly())
	if err != nil {
		return info, api.E(api.Unavailable, "backup", "", "%v", err)
	}
	info.Revision, info.Time = r.Header.Revision, time.Now().UTC()
	head, err := json.Marshal(info)
	if err != nil {
		return info, err
	}
	sum := sha256.New()
	buf := bufio.NewWriterSize(io.MultiWriter(w, sum), 64<<10)
	buf.WriteString(backupTag)
	buf.Write(append(head, '\n'))
	for _, prefix := range backedUp {
		err := pagesAt(ctx, c, prefix, info.Revision, func(key, value []byte) error {
			if strings.HasPrefix(string(key), treePrefix) && strings.HasSuffix(string(key), "/leader") {
				return nil
			}
			info.Keys, info.Bytes = info.Keys+1, info.Bytes+int64(len(key)+len(value))
			return writeRecord(buf, key, value)
		})
		if err != nil {
			return info, api.E(api.Unavailable, "backup", "", "reading %s: %v (a backup that takes longer than five minutes finds that etcd has compacted it)", prefix, err)
		}
	}
	var end [4]byte
	binary.LittleEndian.PutUint32(end[:], backupEnd)
	buf.Write(end[:])
	if err := buf.Flush(); err != nil {
		return info, err
	}
	_, err = w.Write(sum.Sum(nil))
	return info, err
}

func writeRecord(w io.Writer, key, value []byte) error {
	var h [8]byte
	binary.LittleEndian.PutUint32(h[:], uint32(len(key)))
	binary.LittleEndian.PutUint32(h[4:], uint32(len(value)))
	w.Write(h[:])
	w.Write(key)
	_, err := w.Write(value)
	return err
}

// pagesAt calls each with all that was below prefix at a revision.
func pagesAt(ctx context.Context, c *clientv3.Client, prefix string, rev int64, each func(key, value []byte) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	limit := int64(loadFirst)
	for from := prefix; ; {
		r, err := c.Get(ctx, from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(rev))
		if err != nil {
			if limit > 16 && ctx.Err() == nil { // maybe more than one answer holds
				limit = 16
				continue
			}
			return err
		}
		size := 0
		for _, kv := range r.Kvs {
			size += len(kv.Key) + len(kv.Value)
			if err := each(kv.Key, kv.Value); err != nil {
				return err
			}
		}
		if !r.More || len(r.Kvs) == 0 {
			return nil
		}
		from = string(r.Kvs[len(r.Kvs)-1].Key) + "\x00"
		limit = min(max(int64(loadBytes/(size/len(r.Kvs)+1)), 16), loadMax, 4*limit)
	}
}

// hashed reads and counts in.
type hashed struct {
	r   *bufio.Reader
	sum hash.Hash
}

func (h *hashed) full(b []byte) error {
	if _, err := io.ReadFull(h.r, b); err != nil {
		return damaged("it ends too early")
	}
	h.sum.Write(b)
	return nil
}

func damaged(format string, args ...any) error {
	return api.E(api.Invalid, "restore", "", "the backup is damaged: "+format, args...)
}

// ReadBackup reads one to its end and calls each, which may be nil, with every
// key. It believes nothing: only a read without an error has seen a whole backup,
// so that who wants to write reads twice.
func ReadBackup(r io.Reader, each func(key, value []byte) error) (info BackupInfo, err error) {
	h := &hashed{r: bufio.NewReaderSize(r, 64<<10), sum: sha256.New()}
	tag := make([]byte, len(backupTag))
	if err := h.full(tag); err != nil || string(tag) != backupTag {
		return info, api.E(api.Invalid, "restore", "", "this is no backup of version 1 (its first line is %q)", tag)
	}
	var head []byte
	for len(head) == 0 || head[len(head)-1] != '\n' {
		b := make([]byte, 1)
		if err := h.full(b); err != nil {
			return info, err
		}
		if head = append(head, b[0]); len(head) > maxHead {
			return info, damaged("its head has more than %d bytes", maxHead)
		}
	}
	if err := json.Unmarshal(head, &info); err != nil {
		return info, damaged("its head: %v", err)
	}
	info.Keys, info.Bytes = 0, 0
	for {
		var l [8]byte
		if err := h.full(l[:4]); err != nil {
			return info, err
		}
		k := binary.LittleEndian.Uint32(l[:])
		if k == backupEnd {
			break
		}
		if err := h.full(l[4:]); err != nil {
			return info, err
		}
		v := binary.LittleEndian.Uint32(l[4:])
		if k == 0 || k > maxKey || v > maxValue {
			return info, damaged("a key of %d bytes with %d bytes", k, v)
		}
		b := make([]byte, k+v)
		if err := h.full(b); err != nil {
			return info, err
		}
		if !restorable(string(b[:k])) {
			return info, damaged("it holds the key %.80q", b[:k])
		}
		info.Keys, info.Bytes = info.Keys+1, info.Bytes+int64(len(b))
		if each != nil {
			if err := each(b[:k:k], b[k:]); err != nil {
				return info, err
			}
		}
	}
	want := h.sum.Sum(nil)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(h.r, got); err != nil || !bytes.Equal(got, want) {
		return info, damaged("its checksum is wrong")
	}
	return info, nil
}

func restorable(key string) bool {
	for _, p := range backedUp {
		if strings.HasPrefix(key, p) && len(key) > len(p) && !(p == treePrefix && strings.HasSuffix(key, "/leader")) {
			return true
		}
	}
	return false
}

// Restore brings a backup back into an etcd without realms. It must have been
// read whole before.
func Restore(ctx context.Context, c *clientv3.Client, r io.Reader) (BackupInfo, error) {
	n, err := c.Get(ctx, realmPrefix, clientv3.WithPrefix(), clientv3.WithCountOnly())
	if err != nil {
		return BackupInfo{}, api.E(api.Unavailable, "restore", "", "%v", err)
	}
	if n.Count > 0 {
		return BackupInfo{}, api.E(api.Conflict, "restore", "", "there are %d realms", n.Count)
	}
	var ops []clientv3.Op
	size := 0
	flush := func() error {
		if len(ops) == 0 {
			return nil
		}
		_, err := c.Txn(ctx).Then(ops...).Commit()
		ops, size = ops[:0], 0
		return err
	}
	info, err := ReadBackup(r, func(key, value []byte) error {
		if len(ops) >= restoreOps || size+len(key)+len(value) > restoreSize {
			if err := flush(); err != nil {
				return err
			}
		}
		size += len(key) + len(value)
		ops = append(ops, clientv3.OpPut(string(key), string(value)))
		return nil
	})
	if err == nil {
		err = flush()
	}
	var ours *api.Error
	if err != nil && !errors.As(err, &ours) {
		err = api.E(api.Unavailable, "restore", "", "it is not complete, run it again with --replace: %v", err)
	}
	return info, err
}

// Untouched reports whether nobody has put anything into a realm's root.
func Untouched(ctx context.Context, c *clientv3.Client, realm string) (bool, error) {
	prefix := realmKeys(realm).dirent(entryKey{parent: rootID})
	r, err := c.Get(ctx, prefix, clientv3.WithPrefix(), clientv3.WithKeysOnly(), clientv3.WithLimit(int64(len(reserved)+1)))
	if err != nil {
		return false, fmt.Errorf("named: %w", err)
	}
	for _, kv := range r.Kvs {
		if !reserved[strings.TrimPrefix(string(kv.Key), prefix)] {
			return false, nil
		}
	}
	return true, nil
}
