package realtime

import "time"

// depth is how long a claim may use twice its rate before its bucket is empty, and least
// the smallest bucket: less than a few ticks cannot be told.
const (
	depth = 100 * time.Millisecond
	least = 10 * time.Millisecond
)

// limit is what a bucket holds for so many mCPU.
func limit(mcpu int) time.Duration {
	return max(least, depth*time.Duration(mcpu)/1000)
}

// bucket is what a claim may still use as a real-time one.
type bucket struct {
	level time.Duration
	used  time.Duration // when it was looked at last
	spent bool          // empty, and not half full since
}

// fill makes it full, of one who has used so much.
func (b *bucket) fill(mcpu int, used time.Duration) {
	*b = bucket{level: limit(mcpu), used: used}
}

// pass lets time pass, after which one has used so much.
func (b *bucket) pass(mcpu int, in, used time.Duration) {
	most := limit(mcpu)
	b.level += in*time.Duration(mcpu)/1000 - (used - b.used)
	b.level = max(-most, min(most, b.level))
	b.used = used
	switch {
	case b.level <= 0:
		b.spent = true
	case b.level >= most/2:
		b.spent = false
	}
}
