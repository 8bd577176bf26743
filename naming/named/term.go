package named

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"sigmaos/api"
)

// term is one time that this node leads a realm: from the create revision of
// its key, the epoch, until the key may be somebody else's. It holds the whole
// tree in memory. A term that has ended answers nothing any more; what was
// opened in it is gone.
type term struct {
	cfg    *Config
	limits *Limits
	realm  string
	keys   keys
	epoch  int64
	sess   *session

	queue     chan *change
	unsettled atomic.Pointer[chan struct{}] // set while a write's outcome is unknown

	mu   sync.RWMutex // readers take it shared, publish exclusively
	st   *state
	ring ring
	hub  hub

	history     chan struct{} // closed when the past is loaded, or never will be
	pastRev     int64         // mod revision of the last log before this term
	pastVersion uint64        // and its version
	reap        reaper

	// Of the committer alone.
	logRev   int64  // mod revision of the log key
	seq      uint64 // of the last transaction
	reserved uint64 // end of the block of file ids

	ended   chan struct{}
	endOnce sync.Once
	endErr  error // set before ended is closed
	wg      sync.WaitGroup
}

// run starts the goroutines of the term; wait ends after end.
func (t *term) run() {
	for _, f := range []func(context.Context){t.commitLoop, t.guardLoop, t.historyLoop, t.reapLoop} {
		ctx, cancel := context.WithCancel(context.Background())
		t.wg.Add(1)
		go func() {
			defer t.wg.Done()
			defer cancel()
			f(ctx)
		}()
		t.wg.Add(1)
		go func() {
			defer t.wg.Done()
			select {
			case <-t.ended:
				cancel()
			case <-ctx.Done():
			}
		}()
	}
	t.wg.Add(1)
	go func() {
		defer t.wg.Done()
		select {
		case <-t.sess.ctx.Done():
			if !t.cfg.hooks.serveStale && !t.cfg.hooks.noFence {
				t.end("this node's lease in etcd was lost")
			}
		case <-t.ended:
		}
	}()
}

// end makes the term answer nothing any more. It does not wait.
func (t *term) end(why string) {
	t.endOnce.Do(func() {
		t.endErr = api.E(api.Unavailable, "named", t.realm, "%s; the realm gets another leader: try again", why)
		close(t.ended)
	})
}

func (t *term) isEnded() bool {
	select {
	case <-t.ended:
		return true
	default:
		return false
	}
}

// valid says whether an answer from memory is right now. It is asked after the
// memory was read: what was read then was true at that moment, however long
// this process slept in between.
func (t *term) valid() error {
	t.cfg.hooks.pause()
	if t.cfg.hooks.serveStale {
		return nil
	}
	if t.isEnded() {
		return t.endErr
	}
	if !t.sess.valid() {
		return api.E(api.Unavailable, "named", t.realm, "the leader's lease in etcd has run out and is being renewed: try again")
	}
	return nil
}

// settled waits while the outcome of a write is unknown: the next answer must
// know it. The writer itself has a bound.
func (t *term) settled(ctx context.Context) error {
	for {
		c := t.unsettled.Load()
		if c == nil || t.cfg.hooks.serveStale {
			return nil
		}
		select {
		case <-*c:
		case <-t.ended:
			return t.endErr
		case <-ctx.Done():
			return (&req{op: "named", path: t.realm}).ended(ctx)
		}
	}
}

// read calls fn with the committed state.
func (t *term) read(ctx context.Context, fn func(*state) error) error {
	if err := t.settled(ctx); err != nil {
		return err
	}
	t.mu.RLock()
	err := fn(t.st)
	t.mu.RUnlock()
	if e := t.valid(); e != nil {
		return e
	}
	return err
}

// update is read for what changes things that are in memory only.
func (t *term) update(ctx context.Context, fn func(*state) error) error {
	if err := t.settled(ctx); err != nil {
		return err
	}
	t.mu.Lock()
	err := fn(t.st)
	t.mu.Unlock()
	if e := t.valid(); e != nil {
		return e
	}
	return err
}

func (t *term) now() time.Duration { return t.cfg.Boottime() }
