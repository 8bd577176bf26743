package logs

import "time"

// bucket is a token bucket; a token is a byte.
type bucket struct {
	rate, burst float64 // bytes a second, bytes
	tokens      float64
	last        time.Duration // when tokens was right, on the monotonic clock
}

// fill starts over with a full burst.
func (b *bucket) fill(now time.Duration) { b.tokens, b.last = b.burst, now }

// allowed is how many bytes may be taken now.
func (b *bucket) allowed(now time.Duration) int {
	b.tokens = min(b.burst, b.tokens+b.rate*(now-b.last).Seconds())
	b.last = now
	return int(max(0, b.tokens))
}

func (b *bucket) take(n int) { b.tokens -= float64(n) }

// delay is how long it takes until n bytes may be taken, or a full burst if
// that is less. Call it after allowed.
func (b *bucket) delay(n int) time.Duration {
	missing := min(float64(n), b.burst) - b.tokens
	return max(0, time.Duration(missing/b.rate*float64(time.Second))) + 1
}
