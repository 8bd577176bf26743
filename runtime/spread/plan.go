package spread

import "slices"

// Thread is one that can run now.
type Thread struct {
	TID   int
	Realm string
	Slot  string
	CPU   int // on which it runs or waits
}

// Move says that a thread should be on another CPU.
type Move struct{ TID, To int }

// weights are what the kernel makes of threads: a realm weighs 1, its slots
// with work weigh the same, and so do the threads of a slot.
type weights struct {
	cpus  int
	realm map[string][]float64 // on each CPU
	all   []float64
}

func weigh(threads []Thread, cpus int) (w weights, each []float64) {
	type slot struct{ realm, name string }
	inSlot, slots := make(map[slot]float64), make(map[string]float64)
	for _, t := range threads {
		s := slot{t.Realm, t.Slot}
		if inSlot[s]++; inSlot[s] == 1 {
			slots[t.Realm]++
		}
	}
	w = weights{cpus: cpus, realm: make(map[string][]float64), all: make([]float64, cpus)}
	each = make([]float64, len(threads))
	for i, t := range threads {
		each[i] = 1 / (inSlot[slot{t.Realm, t.Slot}] * slots[t.Realm])
		if w.realm[t.Realm] == nil {
			w.realm[t.Realm] = make([]float64, cpus)
		}
		w.add(t.Realm, t.CPU, each[i])
	}
	return w, each
}

func (w weights) add(realm string, cpu int, v float64) {
	w.realm[realm][cpu] += v
	w.all[cpu] += v
}

// gain is how much nearer to even everything is with v of a realm moved from one
// CPU to another. Uneven is the sum of squares of what realms have on CPUs, and of
// what CPUs have in all. The first counts for more: a realm that has the same
// everywhere gets its share whatever else the CPUs do, latency-critical procs among
// it. The second is for realms that cannot be everywhere.
func (w weights) gain(realm string, from, to int, v float64) float64 {
	r := w.realm[realm]
	return 2 * v * (realmFirst*(r[from]-r[to]-v) + (w.all[from] - w.all[to] - v))
}

const realmFirst = 4

// Even reports whether every realm has the same on every CPU.
func Even(threads []Thread, cpus int) bool {
	w, _ := weigh(threads, cpus)
	for _, on := range w.realm {
		if slices.Max(on)-slices.Min(on) > 0.01 {
			return false
		}
	}
	return true
}

// enough is the least gain for which a thread is moved: less is noise, and moving
// costs the thread its caches.
const enough = 0.02

// Plan says which threads to move so that realms get equal parts of the CPUs,
// which are numbered from 0; the best move first, at most so many.
func Plan(threads []Thread, cpus, most int) (moves []Move) {
	threads = slices.Clone(threads)
	w, each := weigh(threads, cpus)
	for len(moves) < most {
		best, to, top := -1, 0, enough
		for i, t := range threads {
			for c := range cpus {
				if c == t.CPU {
					continue
				}
				if g := w.gain(t.Realm, t.CPU, c, each[i]); g > top {
					best, to, top = i, c, g
				}
			}
		}
		if best < 0 {
			return moves
		}
		t := &threads[best]
		w.add(t.Realm, t.CPU, -each[best])
		w.add(t.Realm, to, each[best])
		t.CPU = to
		moves = slices.DeleteFunc(moves, func(m Move) bool { return m.TID == t.TID })
		moves = append(moves, Move{t.TID, to})
	}
	return moves
}
