package named

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"sigmaos/api"
)

// etcd ends the whole process when it cannot write to its database, and it
// writes when nobody asks it to. So a full disk must not be one for etcd: spare
// bytes behind the end of its database are allocated ahead of time, and writes
// of ours are refused while there is less than that left besides. Removing is
// always allowed; it is how people get out of it. And every few thousand changes,
// removals too, etcd writes a small file of its own, a snapshot, without which it ends:
// a file of ours keeps the room, and goes when that one comes.
const (
	spare        = 32 << 20
	reserveEvery = 10 * time.Second
	snapRoom     = 1 << 20  // what is kept for a snapshot, which is a list of the members
	snapLeast    = 64 << 10 // where that much is not there
)

// space watches the disk under one etcd directory.
type space struct {
	dir  string
	db   string
	kept string // the file that keeps the room for a snapshot

	yielded atomic.Bool // a snapshot is being written

	mu       sync.Mutex
	reserved time.Time // when the database's spare was last seen to
}

func newSpace(dir string) *space {
	return &space{dir: dir, db: filepath.Join(dir, "member", "snap", "db"), kept: filepath.Join(dir, "kept-for-a-snapshot")}
}

// keep takes the room for a snapshot, or as much of it as there is.
func (s *space) keep() {
	f, err := os.OpenFile(s.kept, os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return
	}
	defer f.Close()
	for n := int64(snapRoom); n >= snapLeast; n /= 2 {
		if unix.Fallocate(int(f.Fd()), 0, 0, n) == nil {
			return
		}
	}
}

// yield is called when etcd is about to write a snapshot. Until it says that it has,
// reserve takes nothing back.
func (s *space) yield() {
	s.yielded.Store(true)
	os.Remove(s.kept)
}

// again is called when the snapshot is written.
func (s *space) again() {
	s.yielded.Store(false)
	s.keep()
}

// reserve allocates what the database may need next. A file system that cannot
// is no error: then refusing writes has to do.
func (s *space) reserve() {
	if !s.yielded.Load() {
		s.keep()
	}
	f, err := os.OpenFile(s.db, os.O_WRONLY, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if st, err := f.Stat(); err == nil {
		unix.Fallocate(int(f.Fd()), unix.FALLOC_FL_KEEP_SIZE, 0, st.Size()+spare)
	}
}

// room is an error while the disk is too full for another write.
func (s *space) room() error {
	var st unix.Statfs_t
	if err := unix.Statfs(s.dir, &st); err != nil {
		return nil // etcd will say what is wrong
	}
	if left := int64(st.Bavail) * st.Bsize; left < spare {
		return api.E(api.Unavailable, "named", "", "the disk of %s is full: %d MiB are left, and %d are kept for what must be written; free some space there and try again",
			s.dir, left>>20, spare>>20)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now := time.Now(); now.Sub(s.reserved) > reserveEvery {
		s.reserved = now
		s.reserve()
	}
	return nil
}

// guarded is a client's KV that writes only while there is room.
type guarded struct {
	clientv3.KV
	s *space
}

func (g guarded) Put(ctx context.Context, key, val string, opts ...clientv3.OpOption) (*clientv3.PutResponse, error) {
	if err := g.s.room(); err != nil {
		return nil, err
	}
	return g.KV.Put(ctx, key, val, opts...)
}

// urgent marks writes that are done on a full disk too: those that take
// something away, and those without which nothing could be read.
func urgent(ctx context.Context) context.Context { return context.WithValue(ctx, urgentKey{}, true) }

type urgentKey struct{}

func (g guarded) Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error) {
	if ctx.Value(urgentKey{}) == nil && puts([]clientv3.Op{op}) {
		if err := g.s.room(); err != nil {
			return clientv3.OpResponse{}, err
		}
	}
	return g.KV.Do(ctx, op)
}

func (g guarded) Txn(ctx context.Context) clientv3.Txn {
	return &guardedTxn{Txn: g.KV.Txn(ctx), s: g.s}
}

type guardedTxn struct {
	clientv3.Txn
	s    *space
	puts bool
}

func (t *guardedTxn) If(cs ...clientv3.Cmp) clientv3.Txn {
	t.Txn = t.Txn.If(cs...)
	return t
}

func (t *guardedTxn) Then(ops ...clientv3.Op) clientv3.Txn {
	t.puts = t.puts || puts(ops)
	t.Txn = t.Txn.Then(ops...)
	return t
}

func (t *guardedTxn) Else(ops ...clientv3.Op) clientv3.Txn {
	t.puts = t.puts || puts(ops)
	t.Txn = t.Txn.Else(ops...)
	return t
}

func (t *guardedTxn) Commit() (*clientv3.TxnResponse, error) {
	if t.puts {
		if err := t.s.room(); err != nil {
			return nil, err
		}
	}
	return t.Txn.Commit()
}

func puts(ops []clientv3.Op) bool {
	for _, op := range ops {
		if op.IsPut() {
			return true
		}
		if op.IsTxn() {
			if _, then, other := op.Txn(); puts(then) || puts(other) {
				return true
			}
		}
	}
	return false
}

// free is what a directory's disk must have for a first start, bytes: two
// segments of the log and the database.
const free = 2*64<<20 + spare

// checkSpace says before etcd does, and more clearly, that it cannot start.
func checkSpace(dir string) error {
	if _, err := os.Stat(filepath.Join(dir, "member", "wal")); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return fmt.Errorf("named: %s: %w", dir, err)
	}
	if left := int64(st.Bavail) * st.Bsize; left < free {
		return fmt.Errorf("named: %s needs %d MiB to start with and its disk has %d left; free some space, or use another --data-dir", dir, free>>20, left>>20)
	}
	return nil
}
