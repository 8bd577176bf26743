package roles

import (
	"context"
	"encoding/json"
	"slices"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/net/pki"
)

// removedNodes are those that the operator removed, as this node knows.
type removedNodes struct {
	mu  sync.RWMutex
	all map[uint16]string
}

func (r *removedNodes) set(all map[uint16]string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = all
}

func (r *removedNodes) has(number uint16) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	_, ok := r.all[number]
	return ok
}

func (r *removedNodes) named(node string) bool {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, n := range r.all {
		if n == node {
			return true
		}
	}
	return false
}

// checkRemoved refuses to start a node that was removed.
func (s *System) checkRemoved(ctx context.Context) error {
	all, _, err := named.ListRemoved(ctx, s.etcd)
	if err != nil {
		return err
	}
	s.removed.set(all)
	if p, ok := s.Identity.Peer(); ok && s.removed.has(p.Number) {
		return s.removedError()
	}
	return nil
}

// followRemoved keeps the set, turns removed nodes away, and ends this one when it
// is its turn.
func (s *System) followRemoved(undo *undoStack) {
	s.Port.Refuse(func(p pki.Peer) bool { return s.removed.has(p.Number) })
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		named.WatchRemoved(ctx, s.etcd, func(all map[uint16]string) {
			s.removed.set(all)
			if s.removed.has(s.nodeNum) {
				s.fail(s.removedError())
			}
		})
	}()
	undo.add(func() error { stop(); <-done; return nil })
}

// removeWait is how long node rm waits for etcd's peers to follow.
const removeWait = 15 * time.Second

// removeNode bars a node for ever and takes its etcd peer out.
func (s *System) removeNode(ctx context.Context, name string) (api.NodeRemoved, error) {
	out := api.NodeRemoved{Name: name}
	if name == s.Config.Node {
		return out, api.E(api.Invalid, "node rm", name, "that is the node which answers; ask another one (--context)")
	}
	members, err := named.Members(ctx, s.etcd)
	if err != nil {
		return out, api.E(api.Unavailable, "node rm", name, "etcd's peers: %v", err)
	}
	var others int
	for _, m := range members {
		if m.Voter && m.Node != name {
			others++
		}
	}
	if others == 0 {
		return out, api.E(api.Conflict, "node rm", name, "it has the only etcd peer; add nodes with the role named first")
	}
	if out.Number, err = named.RemoveNode(ctx, s.etcd, name); err != nil {
		return out, err
	}
	s.unclaim(ctx, name)
	s.event("", api.Event{Kind: api.EventRemoved, User: "operator", Detail: "node " + name})
	s.Log.Info("node removed", "node", name, "number", out.Number)
	for end := time.Now().Add(removeWait); time.Now().Before(end) && ctx.Err() == nil; {
		members, err := named.Members(ctx, s.etcd)
		out.Peer = err != nil || slices.ContainsFunc(members, func(m named.Member) bool { return m.Node == name })
		if !out.Peer {
			break
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
	return out, nil
}

// unclaim gives free what only one node of the cluster has, when that node is
// gone: its buckets and SQLite files are, too. The next node that starts with the
// role takes it over, empty.
func (s *System) unclaim(ctx context.Context, name string) {
	for _, what := range []string{s3Claim, dbClaim} {
		b, err := named.Claimed(ctx, s.etcd, what)
		var owner struct{ Node string }
		if err == nil && json.Unmarshal(b, &owner) == nil && owner.Node == name {
			err = named.Unclaim(ctx, s.etcd, what, b)
		}
		if err != nil {
			s.Log.Warn("what a removed node had", "node", name, "what", what, "err", err)
		}
	}
}
