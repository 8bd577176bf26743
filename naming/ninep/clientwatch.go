package ninep

import (
	"context"
	"sync"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// stream holds the answers to a watch until they are looked at.
type stream struct {
	pool  *pool
	ready chan struct{}

	mu    sync.Mutex
	list  []*buffer
	bytes int
	over  bool // the server sent more than it may
	ended bool // nobody looks any more
}

const (
	watchWindow = 4096     // events that may be on their way
	maxStream   = 4 << 20  // bytes of them that a server may send
	maxMerged   = 64 << 10 // events of one version
)

func newStream(p *pool) *stream { return &stream{pool: p, ready: make(chan struct{}, 1)} }

func (s *stream) push(b *buffer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended || s.over || s.bytes+len(b.b) > maxStream && len(s.list) > 0 {
		s.over = true
		s.pool.put(b)
	} else {
		s.list = append(s.list, b)
		s.bytes += len(b.b)
	}
	select {
	case s.ready <- struct{}{}:
	default:
	}
}

func (s *stream) take() (list []*buffer, over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	list, s.list, s.bytes = s.list, nil, 0
	return list, s.over
}

func (s *stream) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended, s.list = true, nil
}

// Watch calls fn with the changes at the place, as [tree.File.Watch] does. While
// fn is slow, the server keeps what comes; a fn that does not return for long is
// cut off with kind Busy, and the version that it was last told goes on from
// there.
func (f *Fid) Watch(ctx context.Context, version uint64, fn func(at uint64, ev []tree.Event) error) error {
	if err := f.hold(); err != nil {
		return err
	}
	defer f.release()
	c := f.c
	if err := c.needSigma("watch"); err != nil {
		return err
	}
	k, err := c.start(ctx, tSwatch, &swatch{Fid: f.num, Version: version, Window: watchWindow}, noFid)
	if err != nil {
		return err
	}
	defer k.stream.end()
	err = c.follow(ctx, k, fn)
	if err == errEnded {
		r := <-k.answer
		defer c.pool.put(r.b)
		return c.decode("watch", tSwatch, r.b, &empty{})
	}
	if r, _ := c.abandon(k, nil); r.b != nil { // it ended by itself just now
		c.pool.put(r.b)
	}
	return err
}

var errEnded = api.E(api.Unavailable, "watch", "", "the server ended it")

// follow hands events over until something ends it; errEnded says that the
// server's reason waits in k.answer.
func (c *Client) follow(ctx context.Context, k *call, fn func(uint64, []tree.Event) error) error {
	var rest []tree.Event // of a version of which more comes
	seen := 0             // events that the server does not know to be seen
	look := func() error {
		list, over := k.stream.take()
		for i, b := range list {
			n, err := c.event(b, &rest, fn)
			if seen += n; seen >= watchWindow/4 {
				c.seen(k, seen)
				seen = 0
			}
			if err != nil {
				for _, b := range list[i+1:] {
					c.pool.put(b)
				}
				return err
			}
		}
		if over {
			return api.E(api.Unavailable, "watch", "", "the server sends more than it was asked for")
		}
		return nil
	}
	for {
		select {
		case <-k.stream.ready:
			if err := look(); err != nil {
				return err
			}
		case r := <-k.answer: // all events came before it
			k.answer <- r
			if err := look(); err != nil {
				return err
			}
			return errEnded
		case <-ctx.Done():
			return ended(ctx)
		case <-c.done:
			return c.lost()
		}
	}
}

// event hands one answer over, or keeps it until the version is complete; n is
// the number of its events.
func (c *Client) event(b *buffer, rest *[]tree.Event, fn func(uint64, []tree.Event) error) (n int, err error) {
	defer c.pool.put(b)
	var m rswatch
	if err := c.decode("watch", tSwatch, b, &m); err != nil {
		return 0, err
	}
	n = len(m.Events)
	ev := append(*rest, m.Events...)
	if *rest = nil; m.More {
		if len(ev) > maxMerged {
			return n, api.E(api.TooLarge, "watch", "", "one change has more than %d events", maxMerged)
		}
		*rest = ev
		return n, nil
	}
	return n, fn(m.At, ev)
}

// seen lets the server send more.
func (c *Client) seen(k *call, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.choreLocked(chore{seen: n, flush: k})
}
