package apart

import (
	"cmp"
	"slices"
	"time"
)

// Thread is what one did since the last look.
type Thread struct {
	TID    int
	CPU    int // on which it ran last
	Ran    time.Duration
	Waited time.Duration // for a CPU, though it could run
}

// Move says on which CPU a thread should go on.
type Move struct{ TID, To int }

// least is the part of the time for which a thread has waited before it is moved: less
// is what everybody waits now and then, and moving costs a thread its caches.
const least = 0.02

// Plan says which threads to move because they waited where others of theirs run, and
// another of the CPUs, which are numbered from 0, has less of that. Who waited longest
// is moved first, at most so many in all. in is the time since the last look.
func Plan(threads []Thread, cpus int, in time.Duration, most int) (moves []Move) {
	use := make([]time.Duration, cpus)
	var late []Thread
	for _, t := range threads {
		use[t.CPU] += t.Ran
		if float64(t.Waited) > least*float64(in) {
			late = append(late, t)
		}
	}
	slices.SortStableFunc(late, func(a, b Thread) int { return cmp.Compare(b.Waited, a.Waited) })
	for _, t := range late {
		if len(moves) == most {
			break
		}
		to := 0
		for c := range use {
			if use[c] < use[to] {
				to = c
			}
		}
		// It leaves more behind than it meets, and by more than there is to gain at least.
		if use[t.CPU]-t.Ran-use[to] <= time.Duration(least*float64(in)) {
			continue
		}
		use[t.CPU] -= t.Ran
		use[to] += t.Ran
		moves = append(moves, Move{t.TID, to})
	}
	return moves
}
