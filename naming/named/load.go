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
	etcd    Etcd
	keys    keys
	rev     int64
	replays int // that are remembered
	log     *slog.Logger

	st      *state
	entries []*node           // in the order of their keys
	apart   []uint64          // files of the first format, which are not at their entries' keys
	names   map[string]string // users, so that each is in memory once
	lost    int               // what is there but does not fit together
}

// loaded is a tree and where its log stands.
type loaded struct {
	st       *state
	log      *logRecord // nil in a realm that was never written
	logRev   int64
	firstNew uint64 // no leader has reserved ids from here on
	apart    []uint64
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
	}{{"i/", l.inode}, {"d/", l.entry}, {"l/", l.lease}, {"r/", l.group}} {
		if err := l.pages(ctx, string(l.keys)+part.prefix, part.each); err != nil {
			return nil, err
		}
	}
	l.link()
	l.count()
	if out.log != nil {
		l.st.version = out.log.version
		l.st.replayTail = out.log.replays
		l.remember(out.log.replays)
	}
	if next := l.st.replayNext; next > uint64(l.replays) {
		for seq := range l.st.replayKeys {
			if seq < next-uint64(l.replays) {
				l.st.forget(seq)
			}
		}
	}
	out.apart = l.apart
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

// inode is the root, or a file of the first format.
func (l *loader) inode(key string, value []byte) error {
	id, ok := parseHex16(key)
	if !ok {
		return errDamaged
	}
	in, err := decodeInode(id, value)
	if err != nil {
		return err
	}
	if in.ID != id {
		return errDamaged
	}
	l.node(in)
	return nil
}

func (l *loader) node(in inode) *node {
	in.Owner = l.intern(in.Owner)
	if len(in.Data) == 0 {
		in.Data = nil // which would keep the whole value
	}
	n := &node{inode: in}
	l.st.nodes[in.ID] = n
	return n
}

func (l *loader) entry(key string, value []byte) error {
	e, ok := parseDirent(key)
	if !ok {
		return errDamaged
	}
	in, apart, err := decodeEntry(value)
	if err != nil {
		return err
	}
	n := l.st.nodes[in.ID]
	switch {
	case in.ID == rootID || n != nil && n.Parent != 0 || apart && n == nil:
		l.lost++
		return nil
	case apart:
		l.apart = append(l.apart, in.ID)
	default:
		n = l.node(in)
	}
	n.Parent, n.Name = e.parent, strings.Clone(e.name) // not the whole key with it
	l.entries = append(l.entries, n)
	return nil
}

// link puts the entries into their directories.
func (l *loader) link() {
	for _, n := range l.entries {
		dir := l.st.nodes[n.Parent]
		if dir == nil || !dir.isDir() {
			continue // no path leads to it
		}
		l.st.link(dir, n.Name, n)
		if n.Entered > dir.Version {
			dir.Version, dir.Modified = n.Entered, n.EnteredAt
		}
	}
	l.entries = nil
}

func (l *loader) lease(key string, value []byte) error {
	rec, err := decodeLease(value)
	if err != nil {
		return err
	}
	l.st.addLease(key, rec, 0) // its time begins when the term does
	return nil
}

func (l *loader) group(key string, value []byte) error {
	seq, ok := parseHex16(key)
	if !ok {
		return errDamaged
	}
	list, err := decodeReplays(seq, value)
	if err != nil {
		return err
	}
	if n := uint64(len(list)); n > 0 {
		l.st.groups = append(l.st.groups, replayGroup{seq, seq + n - 1})
	}
	l.remember(list)
	return nil
}

func (l *loader) remember(list []replay) {
	for _, p := range list {
		l.st.replays[p.key], l.st.replayKeys[p.seq] = p, p.key
		l.st.replayNext = max(l.st.replayNext, p.seq+1)
	}
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
