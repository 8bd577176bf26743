package named

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/naming/tree"
)

// Pages of a load are counted in keys but meant in bytes: each is asked for
// with what the last one's keys weighed.
const (
	loadBytes = 4 << 20
	loadFirst = 64
	loadMax   = 8192
)

// loader reads a realm's tree as it was at one revision: that of the key which
// made this node the leader. Nobody else can have written since.
type loader struct {
	etcd Etcd
	keys keys
	rev  int64
	log  *slog.Logger

	st    *state
	names map[string]string // users, so that each is in memory once
	lost  int               // what is there but does not fit together
}

// loaded is a tree and where its log stands.
type loaded struct {
	st       *state
	log      *logRecord // nil in a realm that was never written
	logRev   int64
	firstNew uint64 // no leader has reserved ids from here on
}

func (l *loader) load(ctx context.Context) (*loaded, error) {
	l.st, l.names = newState(), make(map[string]string)
	out := &loaded{st: l.st, firstNew: rootID + 1}
	if err := l.heads(ctx, out); err != nil {
		return nil, err
	}
	for _, part := range []struct {
		prefix string
		each   func(key string, value []byte) error
	}{{"i/", l.inode}, {"d/", l.dirent}, {"l/", l.lease}, {"r/", l.replay}} {
		if err := l.pages(ctx, string(l.keys)+part.prefix, part.each); err != nil {
			return nil, err
		}
	}
	l.count()
	if out.log != nil {
		l.st.version = out.log.version
	}
	if l.lost > 0 {
		l.log.Error("parts of a realm's tree do not fit together and are left out", "prefix", string(l.keys), "parts", l.lost)
	}
	return out, nil
}

// heads reads the log and the id counter.
func (l *loader) heads(ctx context.Context, out *loaded) error {
	resp, err := l.etcd.Do(ctx, clientv3.OpTxn(nil, []clientv3.Op{
		clientv3.OpGet(l.keys.log(), clientv3.WithRev(l.rev)), clientv3.OpGet(l.keys.ids(), clientv3.WithRev(l.rev)),
	}, nil))
	if err != nil {
		return err
	}
	if kv := one(resp.Txn(), 0); kv != nil {
		rec, err := decodeLog(kv.Value)
		if err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
		out.log, out.logRev = &rec, kv.ModRevision
	}
	if kv := one(resp.Txn(), 1); kv != nil {
		if out.firstNew, err = decodeID(kv.Value); err != nil {
			return fmt.Errorf("%s: %w", kv.Key, err)
		}
	}
	return nil
}

// pages calls each with all keys below prefix, cut behind it.
func (l *loader) pages(ctx context.Context, prefix string, each func(string, []byte) error) error {
	end := clientv3.GetPrefixRangeEnd(prefix)
	limit := int64(loadFirst)
	for from := prefix; ; {
		resp, err := l.etcd.Do(ctx, clientv3.OpGet(from, clientv3.WithRange(end), clientv3.WithLimit(limit), clientv3.WithRev(l.rev)))
		if err != nil {
			return err
		}
		kvs, size := resp.Get().Kvs, 0
		for _, kv := range kvs {
			if err := each(strings.TrimPrefix(string(kv.Key), prefix), kv.Value); err != nil {
				return fmt.Errorf("%s: %w", kv.Key, err)
			}
			size += len(kv.Key) + len(kv.Value)
		}
		if !resp.Get().More || len(kvs) == 0 {
			return nil
		}
		from = string(kvs[len(kvs)-1].Key) + "\x00"
		limit = min(max(int64(loadBytes/(size/len(kvs)+1)), 16), loadMax, 4*limit)
	}
}

func (l *loader) intern(s string) string {
	if old, ok := l.names[s]; ok {
		return old
	}
	l.names[s] = s
	return s
}

func (l *loader) inode(key string, value []byte) error {
	id, ok := parseHex16(key)
	if !ok {
		return errDamaged
	}
	in, err := decodeInode(id, value)
	if err != nil {
		return err
	}
	in.Owner = l.intern(in.Owner)
	if len(in.Data) == 0 {
		in.Data = nil // which would keep the whole value
	}
	l.st.nodes[id] = &node{inode: in}
	return nil
}

func (l *loader) dirent(key string, value []byte) error {
	e, ok := parseDirent(key)
	if !ok {
		return errDamaged
	}
	id, _, err := decodeDirent(value)
	if err != nil {
		return err
	}
	parent, n := l.st.nodes[e.parent], l.st.nodes[id]
	if parent == nil || !parent.isDir() || n == nil || n.Parent != 0 || id == rootID {
		l.lost++
		return nil
	}
	n.Parent, n.Name = e.parent, strings.Clone(e.name) // not the whole key with it
	l.st.link(parent, n.Name, n)
	return nil
}

func (l *loader) lease(key string, value []byte) error {
	rec, err := decodeLease(value)
	if err != nil {
		return err
	}
	l.st.addLease(key, rec, 0) // its time begins when the term does
	return nil
}

func (l *loader) replay(key string, value []byte) error {
	p, err := decodeReplay(value)
	if err != nil {
		return err
	}
	var ok bool
	if p.seq, ok = parseHex16(key); !ok {
		return errDamaged
	}
	l.st.replays[p.key], l.st.replayKeys[p.seq] = p, p.key
	l.st.replayNext = max(l.st.replayNext, p.seq+1)
	return nil
}

// count leaves out what no path leads to, and sums up the rest.
func (l *loader) count() {
	st := l.st
	reached := make(map[uint64]bool, 1)
	n := 0
	st.walk(rootID, func(*node) { n++ })
	if n < len(st.nodes) {
		st.walk(rootID, func(n *node) { reached[n.ID] = true })
		for id := range st.nodes {
			if !reached[id] {
				delete(st.nodes, id)
				l.lost++
			}
		}
	}
	for id, n := range st.nodes {
		if id != rootID {
			st.files++
			st.bytes += n.cost()
		}
		if le := st.leases[n.Lease]; le != nil {
			le.files[id] = struct{}{}
		}
	}
}

// walk calls fn with a file and all below it.
func (st *state) walk(id uint64, fn func(*node)) {
	n := st.nodes[id]
	if n == nil {
		return
	}
	fn(n)
	if n.kids != nil {
		n.kids.Ascend(func(e entry) bool {
			st.walk(e.n.ID, fn)
			return true
		})
	}
}

// newRoot is the root of a realm that has none: every user may add to it.
func newRoot(now int64) inode {
	return inode{ID: rootID, Version: 1, Created: 1, Mode: tree.ModeDir | 0o775, Modified: now}
}
