package pull

import "time"

// choose is the shard to ask now, or nil.
func (p *Puller) choose(now time.Duration, slots, more int, memory int64) *shard {
	if slots+more == 0 || memory <= 0 {
		return nil
	}
	var own *shard
	works, hopes := p.works[:0], p.hopes[:0]
	for _, s := range p.shards {
		switch {
		case p.when(s, slots, memory) > now:
		case s.number == p.cfg.Self:
			own = s
		case s.has:
			works = append(works, s)
		default:
			hopes = append(hopes, s)
		}
	}
	p.works, p.hopes = works, hopes
	past := (p.turns+1)%p.cfg.OwnTurns == 0 // it is the others' turn
	switch {
	case len(works) > 0:
		s := p.longerOfTwo(works)
		if own == nil || past || s.queued > 2*own.queued && own.has {
			return s
		}
	case len(hopes) > 0 && (own == nil || past):
		return hopes[p.rng.IntN(len(hopes))]
	}
	return own
}

// longerOfTwo draws two shards and takes the one with the longer queue.
func (p *Puller) longerOfTwo(list []*shard) *shard {
	a, b := list[p.rng.IntN(len(list))], list[p.rng.IntN(len(list))]
	if b.queued > a.queued {
		return b
	}
	return a
}

// when is the time from which s is to be asked by a node with these slots and this
// memory.
func (p *Puller) when(s *shard, slots int, memory int64) time.Duration {
	switch {
	case s.asked, s.has && memory < s.least:
		return never
	case s.has && (slots > 0 || p.urgent > 0 || s.told):
		return 0
	case s.has:
		return p.topDue
	case slots == 0 && s.parked:
		return s.last + p.maxWait // it will tell
	case slots == 0:
		return max(s.due, p.topDue)
	case !s.silent && (!s.parked || !s.slots || memory/2 > s.memory):
		// It would not tell: it does not know the node, or knows of less than the
		// node has now.
		return min(s.due, s.last+p.cfg.MinWait)
	}
	return s.due
}

// plan sets Next.
func (p *Puller) plan(now time.Duration, m Machine, slots, more int, memory int64) {
	p.next = never
	work := false
	for _, a := range p.asks {
		p.next = min(p.next, a.expires)
	}
	for _, s := range p.shards {
		work = work || s.has
		if slots+more > 0 && memory > 0 {
			p.next = min(p.next, p.when(s, slots, memory))
		}
	}
	if work && slots == 0 {
		p.next = min(p.next, now+p.cfg.Sample) // a look at the CPU may allow more
	}
}
