package sim

import (
	"math"
	"math/rand/v2"
	"time"
)

// event is something that happens at a time; of two at one time the earlier made
// goes first.
type event struct {
	at  time.Duration
	seq uint64
	do  func()
}

func (a *event) before(b *event) bool { return a.at < b.at || a.at == b.at && a.seq < b.seq }

// engine is the clock and all that is going to happen: a heap of four children a
// node, which is shallow and keeps siblings side by side.
type engine struct {
	now  time.Duration
	heap []event
	seq  uint64
	rng  *rand.Rand
}

func (e *engine) at(t time.Duration, do func()) {
	e.seq++
	e.heap = append(e.heap, event{max(t, e.now), e.seq, do})
	h, i := e.heap, len(e.heap)-1
	for i > 0 {
		up := (i - 1) / 4
		if !h[i].before(&h[up]) {
			return
		}
		h[i], h[up] = h[up], h[i]
		i = up
	}
}

func (e *engine) after(d time.Duration, do func()) { e.at(e.now+d, do) }

// step lets the next thing happen; false when there is none.
func (e *engine) step() bool {
	if len(e.heap) == 0 {
		return false
	}
	h := e.heap
	next := h[0]
	last := len(h) - 1
	h[0], h[last] = h[last], event{}
	e.heap = h[:last]
	h = e.heap
	for i := 0; ; {
		least := i
		for c := 4*i + 1; c <= 4*i+4 && c < last; c++ {
			if h[c].before(&h[least]) {
				least = c
			}
		}
		if least == i {
			break
		}
		h[i], h[least] = h[least], h[i]
		i = least
	}
	e.now = next.at
	next.do()
	return true
}

// between draws a duration evenly.
func (e *engine) between(a, b time.Duration) time.Duration {
	if b <= a {
		return a
	}
	return a + time.Duration(e.rng.Int64N(int64(b-a)))
}

// exponential draws one around mean.
func (e *engine) exponential(mean time.Duration) time.Duration {
	return time.Duration(float64(mean) * -math.Log(1-e.rng.Float64()))
}
