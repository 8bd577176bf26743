package memfs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// Longest time that a lease may have without Renew, and most elections whose
// terms are remembered.
const (
	maxTTL    = 24 * time.Hour
	maxEpochs = 1024
)

// lease keeps files for as long as it is renewed; fs.mu guards it.
type lease struct {
	id    string
	user  string
	proc  api.ProcID
	ttl   time.Duration
	round int // counts renewals: a timer of an earlier one does nothing
	stop  func() bool
	nodes map[*node]struct{}
}

// Grant makes a lease for c.
func (fs *FS) Grant(_ context.Context, c api.Caller, ttl time.Duration) (string, error) {
	if ttl <= 0 || ttl > maxTTL {
		return "", api.E(api.Invalid, "lease", ttl.String(), "a lease lasts more than nothing and at most %v", maxTTL)
	}
	var b [16]byte
	rand.Read(b[:])
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if fs.closed {
		return "", errClosed
	}
	if len(fs.leases) >= fs.o.Leases {
		return "", api.E(api.Busy, "lease", "", "the tree has all the %d leases that it may have", fs.o.Leases)
	}
	l := &lease{id: hex.EncodeToString(b[:]), user: c.User, proc: c.Proc, ttl: ttl, nodes: make(map[*node]struct{})}
	fs.leases[l.id] = l
	fs.armLocked(l)
	return l.id, nil
}

func (fs *FS) armLocked(l *lease) {
	l.round++
	round := l.round
	l.stop = fs.o.After(l.ttl, func() {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		if fs.leases[l.id] == l && l.round == round {
			fs.endLocked(l)
		}
	})
}

// Renew gives the lease its whole time again.
func (fs *FS) Renew(_ context.Context, c api.Caller, id string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	l, err := fs.leaseLocked("renew", c, id)
	if err != nil {
		return err
	}
	l.stop()
	fs.armLocked(l)
	return nil
}

// Revoke ends the lease and its files.
func (fs *FS) Revoke(_ context.Context, c api.Caller, id string) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	l, err := fs.leaseLocked("revoke", c, id)
	if err != nil {
		return err
	}
	l.stop()
	fs.endLocked(l)
	return nil
}

// leaseLocked returns c's lease; another's looks like none.
func (fs *FS) leaseLocked(op string, c api.Caller, id string) (*lease, error) {
	if fs.closed {
		return nil, errClosed
	}
	l := fs.leases[id]
	if l == nil || !c.Operator && (l.user != c.User || l.proc != c.Proc) {
		return nil, api.E(api.NotFound, op, "", "there is no such lease; it may have run out")
	}
	return l, nil
}

func (fs *FS) endLocked(l *lease) {
	delete(fs.leases, l.id)
	for n := range l.nodes {
		fs.removeLocked(n)
	}
}

// sawTerm remembers the latest term of an election.
func (fs *FS) sawTerm(f tree.Fence) error {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	if len(f.Path) > 4096 {
		return api.E(api.TooLarge, "attach", "", "an election's path has at most 4096 bytes here")
	}
	if _, known := fs.epochs[f.Path]; !known && len(fs.epochs) >= maxEpochs {
		return api.E(api.Busy, "attach", f.Path, "the tree knows %d elections already", maxEpochs)
	}
	fs.epochs[f.Path] = max(fs.epochs[f.Path], f.Epoch)
	return nil
}

// fencedLocked refuses writes of a deposed leader.
func (f *file) fencedLocked(op string) error {
	if f.fence == nil {
		return nil
	}
	if last := f.fs.epochs[f.fence.Path]; last > f.fence.Epoch {
		return f.e(api.Conflict, op, "the term of the election is over: a later one was won")
	}
	return nil
}
