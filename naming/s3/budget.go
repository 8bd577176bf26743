package s3

import (
	"context"
	"sync"
)

// budget is so many bytes that may be held at once.
type budget struct {
	mu    sync.Mutex
	free  int64
	freed chan struct{} // closed and replaced when some come back
}

func (b *budget) init(n int64) { b.free, b.freed = n, make(chan struct{}) }

// take waits until n bytes are free, or ctx ends.
func (b *budget) take(ctx context.Context, n int64) error {
	for {
		b.mu.Lock()
		if b.free >= n {
			b.free -= n
			b.mu.Unlock()
			return nil
		}
		freed := b.freed
		b.mu.Unlock()
		select {
		case <-freed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.free += n
	close(b.freed)
	b.freed = make(chan struct{})
}
