package mr

import (
	"context"
	"sync"
	"time"
)

const (
	openAhead  = 64        // files of a split that are opened before they are needed
	aheadBytes = 4 << 20   // of small ones that are read meanwhile
	smallFile  = 256 << 10 // up to here a file is read when it is opened
)

// opened is what came of opening a range's file.
type opened struct {
	in  input
	err error
}

// eachInput calls fn with each range of a split, in order, and its file. While fn is
// busy with one, the next are being opened: a small file is one round trip, and takes
// longer to come than to be read. Many are on their way at a time: an attempt has one
// thread, so that they are asked for, and their answers read, in one go each time that
// it waits.
func eachInput(ctx context.Context, s space, ranges split, wait *time.Duration, fn func(Range, input) error) error {
	ctx, cancel := context.WithCancel(ctx)
	coming := make(chan chan opened, openAhead)
	room := newBudget(aheadBytes)
	go func() {
		defer close(coming)
		for _, g := range ranges {
			if !room.take(ctx, g.readWhole()) {
				return
			}
			c := make(chan opened, 1)
			select {
			case coming <- c:
				go func() { c <- open(ctx, s, g) }()
			case <-ctx.Done():
				return
			}
		}
	}()
	defer func() {
		cancel()
		for c := range coming {
			if o := <-c; o.err == nil {
				o.in.Close()
			}
		}
	}()
	for _, g := range ranges {
		stop := clock(wait)
		c, ok := <-coming
		if !ok {
			stop()
			return ctx.Err()
		}
		o := <-c
		stop()
		if o.err != nil {
			return o.err
		}
		err := fn(g, o.in)
		o.in.Close()
		room.give(g.readWhole())
		if err != nil {
			return err
		}
	}
	return nil
}

// readWhole is how many bytes are read when g is opened.
func (g Range) readWhole() int64 {
	if g.Whole && g.End <= smallFile {
		return g.End
	}
	return 0
}

// budget is a number of bytes that are taken and given back.
type budget struct {
	mu   sync.Mutex
	left int64
	more chan struct{} // there may be more left now
}

func newBudget(n int64) *budget { return &budget{left: n, more: make(chan struct{}, 1)} }

// take waits for n, which is not more than there is in all; false: ctx has ended.
func (b *budget) take(ctx context.Context, n int64) bool {
	for {
		b.mu.Lock()
		ok := b.left >= n
		if ok {
			b.left -= n
		}
		b.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-b.more:
		case <-ctx.Done():
			return false
		}
	}
}

func (b *budget) give(n int64) {
	b.mu.Lock()
	b.left += n
	b.mu.Unlock()
	select {
	case b.more <- struct{}{}:
	default:
	}
}

func open(ctx context.Context, s space, g Range) (o opened) {
	if g.readWhole() > 0 {
		o.in, o.err = s.Whole(ctx, g.File)
	} else {
		o.in, o.err = s.Open(ctx, g.File)
	}
	return o
}
