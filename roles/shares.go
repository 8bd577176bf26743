package roles

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/net/gossip"
	"sigmaos/roles/schedd"
	"sigmaos/sched/quota"
)

// awayTime is for how long a node must have been taken for dead until what it had
// of the realms' quotas is free: by then its procs have ended, or are given up.
const awayTime = 5 * time.Second

// shares are the nodes' parts of the realms' quotas, whose tables are in etcd. A
// node that goes away leaves its part to whoever needs it next. One that was only
// cut off meanwhile finds that out when it sees the others again.
type shares struct {
	s    *System
	born time.Time

	mu   sync.Mutex
	away map[uint16]time.Time // when a node was taken for dead; zero: it said goodbye
}

// scheddShares are the shares as the schedd needs them; nil where there can be no
// other node.
func (s *System) scheddShares(undo *undoStack) schedd.Shares {
	if s.Gossip == nil {
		return nil
	}
	x := &shares{s: s, born: time.Now(), away: make(map[uint16]time.Time)}
	stop := s.Gossip.Subscribe(x.see)
	undo.add(func() error { stop(); return nil })
	return x
}

// see notes who goes away.
func (x *shares) see(e gossip.Event) {
	x.mu.Lock()
	defer x.mu.Unlock()
	switch n := e.Member.Number; e.Type {
	case gossip.Left:
		x.away[n] = time.Time{}
	case gossip.Failed:
		x.away[n] = time.Now()
	case gossip.Joined:
		delete(x.away, n)
	}
}

// gone says whether that boot of a node has ended.
func (x *shares) gone(node uint16, boot uint32) bool {
	if node == x.s.nodeNum {
		return boot != x.s.boot
	}
	if m, here := x.s.Gossip.Lookup(node); here {
		return boot < m.Boot
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	since, known := x.away[node]
	if !known { // it was not there when this node came
		since = x.born
	}
	return time.Since(since) > awayTime
}

// Grow implements schedd.Shares.
func (x *shares) Grow(ctx context.Context, r api.Realm, need quota.Use) (share, others quota.Use, full bool, err error) {
	err = named.ChangeShares(ctx, x.s.etcd, r.ID, func(old []byte) ([]byte, error) {
		t, err := quota.Decode(old)
		if err != nil {
			return nil, err
		}
		t = t.Without(x.gone)
		others = t.Others(x.s.nodeNum, x.s.boot)
		var ok bool
		t, share, ok = t.Grow(r.Quota, x.s.nodeNum, x.s.boot, need)
		if full = !ok; full {
			return old, nil
		}
		return t.Encode()
	})
	return share, others, full, err
}

// Set implements schedd.Shares.
func (x *shares) Set(ctx context.Context, realm string, use quota.Use) error {
	return named.ChangeShares(ctx, x.s.etcd, realm, func(old []byte) ([]byte, error) {
		t, err := quota.Decode(old)
		if err != nil {
			return nil, err
		}
		return t.Without(x.gone).Set(x.s.nodeNum, x.s.boot, use).Encode()
	})
}

// Recall implements schedd.Shares.
func (x *shares) Recall(ctx context.Context, realm string) {
	b, err := json.Marshal(map[string]string{"id": realm})
	if err == nil {
		x.s.askAll(ctx, schedd.PeerShare, b)
	}
}

// recountTime is until a recount that failed is tried again.
const recountTime = time.Second

// followShares has this node write down anew what it uses of the quotas when it sees
// a node that it did not see: they may have taken each other for dead.
func (s *System) followShares(undo *undoStack) {
	if s.Gossip == nil {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	seen := make(chan struct{}, 1)
	stop := s.Gossip.Subscribe(func(e gossip.Event) {
		if e.Type != gossip.Joined || e.Member.Number == s.nodeNum {
			return
		}
		select {
		case seen <- struct{}{}:
		default:
		}
	})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-ctx.Done():
				return
			case <-seen:
			}
			for s.recount(ctx) != nil {
				select {
				case <-ctx.Done():
					return
				case <-time.After(recountTime):
				}
			}
		}
	}()
	undo.add(func() error { stop(); cancel(); <-done; return nil })
}

func (s *System) recount(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, claimTime)
	defer cancel()
	err := s.Schedd.Recount(ctx)
	if err != nil && ctx.Err() == nil {
		s.Log.Warn("what this node uses of the realms' quotas", "err", err)
	}
	return err
}
