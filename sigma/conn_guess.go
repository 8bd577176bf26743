package sigma

// guess decides whether a reader is woken early, when the peer has taken what was
// written last, or only when there is something to read.
//
// Early is good where a wake-up takes longer than the peer's answer: two CPUs
// that sleep (here 32 µs a round trip, and 42 late). It is bad where the reader
// comes too soon, finds nothing and sleeps again: always on one CPU (16 µs, and 11
// late), and where the peer has to think. So early is tried now and then, more
// seldom each time it does not last, and given up as soon as wake-ups for nothing
// outweigh the others.
type guess struct {
	early bool
	fresh bool // just begun: the room there is already wakes once
	score int  // early: how well it goes
	rest  int  // late: waits until early is tried again
	pause int  // how many they will be the next time
}

const (
	minPause, maxPause = 16, 1024
	maxScore           = 8
)

func newGuess() guess { return guess{rest: minPause, pause: minPause} }

// next is told of each look at the socket: whether there was what was wanted, and
// whether it was after a wake-up. It reports whether early has changed.
func (g *guess) next(found, woken bool) (changed bool) {
	switch {
	case !g.early:
		if found || woken { // else it begins to wait
			return false
		}
		if g.rest--; g.rest > 0 {
			return false
		}
		g.early, g.fresh, g.score = true, true, 2
		return true
	case !woken:
		return false
	case found:
		g.fresh = false
		if g.score = min(g.score+1, maxScore); g.score == maxScore {
			g.pause = minPause
		}
		return false
	case g.fresh:
		g.fresh = false
		return false
	}
	if g.score -= 2; g.score > 0 {
		return false
	}
	g.pause = min(2*g.pause, maxPause)
	g.early, g.rest = false, g.pause
	return true
}
