package named

import (
	"context"
	"encoding/json"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
)

const (
	loadTimeout = 2 * time.Minute  // for the largest realm from a slow disk
	treeTimeout = 30 * time.Second // for a caller without a deadline
)

// holder is the value of a leader's key.
type holder struct {
	Version  int    `json:"version"`
	Node     string `json:"node"`
	Boot     uint32 `json:"boot,omitempty"`
	Instance string `json:"instance"`
	Removing bool   `json:"removing,omitempty"`
}

func decodeHolder(b []byte) (h holder) {
	if json.Unmarshal(b, &h) != nil {
		h = holder{}
	}
	return h
}

// lead returns the term in which this node leads a realm, and tries to come to
// lead it. Callers that come together share one attempt; it does not end when
// one of them gives up.
func (t *Trees) lead(ctx context.Context, realm string) (*term, error) {
	if term := t.local(realm); term != nil {
		return term, nil
	}
	if !validRealm(realm) {
		return nil, noRealm(realm)
	}
	ctx, cancel := context.WithTimeout(ctx, treeTimeout)
	defer cancel()
	for {
		if term := t.local(realm); term != nil {
			return term, nil
		}
		f, err := t.fly(realm, false, t.campaign)
		if err != nil {
			return nil, err
		}
		select {
		case <-f.done:
			if f.err != nil {
				return nil, f.err
			}
		case <-ctx.Done():
			return nil, api.E(api.Unavailable, "named", realm, "this node is not ready to lead the realm yet: try again (%v)", ctx.Err())
		}
	}
}

// fly starts fn for a realm, or returns what is under way. With alone, that is
// an error.
func (t *Trees) fly(realm string, alone bool, fn func(ctx context.Context, realm string) (*term, error)) (*flight, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, api.E(api.Unavailable, "named", realm, "this node is stopping")
	}
	s := t.seats[realm]
	if s == nil {
		s = &seat{}
		t.seats[realm] = s
	}
	if s.flight != nil {
		if alone {
			return nil, api.E(api.Unavailable, "named", realm, "this node is busy with the realm: try again")
		}
		return s.flight, nil
	}
	f, old := &flight{done: make(chan struct{})}, s.term
	s.flight = f
	t.wg.Go(func() {
		if old != nil {
			old.end("the realm is about to be led anew")
			old.wg.Wait()
		}
		term, err := fn(t.ctx, realm)
		t.mu.Lock()
		s.flight, s.term = nil, term
		switch {
		case term == nil:
			delete(t.seats, realm)
		case t.closed:
			term.end("the leader is stopping")
		}
		t.mu.Unlock()
		f.err = err
		close(f.done)
		if term != nil {
			t.seeOff(s, term)
		}
	})
	return f, nil
}

// seeOff waits for the end of a term, forgets its tree and lets others lead.
func (t *Trees) seeOff(s *seat, term *term) {
	<-term.ended
	term.wg.Wait()
	t.mu.Lock()
	if s.term == term {
		s.term = nil
		if s.flight == nil {
			delete(t.seats, term.realm)
		}
	}
	t.mu.Unlock()
	if t.ctx.Err() == nil && !term.sess.isLost() {
		t.giveBack(term.realm, term.epoch)
	}
}

// campaign tries to become the leader.
func (t *Trees) campaign(ctx context.Context, realm string) (*term, error) {
	switch node, err := t.glance(ctx, realm); {
	case err != nil:
		return nil, etcdDown(realm, err)
	case node != "":
		return nil, notLeader(realm, node)
	}
	sess, err := t.session(ctx, realm)
	if err != nil {
		return nil, err
	}
	epoch, err := t.take(ctx, realm, sess, holder{Version: 1, Node: t.cfg.Node, Boot: t.cfg.Boot, Instance: t.instance})
	if err != nil {
		return nil, err
	}
	term, err := t.accede(ctx, realm, sess, epoch)
	if err != nil {
		t.giveBack(realm, epoch)
		return nil, err
	}
	return term, nil
}

// glance is the other node that leads a realm as far as the peer knows that this node
// asks; "" is none. Every proc that begins on a node asks that, as a rule while another
// node leads for hours, and etcd makes an entry in the log of each of its peers of a
// transaction that might have written: this asks one peer for what it has. Where that is
// out of date, by milliseconds, or for as long as a peer is cut off from the others, who
// dials that node is told so there, or reaches nobody, and asks again. No write goes by it.
func (t *Trees) glance(ctx context.Context, realm string) (node string, err error) {
	ctx, cancel := context.WithTimeout(urgent(ctx), t.cfg.attempt())
	defer cancel()
	resp, err := t.cfg.Etcd.Do(ctx, clientv3.OpGet(realmKeys(realm).leader(), clientv3.WithSerializable()))
	if err != nil || len(resp.Get().Kvs) == 0 {
		return "", err
	}
	if h := decodeHolder(resp.Get().Kvs[0].Value); h.Node != t.cfg.Node {
		node = h.Node
	}
	return node, nil
}

