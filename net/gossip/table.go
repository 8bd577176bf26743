package gossip

import (
	"cmp"
	"maps"
	"slices"
	"sync"
	"time"

	"sigmaos/internal/clock"
)

const (
	maxGone    = 1024
	maxClaims  = 64
	claimAgain = time.Minute // the same conflict is told once in that time
)

// table is what this node knows. Changes are numbered; a subscriber that knows
// the number up to which it has seen can be told the rest.
type table struct {
	clk    clock.Clock
	notice time.Duration

	mu       sync.Mutex
	seq      uint64
	alive    map[string]*entry
	gone     map[string]*entry // the last life of a name; bounded by maxGone
	byNumber map[uint16]string
	claims   []*claim // bounded by maxClaims, oldest first
	watchers map[chan struct{}]struct{}
}

type entry struct {
	Member
	seq uint64 // of its last change
}

// claim is a node that wants the place of another one.
type claim struct {
	Event
	first, last time.Duration // when it was seen
	told        time.Duration
	seq         uint64 // 0 while it was not told
}

func newTable(clk clock.Clock, notice time.Duration) *table {
	return &table{
		clk: clk, notice: notice, alive: make(map[string]*entry), gone: make(map[string]*entry),
		byNumber: make(map[uint16]string), watchers: make(map[chan struct{}]struct{}),
	}
}

// changedLocked numbers a change and wakes who watches.
func (t *table) changedLocked() uint64 {
	t.seq++
	for w := range t.watchers {
		select {
		case w <- struct{}{}:
		default: // it is awake already
		}
	}
	return t.seq
}

// put takes in a member that joined or changed. other is set when another one
// has its number.
func (t *table) put(m Member) (other *Member) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if old := t.alive[m.Name]; old != nil && old.Boot == m.Boot && old.Leaving {
		m.Leaving = true // it does not come back from that
	}
	t.releaseLocked(m.Name)
	t.alive[m.Name] = &entry{m, t.changedLocked()}
	delete(t.gone, m.Name)
	switch holder, taken := t.byNumber[m.Number]; {
	case !taken:
		t.byNumber[m.Number] = m.Name
	case holder != m.Name:
		o := t.alive[holder].Member
		other = &o
	}
	return other
}

// releaseLocked frees the number of a name, for another member that has it.
func (t *table) releaseLocked(name string) {
	old := t.alive[name]
	if old == nil || t.byNumber[old.Number] != name {
		return
	}
	delete(t.byNumber, old.Number)
	for _, n := range slices.Sorted(maps.Keys(t.alive)) {
		if e := t.alive[n]; n != name && e.Number == old.Number {
			t.byNumber[old.Number] = n
			return
		}
	}
}

// remove takes out a member that is gone and returns it; how it went is in
// Leaving.
func (t *table) remove(name string) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.alive[name]
	if e == nil {
		return Member{}, false
	}
	t.releaseLocked(name)
	delete(t.alive, name)
	if len(t.gone) >= maxGone {
		oldest := slices.MinFunc(slices.Collect(maps.Values(t.gone)), func(a, b *entry) int { return cmp.Compare(a.seq, b.seq) })
		delete(t.gone, oldest.Name)
	}
	t.gone[name] = &entry{e.Member, t.changedLocked()}
	return e.Member, true
}

// leaving notes that a member has said goodbye.
func (t *table) leaving(name string, boot uint32) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.alive[name]; e != nil && e.Boot == boot && !e.Leaving {
		m := e.Member
		m.Leaving = true
		t.alive[name] = &entry{m, t.changedLocked()}
	}
}

// conflict notes that other claims the place of m, and says whether that is
// worth telling now. A node that comes back at another address before its death
// was noticed looks the same, but not for long.
func (t *table) conflict(m, other Member) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.clk.Monotonic()
	c := t.claimLocked(m, other)
	if c.last == 0 || now-c.last > 10*t.notice {
		c.first = now
	}
	c.last, c.Event = now, Event{Conflict, m, other}
	old := c.seq != 0 && now-c.told < claimAgain
	sameNode := m.Name == other.Name && m.Number == other.Number
	if old || sameNode && now-c.first < 2*t.notice {
		return false
	}
	c.told, c.seq = now, t.changedLocked()
	return true
}

func (t *table) claimLocked(m, other Member) *claim {
	for _, c := range t.claims {
		if c.Member.Name == m.Name && c.Other.Name == other.Name && c.Other.Addr == other.Addr {
			return c
		}
	}
	if len(t.claims) >= maxClaims {
		t.claims = slices.Delete(t.claims, 0, 1)
	}
	c := new(claim)
	t.claims = append(t.claims, c)
	return c
}

func (t *table) members() []Member {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]Member, 0, len(t.alive))
	for _, e := range t.alive {
		out = append(out, e.Member.clone())
	}
	slices.SortFunc(out, func(a, b Member) int {
		return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Name, b.Name))
	})
	return out
}

func (t *table) lookup(number uint16) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.alive[t.byNumber[number]]
	if e == nil {
		return Member{}, false
	}
	return e.Member.clone(), true
}

func (t *table) byName(name string) (Member, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.alive[name]
	if e == nil {
		return Member{}, false
	}
	return e.Member.clone(), true
}
