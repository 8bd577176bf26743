package mr

import (
	"context"
	"time"
)

const (
	openAhead = 8         // files of a split that are opened before they are needed
	smallFile = 256 << 10 // up to here a file is read when it is opened
)

// opened is what came of opening a range's file.
type opened struct {
	in  input
	err error
}

// eachInput calls fn with each range of a split, in order, and its file. While fn is
// busy with one, the next are being opened: a small file is one round trip, and takes
// longer to come than to be read.
func eachInput(ctx context.Context, s space, ranges split, wait *time.Duration, fn func(Range, input) error) error {
	ctx, cancel := context.WithCancel(ctx)
	coming := make(chan chan opened, openAhead)
	go func() {
		defer close(coming)
		for _, g := range ranges {
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
		if err != nil {
			return err
		}
	}
	return nil
}

func open(ctx context.Context, s space, g Range) (o opened) {
	if g.Whole && g.End <= smallFile {
		o.in, o.err = s.Whole(ctx, g.File)
	} else {
		o.in, o.err = s.Open(ctx, g.File)
	}
	return o
}
