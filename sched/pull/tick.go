package pull

import "time"

// never is a Next that nothing is waited for.
const never = time.Duration(1<<63 - 1)

// Tick appends to out what is to be sent now, for a machine in this state.
func (p *Puller) Tick(now time.Duration, m Machine, out []Ask) []Ask {
	p.expire(now)
	cores := m.cores()
	taken, _ := p.promised()
	p.window.look(m, cores, taken)
	for {
		taken, memory := p.promised()
		memory = m.Memory - memory
		slots := p.window.slots(m, cores, taken, p.cfg.Batch)
		more := extra(m, cores, taken, p.cfg.Batch)
		s := p.choose(now, slots, more, memory)
		if s == nil {
			out = p.decline(out)
			p.plan(now, m, slots, more, memory)
			return out
		}
		out = append(out, p.ask(now, s, m, Ask{Memory: memory, Slots: slots, Extra: more, Cores: cores}))
	}
}

// promised is what counted asks may bring.
func (p *Puller) promised() (slots int, memory int64) {
	for _, a := range p.asks {
		if a.counted {
			slots += a.slots
			memory += a.memory
		}
	}
	return slots, memory
}

// expire frees the credit of asks that were not answered.
func (p *Puller) expire(now time.Duration) {
	kept := p.asks[:0]
	for _, a := range p.asks {
		if a.expires > now {
			kept = append(kept, a)
			continue
		}
		s := a.shard
		s.asked, s.has, s.parked, s.silent = false, false, false, true
		s.wait = max(p.longer(s.wait), p.cfg.Answer)
		s.due = now + p.jitter(s.wait)
	}
	clear(p.asks[len(kept):])
	p.asks = kept
}

func (p *Puller) ask(now time.Duration, s *shard, m Machine, a Ask) Ask {
	p.lastID++
	a.ID, a.Node, a.Shard, a.Active, a.Max = p.lastID, p.cfg.Self, s.number, m.Active, p.cfg.Batch
	// Where work is only hoped for, the credit is not tied to the answer.
	p.asks = append(p.asks, &ask{
		id: a.ID, shard: s, slots: max(a.Slots, 1), memory: a.Memory, top: a.Slots == 0, counted: s.has,
		expires: now + p.cfg.Answer,
	})
	if a.Slots == 0 && p.urgent > 0 {
		p.urgent--
	}
	s.asked, s.told = true, false
	if s.number == p.cfg.Self {
		p.turns++
	} else {
		p.turns = 0
	}
	return a
}

// decline answers hints of shards that are not asked now.
func (p *Puller) decline(out []Ask) []Ask {
	for _, s := range p.shards {
		if s.told && !s.asked {
			s.told = false
			out = append(out, Ask{Node: p.cfg.Self, Shard: s.number, Decline: true})
		}
	}
	return out
}
