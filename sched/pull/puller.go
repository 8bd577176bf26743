package pull

import (
	"math/rand/v2"
	"slices"
	"time"
)

// Puller is the pulling half of a schedd. It is not safe for concurrent use. After
// every call of another method, and when Next has come, Tick is to be called.
type Puller struct {
	cfg     Config
	rng     *rand.Rand
	maxWait time.Duration
	shards  []*shard // the own one first, the others in order of number
	asks    []*ask   // without an answer, oldest first
	lastID  uint64
	turns   int // asks to the own shard in a row
	urgent  int // asks without slots that do not wait
	topWait time.Duration
	topDue  time.Duration // no other ask without slots before
	window  window
	next    time.Duration

	works, hopes []*shard // of choose
}

// shard is what a node knows of a shard.
type shard struct {
	number uint16
	has    bool  // it has work, as far as is known
	queued int   // how much, when it last said so
	least  int64 // with less memory there is nothing to get
	told   bool  // it has sent a hint that was not answered yet
	asked  bool  // there is an ask without an answer

	parked bool          // it will tell when there is work for a node with
	slots  bool          //   slots at all
	memory int64         //   and this much memory
	silent bool          // it did not answer the last ask
	last   time.Duration // when that was answered
	wait   time.Duration
	due    time.Duration // not asked before, unless it has work
}

type ask struct {
	id      uint64
	shard   *shard
	slots   int // at least 1, as it may bring one
	memory  int64
	top     bool // without slots
	counted bool // its credit is not offered to others
	expires time.Duration
}

// New makes a Puller that knows no shard yet.
func New(cfg Config) *Puller {
	cfg = cfg.withDefaults()
	return &Puller{cfg: cfg, rng: rand.New(rand.NewPCG(cfg.Seed, uint64(cfg.Self))), maxWait: cfg.MaxWait}
}

// SetShards says which shards serve, those included that take nothing new and are
// not empty yet, and how many nodes pull from them.
func (p *Puller) SetShards(numbers []uint16, nodes int) {
	p.maxWait = max(p.cfg.MaxWait, time.Duration(nodes)*time.Second/time.Duration(p.cfg.PerShard))
	numbers = slices.Clone(numbers)
	slices.Sort(numbers)
	old := p.shards
	p.shards = make([]*shard, 0, len(numbers))
	for _, n := range slices.Compact(numbers) {
		i := slices.IndexFunc(old, func(s *shard) bool { return s.number == n })
		s := &shard{number: n}
		if i >= 0 {
			s = old[i]
		}
		if n == p.cfg.Self {
			p.shards = slices.Insert(p.shards, 0, s)
		} else {
			p.shards = append(p.shards, s)
		}
	}
	p.asks = slices.DeleteFunc(p.asks, func(a *ask) bool { return !slices.Contains(p.shards, a.shard) })
}

func (p *Puller) shard(number uint16) *shard {
	for _, s := range p.shards {
		if s.number == number {
			return s
		}
	}
	return nil
}

// Next is when Tick is to be called at the latest, if nothing happens before.
func (p *Puller) Next() time.Duration { return p.next }

// Asks is the number of asks without an answer.
func (p *Puller) Asks() int { return len(p.asks) }

// Reset forgets what is known of a shard: the link to it is new, or it is.
func (p *Puller) Reset(number uint16) {
	for i, s := range p.shards {
		if s.number == number {
			p.asks = slices.DeleteFunc(p.asks, func(a *ask) bool { return a.shard == s })
			p.shards[i] = &shard{number: number}
		}
	}
}

// Told takes a shard's hint.
func (p *Puller) Told(number uint16, h Hint) {
	if s := p.shard(number); s != nil {
		s.told, s.has, s.parked, s.silent = true, true, false, false
		s.queued, s.least = h.Queued, h.Least
	}
}

// Ended tells that a best-effort proc of a realm has ended, which m counts no more. If
// the realm has then not more than its part of the cores, what was heard before about
// procs without a slot does not hold.
func (p *Puller) Ended(realm string, m Machine) {
	realms, cores := len(m.Active), m.cores()
	if m.Active[realm] == 0 {
		realms++
	}
	if m.Active[realm] <= part(cores, realms) {
		p.urgent = urgentAsks
	}
}

// urgentAsks is how many shards are asked at once when a realm lacks procs here.
const urgentAsks = 2

// Answered takes the answer to an ask: how many procs came with it, and what the
// shard said of its queue. It is to be called before Tick is told of a Machine in
// which those procs count.
func (p *Puller) Answered(now time.Duration, number uint16, id uint64, got int, h Hint) {
	s := p.shard(number)
	if s == nil {
		return
	}
	s.queued, s.least, s.silent, s.last = h.Queued, h.Least, false, now
	i := slices.IndexFunc(p.asks, func(a *ask) bool { return a.id == id && a.shard == s })
	if i < 0 { // too late; it is alive all the same
		s.has = h.Queued > 0
		return
	}
	a := p.asks[i]
	p.asks = slices.Delete(p.asks, i, i+1)
	s.asked, s.has = false, h.Queued > 0
	s.parked, s.slots, s.memory = got == 0 || !a.top && got < a.slots, !a.top, a.memory
	// Unless it was cut off, the answer had all that there is for a node without
	// slots; other shards will hardly have more, until something changes.
	if got < p.cfg.Batch {
		if a.top && got == 0 {
			p.topWait = p.longer(p.topWait)
		}
		p.topDue = now + p.jitter(p.topWait)
	}
	switch {
	case got > 0:
		s.wait, s.told, p.urgent = told*p.cfg.MinWait, false, 0
	case a.top:
		return
	case h.Queued > 0 && h.Least > a.memory:
		return // it has work for whoever has that much memory
	default:
		s.has = false
		s.wait = p.longer(s.wait)
	}
	s.due = now + p.jitter(s.wait)
}

// told is how much longer a shard is left alone that would send a hint.
const told = 8

func (p *Puller) longer(wait time.Duration) time.Duration {
	return min(max(2*wait, told*p.cfg.MinWait), p.maxWait)
}

// jitter keeps nodes from asking in step: it is d, give or take a quarter.
func (p *Puller) jitter(d time.Duration) time.Duration {
	return d*3/4 + time.Duration(p.rng.Int64N(int64(d/2)+1))
}
