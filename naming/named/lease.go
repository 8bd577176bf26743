package named

import (
	"crypto/rand"
	"strings"
	"time"

	"sigmaos/api"
)

const maxLeaseID = 32

// leaseRecord is the stored part of a tenant's lease.
type leaseRecord struct {
	user string
	proc api.ProcID
	ttl  time.Duration
}

// lease is a tenant's lease in its leader's memory. When it ends is known only
// there: another leader gives it a full TTL.
type lease struct {
	leaseRecord
	id       string
	files    map[uint64]struct{}
	deadline time.Duration // on the term's clock
	ending   bool          // nothing new may join it
}

func clampTTL(ns uint64) time.Duration {
	return min(max(time.Duration(min(ns, uint64(maxLease))), minLease), maxLease)
}

func newLeaseID() string { return strings.ToLower(rand.Text()) }

func (st *state) addLease(id string, rec leaseRecord, now time.Duration) {
	l := &lease{leaseRecord: rec, id: id, files: make(map[uint64]struct{}), deadline: now + rec.ttl}
	st.leases[id] = l
	if rec.proc != "" {
		p := string(rec.proc)
		if st.holders[p] == nil {
			st.holders[p] = make(map[string]*lease)
		}
		st.holders[p][id] = l
	}
}

func (st *state) dropLease(id string) {
	l := st.leases[id]
	if l == nil {
		return
	}
	delete(st.leases, id)
	p := string(l.proc)
	delete(st.holders[p], id)
	if len(st.holders[p]) == 0 {
		delete(st.holders, p)
	}
}

// lease is a lease's record, or nil.
func (s *stage) lease(id string) *leaseRecord {
	if rec, ok := s.leases[id]; ok {
		return rec
	}
	if l := s.st.leases[id]; l != nil {
		return &l.leaseRecord
	}
	return nil
}

func (s *stage) ending(id string) bool {
	l := s.st.leases[id]
	return l != nil && l.ending
}

// grant makes a lease.
func (s *stage) grant(r *req, id string, ttl time.Duration) error {
	n := len(s.st.leases)
	for _, rec := range s.leases {
		if rec != nil {
			n++
		}
	}
	if n >= s.limits.Leases {
		return r.err(api.Busy, "", "the realm has %d leases and may not have more", s.limits.Leases)
	}
	s.leases[id] = &leaseRecord{user: r.c.User, proc: r.c.Proc, ttl: clampTTL(uint64(max(ttl, 0)))}
	return nil
}

// revokeStep is the most files that one transaction removes with their lease.
const revokeStep = 30

// revoke removes files of a lease, and with the last ones the lease; more
// reports that there are others. An absent lease is no error: it has ended.
func (s *stage) revoke(id string) (more bool) {
	if s.lease(id) == nil {
		return false
	}
	files := s.leased(id, revokeStep+1)
	for i, f := range files {
		if i == revokeStep {
			return true
		}
		s.drop(f)
	}
	s.leases[id] = nil
	return false
}

// leased are files of a lease, at most limit.
func (s *stage) leased(id string, limit int) (out []uint64) {
	if l := s.st.leases[id]; l != nil {
		for f := range l.files {
			if len(out) == limit {
				return out
			}
			if s.get(f) != nil {
				out = append(out, f)
			}
		}
	}
	// Files made in this batch are in the state only once it is committed.
	for f, d := range s.drafts {
		if len(out) < limit && d.Lease == id && !d.removed && !d.orphan && s.st.nodes[f] == nil {
			out = append(out, f)
		}
	}
	return out
}

// revokeKeys bounds the keys that revoke touches: for each file an inode, an
// entry and a directory.
func (s *stage) revokeKeys(id string) int {
	return 3*min(revokeStep, len(s.leased(id, revokeStep))) + 1
}
