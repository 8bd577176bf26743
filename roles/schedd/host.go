package schedd

import (
	"time"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/roles/place"
	"sigmaos/sched/quota"
)

// host is the node as the placement sees it: it runs procs, its own and guests,
// and is told what becomes of those whose home it is.
type host struct{ *Schedd }

// realmTime is how long a node may be behind the table of tenants.
const realmTime = 2 * time.Second

// homeLocked finds a proc whose home this is.
func (s *Schedd) homeLocked(realm string, id api.ProcID) *proc {
	if r := s.realms[realm]; r != nil {
		return r.procs[id]
	}
	return nil
}

// guestLocked makes the record of a proc whose home is another node. late says that
// its realm is not known here yet.
func (s *Schedd) guestLocked(o *place.Order) (p *proc, late bool) {
	r, err := s.realmLocked(o.Realm)
	if late = err != nil; late && r == nil {
		r = newRealm(api.Realm{ID: o.Realm})
		s.realms[o.Realm] = r
	}
	p = &proc{
		id: o.ID, desc: o.Desc, prog: o.Program, caller: api.Caller{Realm: o.Realm, User: o.User, Proc: o.Parent}, realm: r, guest: true,
		state: api.Starting, created: time.Now(),
	}
	p.tap = &tap{s: s, id: p.id}
	p.log = p.tap.sink()
	r.guests[p.id], s.live[p.id] = p, p
	return p, late
}

// Start starts a proc that was admitted here.
func (h host) Start(o *place.Order, evict []api.ProcID) {
	s := h.Schedd
	held, count, unreserved := s.place.Memory()
	now := monotonic()
	s.mu.Lock()
	p, late := s.homeLocked(o.Realm, o.ID), false
	if p == nil {
		p, late = s.guestLocked(o)
	} else {
		s.placedLocked(p, s.cfg.NodeNum, now)
	}
	if p.state.Final() { // its home, which is this node, has given it up meanwhile
		s.mu.Unlock()
		s.place.Ended(o.ID, place.Result{Status: api.Status{State: api.Refused, Message: "its home has given it up"}}, nil)
		return
	}
	p.stamps.Placed = now
	refuse := s.closed || p.realm.closing
	var victims []*proc
	for _, id := range evict {
		if v := s.live[id]; v != nil {
			victims = append(victims, v)
		}
	}
	lower, raise := s.boundLocked(p, held, count, unreserved)
	s.mu.Unlock()
	failpoint.Hit("placed")
	if refuse {
		s.leave(p, api.Status{State: api.Refused, Message: "the node is stopping, or the realm is being removed"}, nil)
		return
	}
	if p.guest && s.cfg.Favour != nil {
		home, _, _ := o.ID.Home()
		s.cfg.Favour(o.Realm, o.Program.Digest, s.nodeName(home))
	}
	if late {
		s.wg.Add(1)
		go s.startLate(p, victims, lower)
		return
	}
	if raise {
		s.boundBE(0)
	}
	if len(victims) > 0 || lower {
		s.wg.Add(1)
		go s.startAfter(p, victims)
		return
	}
	s.getSlot(p, 3)
}

// startLate waits until this node has heard of a realm that another one knows.
func (s *Schedd) startLate(p *proc, victims []*proc, lower bool) {
	defer s.wg.Done()
	for end := time.Now().Add(realmTime); ; time.Sleep(10 * time.Millisecond) {
		s.mu.Lock()
		_, err := s.realmLocked(p.caller.Realm)
		s.mu.Unlock()
		if err == nil {
			break
		}
		if time.Now().After(end) || s.ctx.Err() != nil {
			s.leave(p, api.Status{State: api.Refused, Message: "its realm is not known on node " + s.cfg.Info.Node}, nil)
			return
		}
	}
	if len(victims) > 0 || lower {
		s.wg.Add(1)
		s.startAfter(p, victims)
		return
	}
	s.getSlot(p, 3)
}

// startAfter ends the best-effort procs whose memory p was promised, and
// starts p when they are gone and best-effort procs are held to what is left.
func (s *Schedd) startAfter(p *proc, evict []*proc) {
	defer s.wg.Done()
	for _, v := range evict {
		s.end(v, api.Evicted, "made room for memory reserved by "+p.id.Short())
	}
	for _, v := range evict {
		select {
		case <-s.finality(v):
		case <-s.ctx.Done():
			return
		}
	}
	s.boundBE(freeing)
	s.getSlot(p, 3)
}

