package pull

import (
	"time"

	"sigmaos/sched/be"
)

// Shard is one shard of the queue with the nodes that would take something from
// it. It is not safe for concurrent use.
type Shard struct {
	// Queue is the owner's to look into and to take procs out of. Push, Back and
	// Pull of the Shard put in and give out.
	Queue *be.Queue

	own   uint16
	nodes map[uint16]*peer // that have asked
	// Who parked last is first: of those with slots, and of those that could only
	// take procs of realms that have less than their share.
	slots, shares *peer
	toldIdle      int    // nodes with slots that were told and have not answered
	kept          []kept // for nodes that they are near
	untaken       bool   // a node that was told took nothing, and nobody was told instead
}

// peer is a node. It is parked if it could have taken more than it got, until it is
// told or asks again.
type peer struct {
	node       uint16
	parked     bool
	told       bool // a hint, which it has not answered by an ask or a Decline
	since      time.Duration
	memory     int64
	slots      bool
	cores      int
	active     map[string]int
	prev, next *peer
	given      lately
}

// cached says whether p has a proc's program, as far as the shard knows.
func (p *peer) cached(it be.Item) bool { return p.given.has(programOf(it)) }

// NewShard makes a shard at the node own.
func NewShard(own uint16, q *be.Queue) *Shard {
	return &Shard{Queue: q, own: own, nodes: make(map[uint16]*peer)}
}

// Push puts a proc into the queue. Where ok, a hint is to be sent to that node: to one
// that it is near, or, where none of those could take it as far as is known, to another.
func (s *Shard) Push(now time.Duration, item be.Item) (node uint16, ok bool, err error) {
	if err := s.Queue.Push(item); err != nil {
		return 0, false, err
	}
	p := s.nearest(now, item)
	if p == nil {
		node, ok = s.tell(now, item)
		return node, ok, nil
	}
	if ok = p.parked; ok {
		s.tellOne(now, p)
	}
	s.kept = append(s.kept, kept{item, p.since + Hold})
	return p.node, ok, nil
}

// Back takes a proc that a node gave back without having started it. Where ok, a
// hint is to be sent to that node. It is kept for nobody any more.
func (s *Shard) Back(now time.Duration, item be.Item) (node uint16, ok bool, err error) {
	if err := s.Queue.PushFront(item); err != nil {
		return 0, false, err
	}
	node, ok = s.tell(now, item)
	return node, ok, nil
}

// Pull answers an ask: procs are appended to dst, and the hint goes with them. Among
// procs that tie ([be.Offer.Near]), the node gets those first that had better run
// there, then those whose programs it was given lately.
func (s *Shard) Pull(now time.Duration, dst []be.Item, a Ask) ([]be.Item, Hint) {
	p := s.nodes[a.Node]
	if p == nil {
		p = &peer{node: a.Node}
		s.nodes[a.Node] = p
	}
	toldIdle := s.answered(p) && p.slots
	s.unpark(p)
	from := len(dst)
	o := be.Offer{Near: func(it be.Item) bool { return it.Near.Has(a.Node) }, Cached: p.cached}
	if len(s.kept) > 0 {
		o.Fits = func(it be.Item) bool { return s.mayHave(now, it, a.Node) }
	}
	dst = Grant(dst, s.Queue, a, o, s.slots == nil && s.toldIdle == 0)
	got := dst[from:]
	for _, it := range got {
		p.given.add(programOf(it))
	}
	if toldIdle && a.Slots == 0 && len(got) == 0 { // another shard was faster: as good as a no
		s.untaken = s.Queue.Len() > 0
	}
	if len(got) == 0 || len(got) < a.Slots {
		p.memory, p.slots, p.cores, p.active = a.Memory, a.Slots > 0, a.Cores, a.Active
		for _, it := range got {
			p.memory -= it.Memory
		}
		s.park(p)
	}
	return dst, s.Hint()
}

// Hint is the present one.
func (s *Shard) Hint() Hint {
	h := s.Queue.Hint()
	return Hint{Queued: h.Queued, Least: h.Least}
}

// Decline takes a node's no to a hint. Where ok, another is to be told.
func (s *Shard) Decline(now time.Duration, node uint16) (next uint16, ok bool) {
	p := s.nodes[node]
	if p == nil {
		return 0, false
	}
	s.unpark(p)
	if !s.answered(p) {
		return 0, false
	}
	return s.tellOfFirst(now)
}

// Gone forgets a node that is dead. Where ok, another one is to be told of what it
// was told of.
func (s *Shard) Gone(now time.Duration, node uint16) (next uint16, ok bool) {
	next, ok = s.Decline(now, node)
	delete(s.nodes, node)
	return next, ok
}

// answered notes that a node owes no answer to a hint, and says whether it did.
func (s *Shard) answered(p *peer) (owed bool) {
	owed = p.told
	if p.told && p.slots {
		s.toldIdle--
	}
	p.told = false
	return owed
}

// tellOfFirst finds a node for the first proc of the realm whose turn it is.
func (s *Shard) tellOfFirst(now time.Duration) (node uint16, ok bool) {
	if it, any := s.Queue.First(); any {
		return s.tell(now, it)
	}
	return 0, false
}
