package ninep

import (
	"context"
	"math"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (s *server) leases() (tree.Leases, error) {
	l, ok := s.fs.(tree.Leases)
	if !ok {
		return nil, api.E(api.Unsupported, "lease", "", "there are no leases in this part of the name space")
	}
	return l, nil
}

func (m *sgrant) fids() uses { return uses{} }

func (m *sgrant) run(r *request) (message, error) {
	l, err := r.s.leases()
	if err != nil {
		return nil, err
	}
	if m.TTL > math.MaxInt64/uint64(time.Millisecond) {
		return nil, bad("lease", "%d ms are longer than anything lasts", m.TTL)
	}
	id, err := l.Grant(r.ctx, r.s.caller, time.Duration(m.TTL)*time.Millisecond)
	return &lease{ID: id}, err
}

func (m *srenew) fids() uses { return uses{} }

func (m *srenew) run(r *request) (message, error) {
	return m.on(r, func(ctx context.Context, l tree.Leases) error { return l.Renew(ctx, r.s.caller, m.ID) })
}

func (m *srevoke) fids() uses { return uses{} }

func (m *srevoke) run(r *request) (message, error) {
	return m.on(r, func(ctx context.Context, l tree.Leases) error { return l.Revoke(ctx, r.s.caller, m.ID) })
}

func (m *lease) on(r *request, do func(context.Context, tree.Leases) error) (message, error) {
	l, err := r.s.leases()
	if err == nil && len(m.ID) > maxID {
		err = api.E(api.NotFound, "lease", "", "there is no such lease")
	}
	if err != nil {
		return nil, err
	}
	return &empty{}, do(r.ctx, l)
}
