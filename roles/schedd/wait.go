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
	defer h.mu.Unlock()
	if h.p.state == api.Starting {
		h.p.state = api.Running
		h.p.stamps.Started = monotonic()
		close(h.p.started)
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
	p, err := s.find(c, "waitstart", id)
	if err != nil {
		return nil, err
	}
	select {
	case <-p.started: // also when it has ended meanwhile
		return nil, nil
	default:
	}
	if err := p.realm.enter("waitstart", id); err != nil {
		return nil, err
	}
	defer p.realm.leave()
	select {
	case <-p.started:
		return nil, nil
	case <-p.done:
		select {
		case <-p.started:
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
	p, err := s.find(c, "waitexit", id)
	if err != nil {
		return api.Status{}, err
	}
	select {
	case <-p.done:
		return p.status, nil
	default:
	}
	if err := p.realm.enter("waitexit", id); err != nil {
		return api.Status{}, err
	}
	defer p.realm.leave()
	select {
	case <-p.done:
		return p.status, nil
	case <-ctx.Done():
		return api.Status{}, canceled("waitexit", id)
	}
}

// Kill asks a proc to end and ends it by force after the grace. A proc that
// has ended is no error.
func (s *Schedd) Kill(c api.Caller, t wire.Target) error {
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
	if grace > 0 && s.ask(p, by, grace) {
		return nil
	}
	s.end(p, api.Killed, by)
	return nil
}

// ask tells the proc through WaitKill and arms the force; false means that
// there is nobody to ask yet.
func (s *Schedd) ask(p *proc, reason string, grace time.Duration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p.state.Final() {
		return true
	}
	if p.state == api.Queued {
		return false
	}
	if p.reason == "" {
		p.reason, p.grace = reason, grace
		close(p.askedLocked())
	}
	if p.timer != nil {
		p.timer.Stop()
	}
	p.timer = time.AfterFunc(grace, func() { s.end(p, api.Killed, reason) })
	return true
}

// end ends p by force wherever it is.
func (s *Schedd) end(p *proc, as api.State, reason string) {
	s.mu.Lock()
	if p.state.Final() {
		s.mu.Unlock()
		return
	}
	if p.ending == "" {
		p.ending, p.reason = as, reason
	}
	if p.state == api.Queued {
		if p.lc() {
			for i, q := range s.lc {
				if q == p {
					s.lc = append(s.lc[:i:i], s.lc[i+1:]...)
					break
				}
			}
		} else {
			s.cfg.Queue.Remove(string(p.id))
		}
		s.mu.Unlock()
		s.finish(p, api.Status{State: as, Message: reason})
		return
	}
	sl, seq := p.slot, p.seq
	s.mu.Unlock()
	if sl == nil { // waits for a slot; begin will see that it is final
		s.finish(p, api.Status{State: as, Message: reason})
		s.dispatch()
		return
	}
	if err := sl.Signal(seq, syscall.SIGKILL); err != nil {
		s.log.Warn("slot does not take a kill", "proc", p.id, "err", err)
		sl.Close()
	}
}
