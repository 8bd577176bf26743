package sim

import (
	"math"
	"math/bits"
	"time"
)

// hist counts durations in classes that are at most one sixteenth wide.
type hist struct {
	n   [64 * 16]uint64
	all uint64
}

func class(d time.Duration) int {
	v := uint64(max(d, 0))
	if v < 16 {
		return int(v)
	}
	e := bits.Len64(v) - 5
	return (e+1)*16 + int(v>>e)&15
}

// upper is the most that a class holds.
func upper(c int) time.Duration {
	if c < 16 {
		return time.Duration(c)
	}
	e := c/16 - 1
	return time.Duration((uint64(c%16)+17)<<e - 1)
}

func (h *hist) add(d time.Duration) {
	h.n[class(d)]++
	h.all++
}

// at is the duration that the part q of all are not above.
func (h *hist) at(q float64) time.Duration {
	want := uint64(math.Ceil(q * float64(h.all)))
	var seen uint64
	for c, n := range h.n {
		if seen += n; n > 0 && seen >= want {
			return upper(c)
		}
	}
	return 0
}