// End ends a proc that runs here.
func (h host) End(id api.ProcID, as api.State, reason string, grace time.Duration) {
	h.mu.Lock()
	p := h.live[id]
	h.mu.Unlock()
	switch {
	case p == nil:
	case grace > 0:
		h.ask(p, reason, grace)
	default:
		h.end(p, as, reason)
	}
}

// Kept tells that output of a guest has arrived.
func (h host) Kept(id api.ProcID, n int) {
	h.mu.Lock()
	p := h.live[id]
	h.mu.Unlock()
	if p != nil && p.guest {
		p.tap.kept(n)
	}
}

// ownLocked finds a proc of this home that is not final.
func (s *Schedd) ownLocked(id api.ProcID) *proc {
	if p := s.live[id]; p != nil && !p.guest && !p.state.Final() {
		return p
	}
	return nil
}

// overLocked takes a proc out of those that live, once it has ended for its home and
// is gone from this machine.
func (s *Schedd) overLocked(p *proc) {
	if p.state.Final() && (p.gone || p.node != s.cfg.NodeNum) {
		delete(s.live, p.id)
	}
}

// placedLocked notes that a node has taken a proc.
func (s *Schedd) placedLocked(p *proc, node uint16, now int64) {
	if p.state != api.Queued {
		return
	}
	p.state, p.node = api.Starting, node
	p.stamps.Placed = now
	s.total.Queued--
	s.total.Running++
}

// Placed tells that a node has taken a proc; Start has said so where it is this one.
func (h host) Placed(id api.ProcID, node uint16) {
	if node == h.cfg.NodeNum {
		return
	}
	now := monotonic()
	h.mu.Lock()
	defer h.mu.Unlock()
	if p := h.ownLocked(id); p != nil {
		h.placedLocked(p, node, now)
	}
}

// shifted are stamps of another machine on the clock of this one.
func (p *proc) shifted(t api.Stamps) api.Stamps {
	off := p.stamps.Placed - t.Placed
	for _, n := range []*int64{&t.Placed, &t.Slot, &t.Exec, &t.Started, &t.Ended} {
		if *n != 0 {
			*n += off
		}
	}
	t.Spawn = p.stamps.Spawn
	return t
}

// Running tells that a proc has said Started on another node.
func (h host) Running(id api.ProcID, t api.Stamps) {
	h.mu.Lock()
	defer h.mu.Unlock()
	p := h.ownLocked(id)
	if p == nil || p.node == h.cfg.NodeNum || p.state != api.Starting {
		return
	}
	p.state, p.stamps = api.Running, p.shifted(t)
	p.started.nowLocked()
}

// Output takes what a proc wrote on another node.
func (h host) Output(id api.ProcID, stream int, data []byte) {
	h.mu.Lock()
	p := h.ownLocked(id)
	h.mu.Unlock()
	if p != nil && stream >= 1 && stream <= 2 {
		p.log.Write(stream, data)
	}
}

// Finished makes a proc's status final, once.
func (h host) Finished(id api.ProcID, r place.Result) {
	s, now := h.Schedd, monotonic()
	s.mu.Lock()
	p := s.ownLocked(id)
	if p == nil {
		s.mu.Unlock()
		return
	}
	if p.state == api.Queued {
		s.total.Queued--
	} else {
		s.total.Running--
	}
	if p.node != s.cfg.NodeNum && p.node != 0 && r.Stamps.Placed != 0 {
		p.stamps, p.cpu, p.rss, p.denied = p.shifted(r.Stamps), time.Duration(r.CPU), r.RSS, r.Denied
		if r.Stamps.Started != 0 && p.state == api.Starting {
			p.started.nowLocked()
		}
	}
	st := r.Status
	p.state, p.status = st.State, st
	if p.stamps.Ended == 0 {
		p.stamps.Ended = now
	}
	s.total.Ended++
	s.total.Ends[st.State]++
	p.realm.use = p.realm.use.Sub(quota.Of(p.desc))
	s.overLocked(p)
	p.realm.ended = append(p.realm.ended, p)
	p.realm.expireLocked(s.cfg.KeepCount, time.Time{})
	if s.cfg.Event != nil { // before anybody who waits may forget the realm
		s.cfg.Event(p.realm.rec.ID, api.Event{Kind: api.EventEnded, Proc: p.id, User: p.caller.User, Detail: st.String()})
	}
	p.done.nowLocked()
	out := p.log
	if p.node != s.cfg.NodeNum {
		p.becomeRecordLocked()
	}
	s.mu.Unlock()
	out.Close()
	if s.cfg.Observe != nil {
		s.cfg.Observe.Ended(s.info(p))
	}
}
