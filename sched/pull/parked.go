package pull

import (
	"time"

	"sigmaos/sched/be"
)

// tries bounds how many parked nodes are looked at for one proc.
const tries = 16

// tell chooses a parked node that could take it, and parks it no more.
func (s *Shard) tell(now time.Duration, it be.Item) (node uint16, ok bool) {
	p := s.nodes[s.own]
	if p == nil || !p.parked || !p.suits(it) {
		p = find(s.slots, it)
	}
	// Of a realm with a long queue those without slots knew when they parked.
	if p == nil && s.Queue.Waiting(it.Realm) <= be.Window {
		p = find(s.shares, it)
	}
	if p == nil {
		return 0, false
	}
	s.tellOne(now, p)
	return p.node, true
}

// tellOne notes that p, which is parked, is told.
func (s *Shard) tellOne(now time.Duration, p *peer) {
	s.unpark(p)
	p.told, p.since = true, now
	if p.slots {
		s.toldIdle++
	}
}

func find(first *peer, it be.Item) *peer {
	for p, n := first, tries; p != nil && n > 0; p, n = p.next, n-1 {
		if p.suits(it) {
			return p
		}
	}
	return nil
}

// suits says whether p could take it, as far as p has said.
func (p *peer) suits(it be.Item) bool {
	if it.Memory > p.memory {
		return false
	}
	if p.slots {
		return true
	}
	realms := len(p.active)
	if p.active[it.Realm] == 0 {
		realms++
	}
	return p.active[it.Realm] < part(p.cores, realms)
}

func (s *Shard) list(p *peer) **peer {
	if p.slots {
		return &s.slots
	}
	return &s.shares
}

func (s *Shard) park(p *peer) {
	p.parked = true
	first := s.list(p)
	if p.next = *first; p.next != nil {
		p.next.prev = p
	}
	*first = p
}

func (s *Shard) unpark(p *peer) {
	if !p.parked {
		return
	}
	if p.prev == nil {
		*s.list(p) = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
	p.parked, p.prev, p.next = false, nil, nil
}
