package place

import (
	"fmt"
	"slices"

	"sigmaos/net/talk"
	"sigmaos/sched/be"
	"sigmaos/sched/elect"
)

// Member is a node of the cluster as gossip knows it.
type Member struct {
	Number   uint16
	Boot     uint32
	Name     string
	Domain   string
	Roles    []string
	Serving  bool // a shard of the best-effort queue that is not empty, at least
	Leaving  bool
	Draining bool
}

// view is what follows from the members.
type view struct {
	members map[uint16]Member
	shards  []uint16 // that take orders
	nodes   int      // that run procs
	lcsched uint16   // 0 is none
}

func offers(m Member, role string) bool { return slices.Contains(m.Roles, role) }

func (v *view) name(n uint16) string {
	if m, ok := v.members[n]; ok {
		return m.Name
	}
	return fmt.Sprintf("number %d", n) // gossip has forgotten it
}

// number is that of the node of a name; 0 is nobody.
func (v *view) number(name string) uint16 {
	for _, m := range v.members {
		if m.Name == name && offers(m, "node") {
			return m.Number
		}
	}
	return 0
}

// near are the nodes on which a proc had better run and that run procs.
func (v *view) near(o *Order) (list be.Nodes) {
	n := 0
	for _, name := range o.Desc.Near[:min(len(o.Desc.Near), len(list))] {
		if number := v.number(name); number != 0 {
			list[n] = number
			n++
		}
	}
	return list
}

// SetMembers tells of the members that are alive, this node among them.
func (e *Engine) SetMembers(list []Member) {
	e.mu.Lock()
	defer e.unlock()
	if e.closed {
		return
	}
	v := view{members: make(map[uint16]Member, len(list))}
	var electors []elect.Member
	var serving []uint16
	for _, m := range list {
		v.members[m.Number] = m
		electors = append(electors, elect.Member{Number: m.Number, Roles: m.Roles, Leaving: m.Leaving || m.Draining})
		if m.Serving {
			serving = append(serving, m.Number)
		}
		if offers(m, "node") {
			v.nodes++
		}
	}
	v.shards = elect.Shards(electors, 0)
	v.lcsched, _ = elect.One(electors, "lcsched", "")
	old := e.view
	e.view = v
	e.seeShard()
	for n := range old.members {
		if _, here := v.members[n]; !here {
			e.memberGone(n)
		}
	}
	if e.shard.serves {
		serving = append(serving, e.cfg.Self.Number)
	}
	self := v.members[e.cfg.Self.Number]
	e.run.draining = e.run.quits || self.Draining || self.Leaving || !offers(self, "node")
	e.run.alone = v.nodes <= 1
	e.run.puller.SetShards(append(serving, v.shards...), v.nodes)
	e.seeLC()
	e.tick()
}

// memberGone is gossip's word that a node is dead. What depended on it is known by
// the end of its conversation.
func (e *Engine) memberGone(n uint16) {
	if s := e.shard.queue; s != nil {
		e.hint(s.Gone(e.now(), n))
	}
}

// Over takes the end of a conversation: what depended on it is lost.
func (e *Engine) Over(p talk.Peer, undelivered []any) {
	peer := p.Number
	e.mu.Lock()
	defer e.unlock()
	if e.closed {
		return
	}
	e.homeOver(peer)
	e.shardOver(peer)
	e.runnerOver(p)
	e.lcOver(peer)
	for _, m := range undelivered {
		e.undelivered(peer, m)
	}
	e.tick()
}

// undelivered sees to a message that may not have arrived. Those about procs of the
// peer, and those that it would have answered, need nothing: the conversation's end
// says enough.
func (e *Engine) undelivered(peer uint16, m any) {
	const why = "its order was on the way to a node that fell silent"
	tell := func(o *Order) {
		if o.home() != peer {
			e.send(o.home(), lost{o.ID, why})
		}
	}
	switch m := m.(type) {
	case grant:
		for _, o := range m.orders {
			tell(o)
		}
	case back:
		tell(m.o)
	case decide:
		tell(m.o)
	}
}
