package roles

import (
	"context"
	"testing"
	"time"
)

// A node is not ready before its services are in the names, but does not wait for
// a realm whose leader is away.
func TestAwaitShown(t *testing.T) {
	s := &System{}
	s.shown.init()
	s.awaitShown(t.Context()) // nothing is published

	s.publish("ux", uxService)
	s.publish("s3", s3Service)
	if len(s.shown.wake) != 1 {
		t.Error("the loop is not woken for what was published")
	}
	returned := make(chan struct{})
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	go func() {
		defer close(returned)
		s.awaitShown(ctx)
	}()
	for n := int64(1); n <= 2; n++ {
		s.shown.whole.Store(n)
		signal(s.shown.passed)
	}
	<-returned

	s.publish("db", dbService) // which nobody ever shows
	s.awaitShown(t.Context())
	if s.shown.whole.Load() != 2 {
		t.Error("a service is shown that nobody has shown")
	}
}
