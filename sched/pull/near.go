package pull

import (
	"slices"
	"time"

	"sigmaos/sched/be"
)

// Hold is for how long a shard keeps a proc, at most, for a node that it is near
// ([be.Item.Near]), that could take it and that was told: the way there and back, and
// some more where that node is busy.
const Hold = 10 * time.Millisecond

// maxKept bounds how many procs are kept at a time; those beyond are for anybody.
const maxKept = 64

// kept is a proc that others do not get while a node that it is near owes an answer
// to a hint, until a time.
type kept struct {
	be.Item
	until time.Duration
}

// nearest is a node that it is near and that could take it: one that is to be told, or
// that was and owes the answer. nil where nothing is kept for anybody.
func (s *Shard) nearest(now time.Duration, it be.Item) (owes *peer) {
	if it.Near.None() || len(s.kept) >= maxKept {
		return nil
	}
	for _, n := range it.Near {
		p := s.nodes[n]
		switch {
		case p == nil || !p.suits(it):
		case !p.slots && (s.slots != nil || s.toldIdle > 0): // busy, and others are idle
		case p.parked:
			return p
		case p.told && now < p.since+Hold:
			owes = p
		}
	}
	return owes
}

// mayHave says whether a node may have it now.
func (s *Shard) mayHave(now time.Duration, it be.Item, node uint16) bool {
	if it.Near.None() || it.Near.Has(node) {
		return true
	}
	i := slices.IndexFunc(s.kept, func(k kept) bool { return k.ID == it.ID })
	return i < 0 || !s.keeps(now, s.kept[i])
}

func (s *Shard) keeps(now time.Duration, k kept) bool {
	return now < k.until && slices.ContainsFunc(k.Near[:], func(n uint16) bool {
		p := s.nodes[n]
		return p != nil && p.told && now < p.since+Hold
	})
}

// Free lets anybody have what is kept no more, and finds somebody for what a node did
// not take that was told of it. Where ok, a hint is to be sent to that node. It is to be
// called until it finds nobody: after each of Pull, Decline and Gone, and when Next has
// come.
func (s *Shard) Free(now time.Duration) (node uint16, ok bool) {
	for i := 0; i < len(s.kept); {
		k := s.kept[i]
		waits := s.Queue.Has(k.ID)
		if waits && s.keeps(now, k) {
			i++
			continue
		}
		s.kept = slices.Delete(s.kept, i, i+1)
		if waits {
			if node, ok = s.tell(now, k.Item); ok {
				return node, true
			}
		}
	}
	if s.untaken {
		s.untaken = false
		return s.tellOfFirst(now)
	}
	return 0, false
}

// Next is when Free is to be called at the latest, if nothing happens before.
func (s *Shard) Next() time.Duration {
	if s.untaken {
		return 0
	}
	next := never
	for _, k := range s.kept {
		next = min(next, k.until)
	}
	return next
}
