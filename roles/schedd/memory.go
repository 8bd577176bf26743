package schedd

import (
	"errors"
	"syscall"
	"time"

	"sigmaos/runtime/slot"
)

// Best-effort procs have limits of their own, whose sum the table keeps within
// what latency-critical procs have not reserved. Their branch of the cgroups is
// bounded as a whole too: so an LC proc starts when what it was promised is free
// on the machine, and not when the procs that had it are said to have ended.
//
// The bound moves seldom. It is lowered when a reservation needs it, and raised
// when best-effort procs are given more than it allows; between these it may be
// anything, so that LC procs that come and go one after the other set nothing.
const (
	// branchRoom is beyond the procs' own limits: slots that rest, and pages that
	// the kernel frees late.
	branchRoom = 64 << 20
	// freeing is how long the memory of ended procs may take to be free.
	freeing = 2 * time.Second
)

// boundLocked decides what the bound must be with p admitted, and reports how
// it has to move before p starts. The other figures are those of place.Memory.
func (s *Schedd) boundLocked(p *proc, held int64, count int, unreserved int64) (lower, raise bool) {
	room := int64(branchRoom + count*slot.InitMemory)
	most := unreserved + room
	switch {
	case p.lc() && s.bound > most:
		lower = true
	case !p.lc() && s.bound < held+room:
		raise = true
	default:
		return false, false
	}
	s.bound = most
	return lower, raise
}

// boundBE makes the bound what it was last decided to be. Memory that is still
// in use is waited for, at most so long.
func (s *Schedd) boundBE(patience time.Duration) {
	set := func() error {
		s.boundMu.Lock()
		defer s.boundMu.Unlock()
		s.mu.Lock()
		bound := s.bound
		s.mu.Unlock()
		return s.cfg.Cgroups.SetBEMemory(bound)
	}
	end := time.Now().Add(patience)
	for wait := time.Millisecond; ; wait = min(2*wait, 50*time.Millisecond) {
		err := set()
		if err == nil {
			return
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			s.log.Warn("best-effort procs are not bounded in memory as they should be", "err", err)
			return
		}
		select {
		case <-s.ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