// take puts the leader's key, once it is free; its create revision is the epoch.
// A realm without a record has no leader.
func (t *Trees) take(ctx context.Context, realm string, sess *session, me holder) (epoch int64, err error) {
	value, err := json.Marshal(me)
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.WriteTimeout+t.cfg.LeaseTTL)
	defer cancel()
	key, record := realmKeys(realm).leader(), realmPrefix+realm
	for {
		cmps := []clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", 0)}
		if !me.Removing {
			cmps = append(cmps, clientv3.Compare(clientv3.CreateRevision(record), ">", 0))
		}
		resp, err := t.txn(ctx, clientv3.OpTxn(cmps,
			[]clientv3.Op{clientv3.OpPut(key, string(value), clientv3.WithLease(sess.id))},
			[]clientv3.Op{clientv3.OpGet(key), clientv3.OpGet(record, clientv3.WithCountOnly())}))
		if err != nil {
			return 0, etcdDown(realm, err)
		}
		if resp.Succeeded {
			return resp.Header.Revision, nil
		}
		kv := one(resp, 0)
		if kv == nil {
			if !me.Removing && resp.Responses[1].GetResponseRange().GetCount() == 0 {
				return 0, noRealm(realm)
			}
			continue // it was given back just now
		}
		h := decodeHolder(kv.Value)
		switch {
		case h.Instance == t.instance, h.Node == t.cfg.Node && h.Boot < t.cfg.Boot, me.Removing:
			// Ours, of a term that is over; of a process that is dead; or of
			// whoever leads a realm that is to be removed.
			err = t.takeAway(ctx, key, kv.CreateRevision)
		case h.Node == t.cfg.Node:
			err = t.awaitFree(ctx, key, resp.Header.Revision+1)
		default:
			return 0, notLeader(realm, h.Node)
		}
		if err != nil {
			return 0, etcdDown(realm, err)
		}
	}
}

// txn is one transaction with a bound.
func (t *Trees) txn(ctx context.Context, op clientv3.Op) (*clientv3.TxnResponse, error) {
	ctx, cancel := context.WithTimeout(urgent(ctx), t.cfg.attempt())
	defer cancel()
	resp, err := t.cfg.Etcd.Do(ctx, op)
	if err != nil {
		return nil, err
	}
	return resp.Txn(), nil
}

func (t *Trees) takeAway(ctx context.Context, key string, epoch int64) error {
	_, err := t.txn(ctx, clientv3.OpTxn([]clientv3.Cmp{clientv3.Compare(clientv3.CreateRevision(key), "=", epoch)}, []clientv3.Op{clientv3.OpDelete(key)}, nil))
	return err
}

// giveBack lets others lead, at once if etcd answers.
func (t *Trees) giveBack(realm string, epoch int64) {
	ctx, cancel := context.WithTimeout(context.Background(), t.cfg.attempt())
	defer cancel()
	if err := t.takeAway(ctx, realmKeys(realm).leader(), epoch); err != nil {
		t.cfg.Logger.Info("a realm could not be given back; that happens with this node's lease", "realm", realm, "err", err)
	}
}

// awaitFree waits for the key of an earlier process of this node to go.
func (t *Trees) awaitFree(ctx context.Context, key string, rev int64) error {
	wctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for resp := range t.cfg.Etcd.Watch(wctx, key, clientv3.WithRev(rev)) {
		if len(resp.Events) > 0 {
			return nil
		}
		if resp.Err() != nil {
			return resp.Err()
		}
	}
	return ctx.Err()
}

// session returns the node's lease; all who need it while it is being opened
// wait for one.
func (t *Trees) session(ctx context.Context, realm string) (*session, error) {
	t.mu.Lock()
	for t.opening != nil {
		f := t.opening
		t.mu.Unlock()
		<-f.done
		if f.err != nil {
			return nil, etcdDown(realm, f.err)
		}
		t.mu.Lock()
	}
	if t.sess != nil && !t.sess.isLost() {
		defer t.mu.Unlock()
		return t.sess, nil
	}
	f, old := &flight{done: make(chan struct{})}, t.sess
	t.opening = f
	t.mu.Unlock()
	if old != nil {
		old.close()
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
	defer cancel()
	s, err := openSession(ctx, &t.cfg)
	t.mu.Lock()
	t.opening, t.sess = nil, s
	t.mu.Unlock()
	f.err = err
	close(f.done)
	if err != nil {
		return nil, etcdDown(realm, err)
	}
	return s, nil
}
