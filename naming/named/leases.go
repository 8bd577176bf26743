package named

import (
	"context"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

var _ tree.Leases = (*realmFS)(nil)

// Grant implements tree.Leases.
func (fs *realmFS) Grant(ctx context.Context, c api.Caller, ttl time.Duration) (string, error) {
	r := &req{c: &c, op: "lease grant", path: ""}
	if err := fs.term.admit(r); err != nil {
		return "", err
	}
	if ttl < 0 {
		return "", r.err(api.Invalid, "", "a lease of %v; it lives from %v to %v without a renewal", ttl, minLease, maxLease)
	}
	id := newLeaseID()
	if err := fs.term.do(ctx, &change{req: r, fn: func(s *stage) error { return s.grant(r, id, ttl) }}); err != nil {
		return "", err
	}
	return id, nil
}

// Renew implements tree.Leases.
func (fs *realmFS) Renew(ctx context.Context, c api.Caller, id string) error {
	r := &req{c: &c, op: "lease renew", path: show(id)}
	if err := fs.term.admit(r); err != nil {
		return err
	}
	return fs.term.update(ctx, func(st *state) error {
		l, err := st.held(r, id)
		if err == nil {
			l.deadline = fs.term.now() + l.ttl
		}
		return err
	})
}

// Revoke implements tree.Leases.
func (fs *realmFS) Revoke(ctx context.Context, c api.Caller, id string) error {
	r := &req{c: &c, op: "lease revoke", path: show(id)}
	if err := fs.term.admit(r); err != nil {
		return err
	}
	err := fs.term.update(ctx, func(st *state) error {
		l, err := st.held(r, id)
		if err == nil {
			l.ending = true
		}
		return err
	})
	if err != nil {
		return err
	}
	if err := fs.term.revoke(ctx, id); err != nil {
		fs.term.retryRevoke(id)
		return err
	}
	return nil
}

// held finds a lease of the caller. One of somebody else is as absent as one
// that has ended.
func (st *state) held(r *req, id string) (*lease, error) {
	l := st.leases[id]
	if l == nil || l.ending || !r.holds(&l.leaseRecord) {
		return nil, r.err(api.NotFound, "", "you have no such lease (it may have run out)")
	}
	return l, nil
}

// procEnded ends the leases of a proc.
func (t *term) procEnded(ctx context.Context, proc api.ProcID) error {
	var ids []string
	err := t.update(ctx, func(st *state) error {
		for id, l := range st.holders[string(proc)] {
			l.ending = true
			ids = append(ids, id)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, id := range ids {
		if err := t.revoke(ctx, id); err != nil {
			t.retryRevoke(id)
			return err
		}
	}
	return nil
}
