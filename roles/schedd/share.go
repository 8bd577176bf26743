package schedd

import (
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/sched/quota"
)

// Shares are what the nodes may use of the realms' quotas, kept where all agree on
// them.
type Shares interface {
	// Grow has this node's share of a realm's quota hold need; it may get more. full
	// says that the quota does not allow it beside what others have.
	Grow(ctx context.Context, r api.Realm, need quota.Use) (share, others quota.Use, full bool, err error)
	// Set makes the share what this node uses.
	Set(ctx context.Context, realm string, use quota.Use) error
	// Recall has the other nodes give back what they do not use.
	Recall(ctx context.Context, realm string)
}

const (
	shareTime = 3 * time.Second // for a share to be settled
	// fullTime is how long a realm that met its quota is told so without another look at
	// what others have: who asks again and again costs the others nothing.
	fullTime = 100 * time.Millisecond
)

// share is this node's part of a realm's quota. Schedd.mu guards it; settle is held
// by who changes it in the table of all, and taken before that.
type share struct {
	settle chan struct{} // holds one
	use    quota.Use
	dirty  bool      // the table may say more than use: a change of it had no answer
	met    time.Time // when the quota was last used up, and …
	others quota.Use // … what others had of it then
}

// withinLocked is an error where the realm may not have one more such proc, and
// says that the share must grow for it to be known.
func (s *Schedd) withinLocked(r *realm, d *api.ProcDesc) (grow bool, err error) {
	q := r.rec.Quota
	if s.cfg.Shares == nil || !quota.Bounds(q) {
		return false, quota.Admit(q, r.use, d)
	}
	if err := quota.Admit(q, quota.Use{}, d); err != nil { // never
		return false, err
	}
	if quota.Within(q, r.use.Add(quota.Of(d)), r.share.use) {
		return false, nil
	}
	if time.Since(r.share.met) < fullTime {
		if err := quota.Admit(q, r.share.others.Add(r.use), d); err != nil {
			return false, err
		}
	}
	return true, nil
}

// grow gets a share for one more proc like d, or says why there is none. It waits
// for the table of all.
func (s *Schedd) grow(ctx context.Context, r *realm, d *api.ProcDesc) error {
	isFull, err := s.growOnce(ctx, r, d)
	if isFull {
		s.cfg.Shares.Recall(ctx, r.rec.ID)
		isFull, err = s.growOnce(ctx, r, d)
	}
	if !isFull || err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.share.met = time.Now()
	if err := quota.Admit(r.rec.Quota, r.share.others.Add(r.use), d); err != nil {
		return err
	}
	return api.E(api.Busy, "spawn", d.Program, "the realm's quota is used up at this moment; try again") // a proc has ended since
}

func (s *Schedd) growOnce(ctx context.Context, r *realm, d *api.ProcDesc) (full bool, err error) {
	if err := s.settleShare(ctx, r); err != nil {
		return false, err
	}
	defer func() { <-r.share.settle }()
	s.mu.Lock()
	rec, need := r.rec, r.use.Add(quota.Of(d))
	had, wasDirty := quota.Within(rec.Quota, need, r.share.use), r.share.dirty
	r.share.dirty = wasDirty || !had
	s.mu.Unlock()
	if had { // who grew it before has left some
		return false, nil
	}
	share, others, full, err := s.cfg.Shares.Grow(ctx, rec, need)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.share.others = others
	r.share.dirty = full && wasDirty
	if !full {
		r.share.use = share
	}
	return full, nil
}

// settleShare waits until nobody else changes the share.
func (s *Schedd) settleShare(ctx context.Context, r *realm) error {
	select {
	case r.share.settle <- struct{}{}:
		return nil
	case <-ctx.Done():
		return api.E(api.Unavailable, "quota", r.rec.Name, "how much of the realm's quota this node may use was not settled in %v", shareTime)
	}
}

// giveBack makes the share of a realm what is used here; all says also where it
// seems to be that already.
func (s *Schedd) giveBack(ctx context.Context, id string, all bool) error {
	s.mu.Lock()
	r := s.realms[id]
	s.mu.Unlock()
	if r == nil || s.cfg.Shares == nil {
		return nil
	}
	if err := s.settleShare(ctx, r); err != nil {
		return err
	}
	defer func() { <-r.share.settle }()
	s.mu.Lock()
	use, same := r.use, quota.Within(r.rec.Quota, r.share.use, r.use)
	settled := !r.share.dirty && (same && !all || use == (quota.Use{}) && r.share.use == use)
	if settled || !quota.Bounds(r.rec.Quota) {
		s.mu.Unlock()
		return nil
	}
	r.share.use, r.share.dirty = use, true // before others may have it
	s.mu.Unlock()
	if err := s.cfg.Shares.Set(ctx, id, use); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	r.share.dirty = false
	return nil
}

// Recount writes down anew what this node uses of all quotas: others may have taken
// it for dead, and what it had for free.
func (s *Schedd) Recount(ctx context.Context) (err error) {
	s.mu.Lock()
	var ids []string
	for id := range s.realms {
		ids = append(ids, id)
	}
	s.mu.Unlock()
	for _, id := range ids {
		if e := s.giveBack(ctx, id, true); e != nil && api.KindOf(e) != api.NotFound {
			err = e
		}
	}
	return err
}
