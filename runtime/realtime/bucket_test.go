package realtime

import (
	"testing"
	"time"
)

func TestBucket(t *testing.T) {
	const in = 10 * time.Millisecond
	var b bucket
	var used time.Duration
	b.fill(500, 0)
	step := func(uses time.Duration) bool {
		used += uses
		b.pass(500, in, used)
		return b.spent
	}
	for range 1000 { // what it has reserved it may use for good
		if step(5 * time.Millisecond) {
			t.Fatal("spent though it used what it had reserved")
		}
	}
	n := 1
	for ; !step(10 * time.Millisecond); n++ { // twice that for depth
		if n > 100 {
			t.Fatal("never spent")
		}
	}
	if want := int(depth / in); n != want {
		t.Errorf("spent after %d steps of twice its rate, want %d", n, want)
	}
	for range 1000 { // what it uses as an ordinary one is not held against it for long
		step(20 * time.Millisecond)
	}
	for n = 1; step(0); n++ {
		if n > 100 {
			t.Fatal("never full again")
		}
	}
	if want := int(1.5 * float64(limit(500)) / float64(5*time.Millisecond)); n != want {
		t.Errorf("not spent any more after %d steps, want %d: half full", n, want)
	}
	if b.pass(500, time.Hour, used); b.level != limit(500) {
		t.Errorf("after an hour it holds %v, want %v", b.level, limit(500))
	}
	if limit(1) != least {
		t.Errorf("the smallest bucket holds %v", limit(1))
	}
}
