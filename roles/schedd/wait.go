package schedd

import (
	"context"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/failpoint"
)

const defaultGrace = 5 * time.Second

// Each wait under way costs sigmad about 2 KiB, and a channel may have 16,384
// requests under way: so many bounds, or a realm's procs could use up the node.
const (
	maxWaits     = 1 << 15 // of a realm
	maxWaitKills = 16      // of a proc
)

// enter counts a wait; leave must follow unless it is an error.
func (r *realm) enter(op, id string) error {
	if n := r.waits.Add(1); n > maxWaits {
		r.waits.Add(-1)
		return api.E(api.Busy, op, id, "the realm has %d waits under way; end some first", maxWaits)
	}
	return nil
}

func (r *realm) leave() { r.waits.Add(-1) }

// procHandler serves a proc's own channel: what it says of itself is about p,
// and it cannot change realm.
type procHandler struct {
	*Schedd
	p *proc
}

func (h procHandler) Started(api.Caller) {
	failpoint.Hit("started")
	h.mu.Lock()
	p := h.p
	first := p.state == api.Starting
	if first {
		p.state = api.Running
		p.stamps.Started = monotonic()
		p.started.nowLocked()
	}
	stamps := p.stamps
	h.mu.Unlock()
	if first && p.guest {
		h.place.Began(p.id, stamps)
	}
}

func (h procHandler) Exited(_ api.Caller, e wire.Exit) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.p.reported != nil {
		return api.E(api.Exists, "exited", string(h.p.id), "it said so before")
	}
	h.p.reported = &e
	return nil
}

func (h procHandler) WaitKill(ctx context.Context, _ api.Caller) (wire.Target, error) {
	h.mu.Lock()
	asked := h.p.askedLocked()
	h.p.waitKills++
	n := h.p.waitKills
	h.mu.Unlock()
	defer func() {
		h.mu.Lock()
		h.p.waitKills--
		h.mu.Unlock()
	}()
	if n > maxWaitKills {
		return wire.Target{}, api.E(api.Busy, "waitkill", string(h.p.id), "%d wait for that already; one is enough", maxWaitKills)
	}
	select {
	case <-asked:
		h.mu.Lock()
		defer h.mu.Unlock()
		return wire.Target{Reason: h.p.reason, GraceMS: h.p.grace.Milliseconds()}, nil
	case <-ctx.Done():
		return wire.Target{}, canceled("waitkill", string(h.p.id))
	}
}

func (h procHandler) EnterRealm(c api.Caller, name string) (api.Caller, error) {
	return c, api.E(api.Denied, "realm", name, "a proc stays in the realm it was started in")
}

func (p *proc) askedLocked() chan struct{} {
	if p.asked == nil {
		p.asked = make(chan struct{})
	}
	return p.asked
}

// Callers outside are no procs.
func (s *Schedd) Started(api.Caller) {}

// Exited is refused to callers that are no procs.
func (s *Schedd) Exited(api.Caller, wire.Exit) error { return notAProc("exited") }

// WaitKill is refused to callers that are no procs.
func (s *Schedd) WaitKill(context.Context, api.Caller) (wire.Target, error) {
	return wire.Target{}, notAProc("waitkill")
}

func notAProc(op string) error {
	return api.E(api.Denied, op, "", "only a proc can say that, on its descriptor 3")
}

func canceled(op, id string) error {
	return api.E(api.Canceled, op, id, "the caller stopped waiting")
}

// EnterRealm lets an operator act in a realm.
func (s *Schedd) EnterRealm(c api.Caller, name string) (api.Caller, error) {
	if !c.Operator {
		return c, api.E(api.NotFound, "realm", name, "no such realm")
	}
	r, err := s.cfg.Realms.Get(name)
	if err != nil {
		return c, err
	}
	c.Realm = r.ID
	return c, nil
}

// WaitStart returns nil when the proc said Started, its status if it ended
// before.
func (s *Schedd) WaitStart(ctx context.Context, c api.Caller, id string) (*api.Status, error) {
	_, node, whole, err := s.locate(ctx, c, "waitstart", id)
	switch {
	case err != nil:
		return nil, err
	case node == s.cfg.NodeNum:
		return s.waitStart(ctx, c, id)
	}
	return s.waitThere(ctx, node, peerAsk{Caller: c, ID: whole, Start: true})
}

// waitThere waits at a proc's home. If that falls silent the wait ends with an error.
func (s *Schedd) waitThere(ctx context.Context, node uint16, q peerAsk) (*api.Status, error) {
	var st peerStatus
	err := s.askNode(ctx, node, PeerWait, q, &st)
	if err != nil && ctx.Err() != nil {
		err = canceled("wait", q.ID)
	}
	return st.Status, err
}

