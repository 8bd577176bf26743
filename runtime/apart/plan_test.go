package apart

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

func TestPlanMovesWhoWaited(t *testing.T) {
	for _, c := range []struct {
		name    string
		threads []Thread
		want    []Move
	}{
		{"nothing runs", nil, nil},
		{"nobody waits", []Thread{{1, 0, 40 * ms, 0}, {2, 0, 3 * ms, ms}}, nil},
		{"a server and who asks it", []Thread{{1, 0, 72 * ms, ms}, {2, 0, 3 * ms, 20 * ms}}, []Move{{2, 1}}},
		{"both wait", []Thread{{1, 0, 50 * ms, 49 * ms}, {2, 0, 50 * ms, 50 * ms}}, []Move{{2, 1}}},
		{"four", []Thread{{1, 0, 25 * ms, 70 * ms}, {2, 0, 25 * ms, 71 * ms}, {3, 0, 25 * ms, 72 * ms}, {4, 0, 25 * ms, 73 * ms}}, []Move{{4, 1}, {3, 1}}},
		{"the other CPU is no better", []Thread{{1, 0, 40 * ms, ms}, {2, 0, 3 * ms, 20 * ms}, {3, 1, 40 * ms, ms}}, nil},
		{"it waited for something else", []Thread{{1, 0, 40 * ms, 20 * ms}}, nil},
		{"it moves to where less runs", []Thread{{1, 0, 70 * ms, ms}, {2, 0, 3 * ms, 20 * ms}, {3, 1, 30 * ms, ms}}, []Move{{2, 1}}},
	} {
		if got := Plan(c.threads, 2, 100*ms, 8); !slices.Equal(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
	four := []Thread{{1, 0, 25 * ms, 70 * ms}, {2, 0, 25 * ms, 71 * ms}, {3, 0, 25 * ms, 72 * ms}, {4, 0, 25 * ms, 73 * ms}}
	if got := Plan(four, 2, 100*ms, 1); len(got) != 1 {
		t.Errorf("at most one move wanted, not %v", got)
	}
}

// Whatever ran and waited: a move leaves more behind than it meets, so that moving
// comes to an end when all threads go on as they did.
func TestPlanEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cpus := rapid.IntRange(2, 6).Draw(rt, "cpus")
		var threads []Thread
		for i := range rapid.IntRange(0, 20).Draw(rt, "threads") {
			threads = append(threads, Thread{
				TID: i, CPU: rapid.IntRange(0, cpus-1).Draw(rt, "cpu"),
				Ran:    time.Duration(rapid.IntRange(0, 100).Draw(rt, "ran")) * ms,
				Waited: time.Duration(rapid.IntRange(0, 100).Draw(rt, "waited")) * ms,
			})
		}
		for range 100 {
			moves := Plan(threads, cpus, 100*ms, 1)
			if len(moves) == 0 {
				return
			}
			for _, m := range moves {
				use := make([]time.Duration, cpus)
				for _, o := range threads {
					if o.TID != m.TID {
						use[o.CPU] += o.Ran
					}
				}
				at := &threads[m.TID]
				if use[m.To] >= use[at.CPU] {
					rt.Fatalf("%v: %v there and %v here", m, use[m.To], use[at.CPU])
				}
				at.CPU = m.To
			}
		}
		rt.Fatal("threads are moved for ever")
	})
}
