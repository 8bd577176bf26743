package schedd

import (
	"errors"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/sched/be"
	"sigmaos/sched/node"
)

// dispatch gives slots to what fits, as long as something does.
func (s *Schedd) dispatch() {
	for {
		s.mu.Lock()
		p := s.nextLocked()
		if p == nil {
			s.mu.Unlock()
			return
		}
		p.state = api.Starting
		p.stamps.Placed = monotonic()
		s.total.Queued--
		s.total.Running++
		evict := p.evict
		lower, raise := s.boundLocked(p)
		s.mu.Unlock()
		failpoint.Hit("placed")
		if raise {
			s.boundBE(0)
		}
		if len(evict) > 0 || lower {
			s.wg.Add(1)
			go s.startAfter(p, evict)
			continue
		}
		s.getSlot(p, 3)
	}
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
		case <-v.done:
		case <-s.ctx.Done():
			return
		}
	}
	s.boundBE(freeing)
	s.getSlot(p, 3)
}

// tryLocked says why t could not take p now, or nil.
func (s *Schedd) tryLocked(t *node.Table, p *proc) error {
	const probe = "this proc"
	var err error
	if p.lc() {
		err = t.AdmitLC(probe, p.desc.MCPU, p.desc.Memory)
	} else {
		err = t.AdmitBE(probe, p.desc.Memory)
	}
	if err == nil {
		t.Release(probe)
	}
	return err
}

// nextLocked takes the next proc that fits: reserved ones first, in order.
func (s *Schedd) nextLocked() *proc {
	if s.closed {
		return nil
	}
	for i, p := range s.lc {
		if s.admitLCLocked(p) {
			s.lc = append(s.lc[:i:i], s.lc[i+1:]...)
			return p
		}
	}
	it, ok := s.cfg.Queue.Pop(be.Offer{Memory: s.cfg.Capacity.Offer()})
	if !ok {
		return nil
	}
	p := it.Payload.(*proc)
	if err := s.cfg.Capacity.AdmitBE(string(p.id), p.desc.Memory); err != nil {
		s.log.Error("the queue gave what the node cannot take", "proc", p.id, "err", err)
		return nil
	}
	return p
}

// admitLCLocked reserves for p; where best-effort procs hold the memory it
// notes which must end first.
func (s *Schedd) admitLCLocked(p *proc) bool {
	admit := func() error { return s.cfg.Capacity.AdmitLC(string(p.id), p.desc.MCPU, p.desc.Memory) }
	err := admit()
	var r *node.Refusal
	if errors.As(err, &r) && r.Evict {
		for _, id := range s.cfg.Capacity.Evict(p.desc.Memory) {
			if v := s.findLocked(api.ProcID(id)); v != nil {
				p.evict = append(p.evict, v)
			}
		}
		err = admit()
	}
	return err == nil
}