func (s *Schedd) waitStart(ctx context.Context, c api.Caller, id string) (*api.Status, error) {
	p, err := s.find(c, "waitstart", id)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	come := p.started.come // also when it has ended meanwhile
	s.mu.Unlock()
	if come {
		return nil, nil
	}
	if err := p.realm.enter("waitstart", id); err != nil {
		return nil, err
	}
	defer p.realm.leave()
	s.mu.Lock()
	started, done := p.started.waitLocked(), p.done.waitLocked()
	s.mu.Unlock()
	select {
	case <-started:
		return nil, nil
	case <-done:
		select {
		case <-started:
			return nil, nil
		default:
			return &p.status, nil
		}
	case <-ctx.Done():
		return nil, canceled("waitstart", id)
	}
}

// WaitExit returns the proc's final status.
func (s *Schedd) WaitExit(ctx context.Context, c api.Caller, id string) (api.Status, error) {
	_, node, whole, err := s.locate(ctx, c, "waitexit", id)
	switch {
	case err != nil:
		return api.Status{}, err
	case node == s.cfg.NodeNum:
		return s.waitExit(ctx, c, id)
	}
	st, err := s.waitThere(ctx, node, peerAsk{Caller: c, ID: whole})
	if st == nil {
		st = new(api.Status)
	}
	return *st, err
}

func (s *Schedd) waitExit(ctx context.Context, c api.Caller, id string) (api.Status, error) {
	p, err := s.find(c, "waitexit", id)
	if err != nil {
		return api.Status{}, err
	}
	s.mu.Lock()
	come := p.done.come
	s.mu.Unlock()
	if come {
		return p.status, nil
	}
	if err := p.realm.enter("waitexit", id); err != nil {
		return api.Status{}, err
	}
	defer p.realm.leave()
	select {
	case <-s.finality(p):
		return p.status, nil
	case <-ctx.Done():
		return api.Status{}, canceled("waitexit", id)
	}
}

// Kill asks a proc to end and ends it by force after the grace. A proc that
// has ended is no error.
func (s *Schedd) Kill(c api.Caller, t wire.Target) error {
	ctx, cancel := context.WithTimeout(s.ctx, killTime)
	defer cancel()
	_, node, whole, err := s.locate(ctx, c, "kill", t.ID)
	switch {
	case err != nil:
		return err
	case node == s.cfg.NodeNum:
		return s.killOwn(c, t)
	}
	t.ID = whole
	return s.askNode(ctx, node, PeerKill, peerAsk{Caller: c, Target: t}, nil)
}

// killTime bounds how long another node may take to hear of a kill.
const killTime = 5 * time.Second

// killOwn is Kill for a proc whose home this is.
func (s *Schedd) killOwn(c api.Caller, t wire.Target) error {
	p, err := s.find(c, "kill", t.ID)
	if err != nil {
		return err
	}
	grace := time.Duration(t.GraceMS) * time.Millisecond
	if t.GraceMS < 0 {
		grace = defaultGrace
	}
	if t.GraceMS > 24*3600*1000 {
		return api.E(api.Invalid, "kill", t.ID, "a grace of %v; at most 24 h", grace)
	}
	by := t.Reason
	if by == "" {
		by = "killed by " + c.User
		if c.Proc != "" {
			by = "killed by proc " + c.Proc.Short()
		} else if c.User == "" {
			by = "killed by the operator"
		}
	}
	s.tell(c, api.Event{Kind: api.EventKilled, Proc: p.id, Detail: by})
	s.place.Kill(p.id, api.Killed, by, grace)
	return nil
}

// ask tells a proc that is here through WaitKill and arms the force.
func (s *Schedd) ask(p *proc, reason string, grace time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.gone || p.state.Final() {
		return
	}
	if p.reason == "" {
		p.reason, p.grace = reason, grace
		close(p.askedLocked())
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(grace, func() { s.end(p, api.Killed, reason) })
}

// kill ends a proc by force, wherever it is.
func (s *Schedd) kill(p *proc, reason string) {
	if p.guest {
		s.end(p, api.Killed, reason)
		return
	}
	s.place.Kill(p.id, api.Killed, reason, 0)
}

// end ends by force a proc that is here.
func (s *Schedd) end(p *proc, as api.State, reason string) {
	s.mu.Lock()
	if p.gone || p.state.Final() {
		s.mu.Unlock()
		return
	}
	if p.ending == "" {
		p.ending, p.reason = as, reason
	}
	sl, seq := p.slot, p.seq
	s.mu.Unlock()
	if sl == nil { // waits for a slot; begin will see that it is gone
		s.leave(p, api.Status{State: as, Message: reason}, nil)
		return
	}
	if err := sl.Signal(seq, syscall.SIGKILL); err != nil {
		s.log.Warn("slot does not take a kill", "proc", p.id, "err", err)
		sl.Close()
	}
}
