package named

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// accede begins a term: it reads the tree as it was when the leader's key was
// made, and writes a first record, which reserves a block of file ids and ties
// the log to this term.
func (t *Trees) accede(ctx context.Context, realm string, sess *session, epoch int64) (*term, error) {
	ctx, cancel := context.WithTimeout(ctx, loadTimeout)
	defer cancel()
	defer context.AfterFunc(sess.ctx, cancel)() // without the lease there is no use in going on
	l := &loader{etcd: t.cfg.Etcd, keys: realmKeys(realm), rev: epoch, replays: t.cfg.Limits.Replays, log: t.cfg.Logger}
	got, err := l.load(ctx)
	if err != nil {
		return nil, api.E(api.Unavailable, "named", realm, "reading the realm's tree: %v", err)
	}
	term := t.newTerm(realm, sess, epoch, got)
	if err := term.first(ctx, got); err != nil {
		return nil, err
	}
	term.run()
	return term, nil
}

func (t *Trees) newTerm(realm string, sess *session, epoch int64, got *loaded) *term {
	term := &term{
		cfg: &t.cfg, limits: &t.cfg.Limits, realm: realm, keys: realmKeys(realm), epoch: epoch, sess: sess,
		queue: make(chan *change, queueLen), st: got.st, history: make(chan struct{}), ended: make(chan struct{}),
		logRev: got.logRev, pastRev: got.logRev, pastVersion: got.st.version,
	}
	term.hub = hub{limits: term.limits, byID: make(map[uint64]map[*watcher]struct{})}
	term.reap.wake = make(chan struct{}, 1)
	term.st.nextID = got.firstNew
	return term
}

// first writes the term's first record, and the root of a new realm.
func (t *term) first(ctx context.Context, got *loaded) error {
	st := t.st
	t.reserved = st.nextID + idBlock
	ops := []clientv3.Op{clientv3.OpPut(t.keys.ids(), string(encodeID(t.reserved)))}
	if st.nodes[rootID] == nil {
		root := newRoot(t.cfg.Clock.Now().UnixNano())
		st.version = max(st.version+1, 1)
		root.Version, root.Created = st.version, st.version
		st.nodes[rootID] = &node{inode: root}
		ops = append(ops, clientv3.OpPut(t.keys.inode(rootID), string(root.encode())))
	}
	err := t.send(urgent(ctx), ops, logRecord{version: st.version, replays: st.replayTail})
	if err == nil {
		err = t.convert(urgent(ctx), got.apart)
	}
	t.settleDown()
	if err != nil {
		return err
	}
	t.ring = ring{base: st.version, max: t.limits.Events}
	now := t.now()
	for _, l := range st.leases {
		l.deadline = now + l.ttl
		t.reap.watch(l)
	}
	return nil
}

// convert stores files of the first format, which are apart from their entries, as
// they are stored today. It may break off anywhere: the next leader goes on.
func (t *term) convert(ctx context.Context, apart []uint64) error {
	for len(apart) > 0 {
		var ops []clientv3.Op
		size, n := 0, 0
		for ; n < len(apart) && len(ops)+2 <= maxKeys && size < maxTxnBytes/4; n++ {
			if f := t.st.nodes[apart[n]]; f != nil { // else no path leads to it
				v := f.encode()
				ops = append(ops, clientv3.OpPut(t.keys.file(&f.inode), string(v)), clientv3.OpDelete(t.keys.inode(f.ID)))
				size += len(v)
			}
		}
		apart = apart[n:]
		if err := t.send(ctx, ops, logRecord{version: t.st.version, replays: t.st.replayTail}); err != nil {
			return err
		}
	}
	return nil
}
