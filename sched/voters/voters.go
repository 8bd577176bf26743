// Package voters decides who hosts the etcd peers that have a vote: a pure
// function of what the leading peer sees, asked for one change at a time.
//
// There are 1, 3 or 5 voters. A second voter alone would make things worse: then
// either of two machines stops everything. So the voters grow only when enough
// nodes for the next odd number follow as learners and have caught up, and then
// they get their votes back to back. A voter whose node is gone for long, or was
// removed, is replaced: first somebody catches up, then the old one goes and the
// new one gets its vote. A voter that was removed goes also when nobody can take
// its place; one that is only away is kept, for it may come back.
package voters

import (
	"slices"
	"time"
)

// Max is how many voters there are at most.
const Max = 5

// Peer is an etcd peer as the leading one sees it.
type Peer struct {
	ID       uint64
	Node     string
	Voter    bool
	Absent   time.Duration // since its node was last seen; 0: it is there
	Removed  bool          // by node rm
	Running  bool          // learner: its node says that it runs
	CaughtUp bool          // learner: it has nearly all that the leader has
}

// Config of the decision.
type Config struct {
	Replace time.Duration // absence after which a voter is replaced
	Drop    time.Duration // absence after which a learner is forgotten
}

// Kind of a change.
type Kind int

// What to do next.
const (
	Nothing Kind = iota
	Add          // Node becomes a learner
	Start        // Node is told to start its peer
	Promote      // ID gets a vote
	Remove       // ID goes
)

func (k Kind) String() string {
	return [...]string{"nothing", "add", "start", "promote", "remove"}[k]
}

// Action is one change.
type Action struct {
	Kind Kind
	ID   uint64
	Node string
	Why  string
}

// Next is the change to make now. candidates are the nodes alive that offer to
// host a peer, whether they host one or not.
func Next(peers []Peer, candidates []string, cfg Config) Action {
	var live, gone, learners []Peer
	has := make(map[string]bool)
	for _, p := range peers {
		has[p.Node] = true
		switch {
		case !p.Voter && (p.Removed || p.Absent >= cfg.Drop):
			return Action{Remove, p.ID, p.Node, "a learner that is gone"}
		case !p.Voter:
			learners = append(learners, p)
		case p.Removed || p.Absent >= cfg.Replace:
			gone = append(gone, p)
		default:
			live = append(live, p)
		}
	}
	var spare []string
	for _, c := range candidates {
		if !has[c] {
			spare = append(spare, c)
		}
	}
	slices.Sort(spare)
	slices.SortFunc(learners, func(a, b Peer) int { // those furthest on first
		return stage(b) - stage(a)
	})
	need := 1 + len(live)%2 // to the next odd number
	if len(live)+need > Max || len(learners)+len(spare) < need {
		return dismiss(live, gone)
	}
	if len(learners) < need {
		return Action{Add, 0, spare[0], "towards the next odd number of voters"}
	}
	for _, p := range learners[:need] {
		switch {
		case !p.Running && p.Absent == 0:
			return Action{Start, p.ID, p.Node, "its peer does not run"}
		case !p.CaughtUp:
			return Action{}
		}
	}
	if len(gone) > 0 {
		return Action{Remove, gone[0].ID, gone[0].Node, "a voter whose successor is ready"}
	}
	return Action{Promote, learners[0].ID, learners[0].Node, "enough for an odd number are ready"}
}

// dismiss takes out a voter that was removed and that nobody can replace.
func dismiss(live, gone []Peer) Action {
	for _, p := range gone {
		// More than half of those that are left must be there to agree on it.
		if p.Removed && len(live) > (len(live)+len(gone))/2 {
			return Action{Remove, p.ID, p.Node, "removed, and nobody can take its place"}
		}
	}
	return Action{}
}

func stage(p Peer) int {
	switch {
	case p.Absent > 0:
		return 0
	case p.CaughtUp:
		return 3
	case p.Running:
		return 2
	}
	return 1
}
