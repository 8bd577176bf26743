package spread

import (
	"fmt"
	"math"
	"testing"

	"pgregory.net/rapid"
)

// place makes threads from a picture: for each CPU the realms that have one on it.
// Each thread is a slot of its own.
func place(cpus ...string) (out []Thread) {
	for c, realms := range cpus {
		for _, r := range realms {
			out = append(out, Thread{TID: len(out) + 1, Realm: string(r), Slot: fmt.Sprint(len(out)), CPU: c})
		}
	}
	return out
}

func apply(threads []Thread, moves []Move) []Thread {
	out := append([]Thread(nil), threads...)
	for _, m := range moves {
		for i := range out {
			if out[i].TID == m.TID {
				out[i].CPU = m.To
			}
		}
	}
	return out
}

// shares are what the kernel gives: on each CPU by the weights that are there.
func shares(threads []Thread, cpus int) map[string]float64 {
	w, _ := weigh(threads, cpus)
	out := make(map[string]float64)
	for r, on := range w.realm {
		for c, v := range on {
			if v > 0 {
				out[r] += v / w.all[c]
			}
		}
	}
	return out
}

func TestPlanEvensWhatTheKernelLeaves(t *testing.T) {
	for _, c := range []struct {
		name  string
		cpus  []string
		moves int
	}{
		{"nothing runs", []string{"", ""}, 0},
		{"even already", []string{"ab", "ab"}, 0},
		{"one realm on one CPU", []string{"aaaa", ""}, 2},
		{"one realm has a CPU for itself", []string{"aabbcc", "dd"}, 4},
		{"all on one", []string{"aabbccdd", ""}, 4},
		{"three realms, two CPUs", []string{"aabb", "cc"}, 3},
		{"realms of one thread", []string{"abcd", ""}, 2},
		{"many CPUs", []string{"aaaabbbb", "", "", ""}, 6},
	} {
		threads := place(c.cpus...)
		moves := Plan(threads, len(c.cpus), 100)
		if len(moves) != c.moves {
			t.Errorf("%s: %d moves %v, want %d", c.name, len(moves), moves, c.moves)
		}
		after := apply(threads, moves)
		got := shares(after, len(c.cpus))
		for r, v := range got {
			if want := float64(len(c.cpus)) / float64(len(got)); math.Abs(v-want) > 0.01 {
				t.Errorf("%s: realm %s gets %.2f CPUs, want %.2f", c.name, r, v, want)
			}
		}
		if again := Plan(after, len(c.cpus), 100); len(again) != 0 {
			t.Errorf("%s: what was moved is moved again: %v", c.name, again)
		}
	}
}

func TestEvenIsOfEveryRealm(t *testing.T) {
	for picture, want := range map[[2]string]bool{
		{"", ""}: true, {"ab", "ab"}: true, {"aab", "aab"}: true, {"ab", "a"}: false, {"a", "b"}: false, {"aab", "ab"}: false,
	} {
		if got := Even(place(picture[0], picture[1]), 2); got != want {
			t.Errorf("Even(%q) = %v", picture, got)
		}
	}
}

// Slots weigh the same within a realm, however many threads each has.
func TestPlanWeighsThreadsAsTheKernelDoes(t *testing.T) {
	threads := []Thread{
		{1, "a", "1", 0}, {2, "a", "1", 0}, {3, "a", "1", 1}, {4, "a", "1", 1}, // one proc of four threads
		{5, "a", "2", 0},                   // and one of one
		{6, "b", "3", 0}, {7, "b", "4", 1}, // another realm
	}
	_, each := weigh(threads, 2)
	for i, want := range []float64{.125, .125, .125, .125, .5, .5, .5} {
		if each[i] != want {
			t.Errorf("thread %d weighs %v, want %v", i+1, each[i], want)
		}
	}
	if moves := Plan(threads, 2, 1); len(moves) != 1 {
		t.Errorf("at most one move wanted, not %v", moves)
	}
	// a has 0.75 on the first CPU and 0.25 on the second: its threads can even that.
	got := shares(apply(threads, Plan(threads, 2, 100)), 2)
	if math.Abs(got["a"]-1) > 0.01 || math.Abs(got["b"]-1) > 0.01 {
		t.Errorf("shares %v, want 1 each", got)
	}
}

// Whatever there is: a plan ends, moves no thread twice, and where it moves
// something nothing is left to move.
func TestPlanEnds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		cpus := rapid.IntRange(2, 6).Draw(rt, "cpus")
		var threads []Thread
		for i := range rapid.IntRange(0, 30).Draw(rt, "threads") {
			realm := rapid.SampledFrom([]string{"a", "b", "c", "d"}).Draw(rt, "realm")
			threads = append(threads, Thread{i + 1, realm, realm + rapid.SampledFrom([]string{"1", "2", "3"}).Draw(rt, "slot"), rapid.IntRange(0, cpus-1).Draw(rt, "cpu")})
		}
		moves := Plan(threads, cpus, 1000)
		seen := map[int]bool{}
		for _, m := range moves {
			if seen[m.TID] || m.To < 0 || m.To >= cpus {
				rt.Fatalf("moves %v", moves)
			}
			seen[m.TID] = true
		}
		if again := Plan(apply(threads, moves), cpus, 1000); len(again) != 0 {
			rt.Fatalf("after %v still %v", moves, again)
		}
	})
}
