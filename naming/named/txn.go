package named

import (
	"context"
	"errors"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

// commit writes a stage as one transaction. It compares two things: the epoch,
// so that nothing is written once another leads; and the log's revision, which
// ties each transaction to the one before it. So a transaction can be sent
// again as often as its outcome is unknown (an answer that was lost, a time
// that ran out): it takes effect once or never, and a late copy of it never.
//
// If that stays unknown, the term ends: the next one reads what there is.
func (t *term) commit(ctx context.Context, s *stage) error {
	reserve := uint64(0)
	if s.nextID > t.reserved {
		reserve = s.nextID + idBlock
	}
	ops, tail := s.ops(t.keys, reserve)
	t.cfg.hooks.pause()
	if s.shrinks() {
		ctx = urgent(ctx)
	}
	if err := t.send(ctx, ops, logRecord{version: s.version, events: s.events, replays: tail}); err != nil {
		return err
	}
	if reserve > 0 {
		t.reserved = reserve
	}
	return nil
}

// send adds the log to operations, and what makes them happen once or never.
func (t *term) send(ctx context.Context, ops []clientv3.Op, rec logRecord) error {
	k := t.keys
	t.seq++
	rec.epoch, rec.seq = t.epoch, t.seq
	ops = append(ops, clientv3.OpPut(k.log(), string(rec.encode())))
	cmps := []clientv3.Cmp{k.isEpoch(t.epoch), clientv3.Compare(clientv3.ModRevision(k.log()), "=", t.logRev)}
	if t.cfg.hooks.noFence && t.seq > 1 {
		cmps = nil
	}
	rev, err := t.attempts(ctx, clientv3.OpTxn(cmps, ops, []clientv3.Op{clientv3.OpGet(k.leader()), clientv3.OpGet(k.log())}))
	if err == nil {
		t.logRev = rev
	}
	return err
}

// attempts sends a transaction until its outcome is known, and returns its
// revision.
func (t *term) attempts(ctx context.Context, txn clientv3.Op) (rev int64, err error) {
	deadline := time.Now().Add(t.cfg.WriteTimeout)
	known := true // that no attempt is under way or may have been done
	for {
		actx, cancel := context.WithDeadline(ctx, earlier(time.Now().Add(t.cfg.attempt()), deadline))
		resp, err := t.cfg.Etcd.Do(actx, txn)
		cancel()
		if err == nil && resp.Txn().Succeeded {
			return resp.Txn().Header.Revision, nil
		}
		if err == nil {
			return t.judge(resp.Txn())
		}
		if refused := refusal(err); refused != nil && known {
			return 0, refused
		}
		known = false
		if errors.Is(err, rpctypes.ErrNoSpace) {
			return t.noSpace(ctx)
		}
		t.unsettle()
		switch {
		case ctx.Err() != nil || t.sess.isLost():
			t.end("the term ended while a write was under way")
			return 0, t.unavailable("the realm's leader changes while the write is under way; whether it happened is not known")
		case !time.Now().Before(deadline):
			t.end("etcd did not answer a write")
			return 0, t.unavailable("etcd did not answer the write within %v (%v): it has no quorum, or its disk is very slow; whether the write happened is not known", t.cfg.WriteTimeout, err)
		}
		select {
		case <-time.After(20 * time.Millisecond):
		case <-ctx.Done():
		}
	}
}

// judge is for a transaction whose comparisons failed: an earlier copy was
// committed, or this node does not lead any more.
func (t *term) judge(resp *clientv3.TxnResponse) (int64, error) {
	leader, log := one(resp, 0), one(resp, 1)
	if log != nil {
		if rec, err := decodeLog(log.Value); err == nil && rec.epoch == t.epoch && rec.seq == t.seq {
			return log.ModRevision, nil
		}
	}
	if leader == nil || leader.CreateRevision != t.epoch {
		t.end("another node leads the realm now")
	} else {
		t.cfg.Logger.Error("the realm's log was written by somebody who does not lead it", "realm", t.realm, "epoch", t.epoch)
		t.end("the realm's log is not as this leader left it")
	}
	return 0, t.endErr
}

// noSpace is for etcd's answer that its quota is used up: it gives it to
// transactions that were done, and to those that were not.
func (t *term) noSpace(ctx context.Context) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
	defer cancel()
	resp, err := t.cfg.Etcd.Do(ctx, clientv3.OpTxn(nil, []clientv3.Op{clientv3.OpGet(t.keys.leader()), clientv3.OpGet(t.keys.log())}, nil))
	if err != nil {
		t.end("etcd is full, and whether the write happened is not known")
		return 0, t.endErr
	}
	leader, log := one(resp.Txn(), 0), one(resp.Txn(), 1)
	if leader != nil && leader.CreateRevision == t.epoch && log != nil && log.ModRevision == t.logRev {
		return 0, api.E(api.Busy, "named", t.realm, "etcd's database is full: nothing can be written before an operator frees space and clears the alarm (files can still be read)")
	}
	return t.judge(resp.Txn())
}

// refusal is an answer which means that nothing was done nor will be.
func refusal(err error) error {
	var ours *api.Error
	if errors.As(err, &ours) { // no room on the disk: etcd was not asked
		return ours
	}
	for _, e := range []error{rpctypes.ErrRequestTooLarge, rpctypes.ErrTooManyOps, rpctypes.ErrDuplicateKey, rpctypes.ErrEmptyKey} {
		if errors.Is(err, e) {
			return api.E(api.Internal, "named", "", "etcd refuses the transaction: %v", err)
		}
	}
	return nil
}

// unsettle holds back all answers until settleDown.
func (t *term) unsettle() {
	if t.unsettled.Load() == nil {
		c := make(chan struct{})
		t.unsettled.Store(&c)
	}
}

// settleDown lets answers go again. Leases could not be renewed meanwhile.
func (t *term) settleDown() {
	if c := t.unsettled.Load(); c != nil {
		t.refreshLeases()
		t.unsettled.Store(nil)
		close(*c)
	}
}

// one is the key that the i-th operation of a transaction read, if it is there.
func one(resp *clientv3.TxnResponse, i int) *mvccpb.KeyValue {
	if i < len(resp.Responses) {
		if kvs := resp.Responses[i].GetResponseRange().GetKvs(); len(kvs) > 0 {
			return kvs[0]
		}
	}
	return nil
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}
