package voters

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"
)

var cfg = Config{Replace: 10 * time.Minute, Drop: time.Minute}

func voter(id uint64) Peer { return Peer{ID: id, Node: fmt.Sprint("n", id), Voter: true} }

func away(p Peer, d time.Duration) Peer { p.Absent = d; return p }
func removed(p Peer) Peer               { p.Removed = true; return p }
func learner(id uint64, running, caught bool) Peer {
	return Peer{ID: id, Node: fmt.Sprint("n", id), Running: running, CaughtUp: caught}
}

func TestNextChange(t *testing.T) {
	all := func(n int) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprint("n", i+1))
		}
		return out
	}
	v3 := []Peer{voter(1), voter(2), voter(3)}
	for name, tt := range map[string]struct {
		peers []Peer
		nodes []string
		want  Action
	}{
		"one is enough for one":         {[]Peer{voter(1)}, all(1), Action{}},
		"two nodes are not for three":   {[]Peer{voter(1)}, all(2), Action{}},
		"three nodes: the first learns": {[]Peer{voter(1)}, all(3), Action{Kind: Add, Node: "n2"}},
		"then the second":               {[]Peer{voter(1), learner(2, true, true)}, all(3), Action{Kind: Add, Node: "n3"}},
		"one that does not run":         {[]Peer{voter(1), learner(2, true, true), learner(3, false, false)}, all(3), Action{Kind: Start, ID: 3, Node: "n3"}},
		"one that lags is waited for":   {[]Peer{voter(1), learner(2, true, true), learner(3, true, false)}, all(3), Action{}},
		"both ready":                    {[]Peer{voter(1), learner(2, true, true), learner(3, true, true)}, all(3), Action{Kind: Promote, ID: 2, Node: "n2"}},
		"back to back":                  {[]Peer{voter(1), voter(2), learner(3, true, true)}, all(3), Action{Kind: Promote, ID: 3, Node: "n3"}},
		"four nodes stay at three":      {v3, all(4), Action{}},
		"five nodes":                    {v3, all(5), Action{Kind: Add, Node: "n4"}},
		"seven nodes stay at five":      {append([]Peer{voter(4), voter(5)}, v3...), all(7), Action{}},
		"away for a moment":             {[]Peer{voter(1), voter(2), away(voter(3), time.Minute)}, []string{"n1", "n2", "n4"}, Action{}},
		"away for long":                 {[]Peer{voter(1), voter(2), away(voter(3), time.Hour)}, []string{"n1", "n2", "n4"}, Action{Kind: Add, Node: "n4"}},
		"its successor is ready":        {[]Peer{voter(1), voter(2), away(voter(3), time.Hour), learner(4, true, true)}, []string{"n1", "n2", "n4"}, Action{Kind: Remove, ID: 3, Node: "n3"}},
		"the successor's vote":          {[]Peer{voter(1), voter(2), learner(4, true, true)}, []string{"n1", "n2", "n4"}, Action{Kind: Promote, ID: 4, Node: "n4"}},
		"away, and nobody for it":       {[]Peer{voter(1), voter(2), away(voter(3), time.Hour)}, []string{"n1", "n2"}, Action{}},
		"removed, and nobody for it":    {[]Peer{voter(1), voter(2), removed(voter(3))}, []string{"n1", "n2"}, Action{Kind: Remove, ID: 3, Node: "n3"}},
		"removed: the successor first":  {[]Peer{voter(1), voter(2), removed(voter(3))}, []string{"n1", "n2", "n4"}, Action{Kind: Add, Node: "n4"}},
		"the last but one is not taken": {[]Peer{voter(1), removed(voter(2))}, []string{"n1"}, Action{}},
		"a learner that left":           {append([]Peer{away(learner(4, false, false), time.Hour)}, v3...), all(3), Action{Kind: Remove, ID: 4, Node: "n4"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := Next(tt.peers, tt.nodes, cfg)
			got.Why = ""
			if got != tt.want {
				t.Errorf("Next(%+v, %v) = %+v, want %+v", tt.peers, tt.nodes, got, tt.want)
			}
		})
	}
}

// Whatever comes and goes, no change takes away more than half of the voters
// that are there, and where nodes stay, the number of voters becomes odd.
func TestNeverWithoutAMajority(t *testing.T) {
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 1))
		w := world{r: r, up: map[string]bool{"n1": true}, peers: []Peer{voter(1)}, next: 2}
		for range 200 {
			w.churn()
			w.step(t, seed)
		}
		for n := range w.up {
			w.up[n] = true
		}
		for range 100 {
			w.step(t, seed)
		}
		n := 0
		for _, p := range w.peers {
			if p.Voter {
				n++
			}
		}
		if len(w.up) > 2 && (n < 3 || n%2 == 0 || n > Max) {
			t.Fatalf("seed %d: %d voters with %d nodes, want 3 or %d: %+v", seed, n, len(w.up), Max, w.peers)
		}
	}
}

type world struct {
	r     *rand.Rand
	up    map[string]bool
	peers []Peer
	next  uint64
}

// churn starts or stops a node, but never so many voters that no majority is
// left: then nothing at all changes.
func (w *world) churn() {
	if w.r.IntN(3) == 0 && len(w.up) < 9 {
		w.up[fmt.Sprint("n", len(w.up)+1)] = true
		return
	}
	n := fmt.Sprint("n", 1+w.r.IntN(len(w.up)))
	w.up[n] = !w.up[n]
	if !w.majority() {
		w.up[n] = true
	}
}

func (w *world) majority() bool {
	up, all := 0, 0
	for _, p := range w.peers {
		if p.Voter {
			all++
			if w.up[p.Node] {
				up++
			}
		}
	}
	return up > all/2
}

func (w *world) step(t *testing.T, seed uint64) {
	var nodes []string
	for n, up := range w.up {
		if up {
			nodes = append(nodes, n)
		}
	}
	for i := range w.peers {
		p := &w.peers[i]
		p.Absent = 0
		if !w.up[p.Node] {
			p.Absent = time.Duration(w.r.IntN(20)) * time.Minute
			p.Absent = max(p.Absent, 1)
		}
		if !p.Voter && p.Running && w.r.IntN(2) == 0 {
			p.CaughtUp = true
		}
	}
	a := Next(w.peers, nodes, cfg)
	switch a.Kind {
	case Add:
		w.peers = append(w.peers, Peer{ID: w.next, Node: a.Node})
		w.next++
	case Remove:
		for i, p := range w.peers {
			if p.ID == a.ID {
				w.peers = append(w.peers[:i:i], w.peers[i+1:]...)
				break
			}
		}
	case Start, Promote:
		for i := range w.peers {
			if w.peers[i].ID == a.ID {
				w.peers[i].Running = true
				w.peers[i].Voter = a.Kind == Promote
			}
		}
	}
	if !w.majority() {
		t.Fatalf("seed %d: %+v leaves no majority: %+v", seed, a, w.peers)
	}
}
