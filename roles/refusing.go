package roles

import "sync"

// refusing are the nodes whose machines refuse connections: their sigmad is gone.
// Gossip has them for alive until they have been silent for a while; placing need
// not wait for that.
type refusing struct {
	mu    sync.Mutex
	boots map[uint16]uint32 // by number, the life that ended
}

// set notes a life of a node as over, or, with boot 0, none.
func (r *refusing) set(node uint16, boot uint32) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if boot == 0 {
		delete(r.boots, node)
		return
	}
	if r.boots == nil {
		r.boots = make(map[uint16]uint32)
	}
	r.boots[node] = boot
}

func (r *refusing) has(node uint16, boot uint32) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return boot != 0 && r.boots[node] == boot
}

// refuses takes the links' word that a node refuses connections, or has a link
// again. What depended on the conversation with it is lost at once, and who is
// elected follows from the others. Where the word was wrong, which takes a network
// that answers in a machine's place, it costs what a cut costs: the node learns that
// the conversation is over, and epochs fence two that both place.
func (s *System) refuses(node uint16, refuses bool) {
	if node == s.nodeNum {
		return
	}
	var boot uint32
	if refuses {
		m, ok := s.Gossip.Lookup(node)
		if !ok { // it is missed already
			return
		}
		boot = m.Boot
	}
	s.refusing.set(node, boot)
	if d := s.running.Load(); d != nil {
		if refuses {
			s.talk.Left(node)
		}
		s.seeMembers(d)
	}
}
