package pull

import "sigmaos/sched/be"

// Shard is one shard of the queue with the nodes that would take something from
// it. It is not safe for concurrent use.
type Shard struct {
	// Queue is the owner's to look into and to take procs out of. Push, Back and
	// Pull of the Shard put in and give out.
	Queue *be.Queue

	own    uint16
	parked map[uint16]*park
	// Who parked last is first: of those with slots, and of those that could only
	// take procs of realms that have less than their share.
	slots, shares *park
	told          map[uint16]bool // hints that were not answered yet
}

// park is a node that could have taken more than it got.
type park struct {
	node       uint16
	memory     int64
	slots      bool
	cores      int
	active     map[string]int
	prev, next *park
}

// NewShard makes a shard at the node own.
func NewShard(own uint16, q *be.Queue) *Shard {
	return &Shard{Queue: q, own: own, parked: make(map[uint16]*park), told: make(map[uint16]bool)}
}

// Push puts a proc into the queue. Where ok, hint is to be sent to that node.
func (s *Shard) Push(item be.Item) (node uint16, ok bool, err error) {
	if err := s.Queue.Push(item); err != nil {
		return 0, false, err
	}
	node, ok = s.tell(item)
	return node, ok, nil
}

// Back takes a proc that a node gave back without having started it. Where ok, a
// hint is to be sent to that node.
func (s *Shard) Back(item be.Item) (node uint16, ok bool, err error) {
	if err := s.Queue.PushFront(item); err != nil {
		return 0, false, err
	}
	node, ok = s.tell(item)
	return node, ok, nil
}

// Pull answers an ask: procs are appended to dst, and the hint goes with them.
func (s *Shard) Pull(dst []be.Item, a Ask, cached func(string) bool) ([]be.Item, Hint) {
	delete(s.told, a.Node)
	s.unpark(a.Node)
	from := len(dst)
	dst = Grant(dst, s.Queue, a, cached)
	got := dst[from:]
	if len(got) == 0 || len(got) < a.Slots {
		p := &park{node: a.Node, memory: a.Memory, slots: a.Slots > 0, cores: a.Cores, active: a.Active}
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
func (s *Shard) Decline(node uint16) (next uint16, ok bool) {
	was := s.told[node]
	delete(s.told, node)
	s.unpark(node)
	if !was {
		return 0, false
	}
	return s.tellOfFirst()
}

// Gone forgets a node that is dead. Where ok, another one is to be told of what it
// was told of.
func (s *Shard) Gone(node uint16) (next uint16, ok bool) { return s.Decline(node) }

// tellOfFirst finds a node for the first proc of the realm whose turn it is.
func (s *Shard) tellOfFirst() (node uint16, ok bool) {
	if it, any := s.Queue.First(); any {
		return s.tell(it)
	}
	return 0, false
}

// tries bounds how many parked nodes are looked at for one proc.
const tries = 16

// tell chooses a parked node that could take it, and parks it no more.
func (s *Shard) tell(it be.Item) (node uint16, ok bool) {
	if p := s.parked[s.own]; p != nil && s.suits(p, it) {
		return s.tellOne(p)
	}
	if p := s.find(s.slots, it); p != nil {
		return s.tellOne(p)
	}
	// Of a realm with a long queue these nodes knew when they parked.
	if s.Queue.Waiting(it.Realm) <= be.Window {
		if p := s.find(s.shares, it); p != nil {
			return s.tellOne(p)
		}
	}
	return 0, false
}

func (s *Shard) find(first *park, it be.Item) *park {
	for p, n := first, tries; p != nil && n > 0; p, n = p.next, n-1 {
		if s.suits(p, it) {
			return p
		}
	}
	return nil
}

func (s *Shard) tellOne(p *park) (uint16, bool) {
	s.unpark(p.node)
	s.told[p.node] = true
	return p.node, true
}

// suits says whether p could take it, as far as p has said.
func (s *Shard) suits(p *park, it be.Item) bool {
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
	return p.active[it.Realm] < (p.cores+realms-1)/realms
}

func (s *Shard) list(p *park) **park {
	if p.slots {
		return &s.slots
	}
	return &s.shares
}

func (s *Shard) park(p *park) {
	s.parked[p.node] = p
	first := s.list(p)
	if p.next = *first; p.next != nil {
		p.next.prev = p
	}
	*first = p
}

func (s *Shard) unpark(node uint16) {
	p := s.parked[node]
	if p == nil {
		return
	}
	delete(s.parked, node)
	if p.prev == nil {
		*s.list(p) = p.next
	} else {
		p.prev.next = p.next
	}
	if p.next != nil {
		p.next.prev = p.prev
	}
}
