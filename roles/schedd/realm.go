package schedd

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"sigmaos/api"
	"sigmaos/sched/quota"
)

// realm is what this node knows of a tenant's procs. Schedd.mu guards it.
type realm struct {
	rec     api.Realm
	procs   map[api.ProcID]*proc // whose home this node is
	guests  map[api.ProcID]*proc // that run here and have another home
	ended   []*proc              // oldest first; what expireLocked forgets
	use     quota.Use            // of procs: queued and running
	share   share                // of the quota
	closing bool
	kept    bool         // what comes from elsewhere is kept on disk …
	admit   time.Time    // … and where not, when that was tried last
	waits   atomic.Int64 // under way, of the realm's callers for its procs; see enter
}

func newRealm(rec api.Realm) *realm {
	return &realm{rec: rec, procs: make(map[api.ProcID]*proc), guests: make(map[api.ProcID]*proc), share: share{settle: make(chan struct{}, 1)}}
}

// realmLocked is a realm by its id. A record that a guest has made before this node
// knew the realm (it has no name) is filled in.
func (s *Schedd) realmLocked(id string) (*realm, error) {
	r := s.realms[id]
	if r != nil && r.rec.Name != "" {
		s.keepLocked(r)
		return r, nil
	}
	rec, err := s.cfg.Realms.ByID(id) // from memory
	if err != nil {
		return r, err
	}
	if r == nil {
		r = newRealm(rec)
		s.realms[id] = r
	}
	r.rec = rec
	s.keepLocked(r)
	return r, nil
}

// admitAgain is how often a realm's place on the disk is tried again, while procs of
// it come.
const admitAgain = 100 * time.Millisecond

// keepLocked has the realm's programs kept on disk, where that is not so yet.
func (s *Schedd) keepLocked(r *realm) {
	if r.kept || time.Since(r.admit) < admitAgain {
		return
	}
	err, first := s.cfg.Store.Admit(r.rec.ID), r.admit.IsZero()
	r.kept, r.admit = err == nil, time.Now()
	switch {
	case err != nil && first:
		s.log.Warn("programs from elsewhere are not kept on disk", "realm", r.rec.ID, "err", err)
	case err == nil && !first:
		s.log.Info("programs from elsewhere are kept on disk again", "realm", r.rec.ID)
	}
}

// liveLocked lists what has not ended, guests included.
func (r *realm) liveLocked() (live []*proc) {
	for _, list := range []map[api.ProcID]*proc{r.procs, r.guests} {
		for _, p := range list {
			if !p.state.Final() {
				live = append(live, p)
			}
		}
	}
	return live
}

// expireLocked forgets records over the count or older than before.
func (r *realm) expireLocked(count int, before time.Time) (forgotten []*proc) {
	for len(r.ended) > 0 {
		p := r.ended[0]
		old := !before.IsZero() && p.created.Add(time.Duration(p.stamps.Ended-p.stamps.Spawn)).Before(before)
		if len(r.ended) <= count && !old {
			break
		}
		r.ended[0] = nil
		r.ended = r.ended[1:]
		delete(r.procs, p.id)
		forgotten = append(forgotten, p)
	}
	return forgotten
}

// find returns the caller's proc by id or unique prefix.
func (s *Schedd) find(c api.Caller, op, name string) (*proc, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	none := func() error {
		return api.E(api.NotFound, op, name, "no such proc in this realm; sigmactl ps -a lists them (records of ended ones are kept %v)", s.cfg.KeepFor)
	}
	r := s.realms[c.Realm]
	if r == nil || name == "" {
		return nil, none()
	}
	if p := r.procs[api.ProcID(name)]; p != nil {
		return p, nil
	}
	found := r.beginWithLocked(name)
	switch len(found) {
	case 0:
		return nil, none()
	case 1:
		return r.procs[found[0]], nil
	}
	return nil, ambiguous(op, name, found)
}

func (r *realm) beginWithLocked(prefix string) (ids []api.ProcID) {
	for id := range r.procs {
		if strings.HasPrefix(string(id), prefix) {
			ids = append(ids, id)
		}
	}
	return ids
}

func ambiguous(op, name string, found []api.ProcID) error {
	slices.Sort(found)
	return api.E(api.Invalid, op, name, "%d procs begin with that, among them %s and %s; give more letters", len(found), found[0], found[1])
}

// findLocked looks an id up in every realm.
func (s *Schedd) findLocked(id api.ProcID) *proc {
	for _, r := range s.realms {
		if p := r.procs[id]; p != nil {
			return p
		}
	}
	return nil
}

// State is that of a proc this node answers for; ok is false where it knows none
// of that id.
func (s *Schedd) State(id api.ProcID) (st api.State, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.findLocked(id)
	if p == nil {
		return "", false
	}
	return p.state, true
}

// janitor forgets old exit records and their output.
func (s *Schedd) janitor() {
	defer s.wg.Done()
	t := time.NewTicker(max(s.cfg.KeepFor/20, 100*time.Millisecond))
	defer t.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case now := <-t.C:
			s.mu.Lock()
			var old []*proc
			for _, r := range s.realms {
				old = append(old, r.expireLocked(s.cfg.KeepCount, now.Add(-s.cfg.KeepFor))...)
			}
			s.mu.Unlock()
			for _, p := range old {
				s.cfg.Logs.Forget(p.realm.rec.ID, string(p.id))
			}
		}
	}
}

func trimZero(v float64, digits int) string { return strconv.FormatFloat(v, 'f', digits, 64) }
