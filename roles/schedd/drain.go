package schedd

import (
	"time"

	"sigmaos/api"
)

// AskAway asks the procs that run here to end within a time and for a reason: the
// latency-critical ones, whose owners start successors elsewhere, or all.
func (s *Schedd) AskAway(reason string, grace time.Duration, all bool) {
	s.mu.Lock()
	var ask []*proc
	for _, r := range s.realms {
		for _, p := range r.liveLocked() {
			if s.runsLocked(p) && (all || p.lc()) {
				ask = append(ask, p)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range ask {
		s.ask(p, reason, grace)
	}
}

// runsLocked says whether this node has taken p.
func (s *Schedd) runsLocked(p *proc) bool {
	return p.guest || p.state != api.Queued && p.node == s.cfg.NodeNum
}

// Depends counts the procs that run here, and those that have their home here and
// are elsewhere.
func (s *Schedd) Depends() (here, away int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.realms {
		for _, p := range r.liveLocked() {
			if s.runsLocked(p) {
				here++
			} else {
				away++
			}
		}
	}
	return here, away
}
