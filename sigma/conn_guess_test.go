package sigma

import "testing"

// trips plays round trips of a reader that finds its answer after so many wake-ups
// for nothing when it is woken early, and reports the part that were early.
func trips(g *guess, n int, useless func(trip int) int) float64 {
	early := 0
	for i := range n {
		g.next(false, false) // nothing there yet: it waits
		if g.early {
			early++
			for range useless(i) {
				g.next(false, true)
			}
		}
		g.next(true, true)
	}
	return float64(early) / float64(n)
}

func TestGuess(t *testing.T) {
	for _, c := range []struct {
		name     string
		useless  func(trip int) int
		min, max float64
	}{
		{"the answer is always there by then", func(int) int { return 0 }, 0.99, 1},
		{"the reader always comes too soon", func(int) int { return 1 }, 0.0001, 0.02},
		{"it comes too soon once in ten times", func(i int) int { return (i % 10) / 9 }, 0.7, 1},
		{"it comes too soon two times of three", func(i int) int { return min(i%3, 1) }, 0.0001, 0.1},
	} {
		g := newGuess()
		if got := trips(&g, 100_000, c.useless); got < c.min || got > c.max {
			t.Errorf("%s: early in %.4f of the trips, want %v to %v", c.name, got, c.min, c.max)
		}
	}
}

// What was learnt is not kept for ever: a peer that moves to a CPU of its own is
// found out, and one that moves back.
func TestGuessChangesItsMind(t *testing.T) {
	g := newGuess()
	for range 3 {
		trips(&g, 10*maxPause, func(int) int { return 1 })
		if got := trips(&g, 10*maxPause, func(int) int { return 0 }); got < 0.85 {
			t.Errorf("early in %.2f of the trips after that became good, want most", got)
		}
		if got := trips(&g, 10*maxPause, func(int) int { return 1 }); got > 0.05 {
			t.Errorf("early in %.2f of the trips after that became bad, want few", got)
		}
	}
}
