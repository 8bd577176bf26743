package gossip

import (
	"cmp"
	"fmt"
	"slices"
	"sync"
)

// EventType says what happened to a member.
type EventType uint8

const (
	Joined   EventType = iota + 1
	Updated            // its Info or address changed
	Left               // it had said goodbye
	Failed             // it is silent, or was restarted without a goodbye
	Conflict           // Other claims the name or the number of Member, who keeps it
)

var eventNames = [...]string{Joined: "joined", Updated: "updated", Left: "left", Failed: "failed", Conflict: "conflict"}

func (t EventType) String() string {
	if int(t) < len(eventNames) && t > 0 {
		return eventNames[t]
	}
	return fmt.Sprint(uint8(t))
}

// Event is a change of one member, this node included.
type Event struct {
	Type   EventType
	Member Member // as it is now, or was last
	Other  Member // of a Conflict
}

func (e Event) String() string {
	s := fmt.Sprintf("%v %s (%d, boot %d) at %v", e.Type, e.Member.Name, e.Member.Number, e.Member.Boot, e.Member.Addr)
	if e.Type == Conflict {
		s += fmt.Sprintf(" with %s (%d, boot %d) at %v", e.Other.Name, e.Other.Number, e.Other.Boot, e.Other.Addr)
	}
	return s
}

// Subscribe calls fn with every event, one at a time, until stop is called or
// the Gossip is closed. When stop has returned, fn is not running and will not
// be called; fn must not call stop.
func (g *Gossip) Subscribe(fn func(Event)) (stop func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.ended {
		return func() {}
	}
	wake := make(chan struct{}, 1)
	wake <- struct{}{}
	quit, done := make(chan struct{}), make(chan struct{})
	g.table.mu.Lock()
	g.table.watchers[wake] = struct{}{}
	s := &subscriber{seen: make(map[string]entry), upTo: g.table.seq}
	g.table.mu.Unlock()
	g.wg.Add(1)
	go func() {
		defer g.wg.Done()
		defer close(done)
		defer func() {
			g.table.mu.Lock()
			defer g.table.mu.Unlock()
			delete(g.table.watchers, wake)
		}()
		for {
			select {
			case <-quit:
				return
			case <-g.ctx.Done():
				return
			case <-wake:
			}
			for _, e := range g.table.news(s) {
				select {
				case <-quit:
					return
				default:
					fn(e)
				}
			}
		}
	}()
	var once sync.Once
	return func() {
		once.Do(func() { close(quit) })
		<-done
	}
}

// subscriber is what one subscriber was told.
type subscriber struct {
	seen map[string]entry
	upTo uint64 // conflicts up to this change were told, or are from before its time
}

// news is what a subscriber has to be told, in order, and notes it as told.
func (t *table) news(s *subscriber) []Event {
	t.mu.Lock()
	defer t.mu.Unlock()
	type change struct {
		seq    uint64
		events []Event
	}
	var changes []change
	for name, e := range t.alive {
		old, known := s.seen[name]
		if known && old.seq == e.seq {
			continue
		}
		now := e.Member.clone()
		c := change{seq: e.seq}
		switch {
		case !known:
			c.events = []Event{{Type: Joined, Member: now}}
		case old.Boot != e.Boot:
			c.events = []Event{t.endLocked(old.Member), {Type: Joined, Member: now}}
		default:
			c.events = []Event{{Type: Updated, Member: now}}
		}
		changes = append(changes, c)
		s.seen[name] = entry{now.clone(), e.seq}
	}
	for name, old := range s.seen {
		if t.alive[name] != nil {
			continue
		}
		c := change{seq: old.seq, events: []Event{t.endLocked(old.Member)}}
		if e := t.gone[name]; e != nil {
			c.seq = e.seq
		}
		changes = append(changes, c)
		delete(s.seen, name)
	}
	for _, c := range t.claims {
		if c.seq > s.upTo {
			changes = append(changes, change{c.seq, []Event{c.Event}})
		}
	}
	s.upTo = t.seq
	slices.SortFunc(changes, func(a, b change) int { return cmp.Compare(a.seq, b.seq) })
	var out []Event
	for _, c := range changes {
		out = append(out, c.events...)
	}
	return out
}

// endLocked is how the life of m, as a subscriber knew it, ended.
func (t *table) endLocked(m Member) Event {
	if e := t.gone[m.Name]; e != nil && e.Boot == m.Boot {
		m = e.Member.clone()
	}
	if m.Leaving {
		return Event{Type: Left, Member: m}
	}
	return Event{Type: Failed, Member: m}
}
