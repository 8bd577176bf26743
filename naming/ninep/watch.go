package ninep

import (
	"context"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

func (m *swatch) fids() uses { return share(m.Fid) }

// run watches until the request is flushed or the tree ends it. The fid is free
// meanwhile.
func (m *swatch) run(r *request) (message, error) {
	p := r.fid[0].place.hold()
	defer p.drop()
	r.leave()
	r.s.pool.put(r.frame) // a watch may be long
	r.frame = nil
	w := newWatcher(r, int(m.Window))
	defer w.end(nil)
	r.s.mu.Lock()
	r.watcher = w
	r.s.mu.Unlock()
	err := p.file.Watch(w.ctx, m.Version, w.told)
	w.sending.Wait() // what was told comes before the end
	if slow := context.Cause(w.ctx); slow != nil {
		err = slow
	}
	if err == nil {
		err = api.E(api.Unavailable, "watch", "", "the watch ended")
	}
	return nil, err
}

// watcher holds what a watch told until the peer can take it. The peer says how
// many events may be on their way to it; what is more waits here, and when there
// is much of that, the tree waits, which keeps the changes anyhow. A peer that
// makes no progress for some time is cut off.
type watcher struct {
	r      *request
	ctx    context.Context // ends with the request, or because the peer is too slow
	end    context.CancelCauseFunc
	window int           // 0: the peer does not count
	room   chan struct{} // something left the queue
	seen   chan struct{} // the peer saw something

	sending sync.WaitGroup

	mu     sync.Mutex
	busy   bool // somebody sends
	calls  []told
	events int // in calls
	ahead  int // sent and not seen
}

type told struct {
	at     uint64
	events []tree.Event
}

func newWatcher(r *request, window int) *watcher {
	w := &watcher{r: r, window: window, room: make(chan struct{}, 1), seen: make(chan struct{}, 1)}
	w.ctx, w.end = context.WithCancelCause(r.ctx)
	return w
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// told is what the tree calls.
func (w *watcher) told(at uint64, ev []tree.Event) error {
	for !w.add(at, ev) {
		if !w.wait(w.room) {
			return context.Cause(w.ctx)
		}
	}
	return nil
}

// wait waits for progress; without any for too long it ends the watch.
func (w *watcher) wait(progress chan struct{}) bool {
	o := &w.r.s.opts
	slow := time.NewTimer(o.Slow)
	defer slow.Stop()
	select {
	case <-progress:
		return true
	case <-w.ctx.Done():
	case <-slow.C:
		w.end(api.E(api.Busy, "watch", "", "too slow: more changes came than you took, and you took none for %v; go on from the last version, or list again", o.Slow))
	}
	return false
}

// add queues what was told, if there is room.
func (w *watcher) add(at uint64, ev []tree.Event) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	most := w.r.s.opts.Unread
	if len(w.calls) > 0 && w.events+len(ev) > most || len(w.calls) >= most {
		return false
	}
	w.calls = append(w.calls, told{at, append([]tree.Event(nil), ev...)})
	w.events += len(ev)
	if !w.busy {
		w.busy = true
		w.sending.Go(w.send)
	}
	return true
}

// send sends until nothing is left, or the peer takes no more.
func (w *watcher) send() {
	for {
		w.mu.Lock()
		if len(w.calls) == 0 {
			w.busy = false
			w.mu.Unlock()
			return
		}
		t := w.calls[0]
		w.calls = w.calls[1:]
		w.events -= len(t.events)
		w.mu.Unlock()
		signal(w.room)
		if !w.sendCall(t) {
			return // still busy: nobody else may begin in the middle
		}
	}
}

// sendCall sends what one call told, in as many messages as it takes. Those of
// one version belong together: all but the last of their messages say that there
// is more.
func (w *watcher) sendCall(t told) bool {
	space := w.r.s.msize - headerSize - 11
	most := len(t.events)
	if w.window > 0 {
		most = min(most, max(1, w.window/2))
	}
	m, left := &rswatch{}, space
	for i, e := range t.events {
		if left -= eventSize + len(e.Name); left < 0 || len(m.Events) == most {
			m.At = t.events[i-1].Version
			m.More = e.Version == m.At
			if !w.sendOne(m) {
				return false
			}
			m, left = &rswatch{}, space-eventSize-len(e.Name)
		}
		m.Events = append(m.Events, e)
	}
	m.At = t.at
	return w.sendOne(m)
}

// sendOne waits until the peer takes the events of m.
func (w *watcher) sendOne(m *rswatch) bool {
	for !w.take(len(m.Events)) {
		if !w.wait(w.seen) {
			return false
		}
	}
	return w.ctx.Err() == nil && w.r.s.send(w.r.tag, tSwatch+1, m, nil) == nil
}

func (w *watcher) take(n int) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.window > 0 && w.ahead > 0 && w.ahead+n > w.window {
		return false
	}
	w.ahead += n
	return true
}

func (m *sseen) fids() uses { return uses{} }

// run: a watch that has ended meanwhile does not mind.
func (m *sseen) run(r *request) (message, error) {
	r.s.mu.Lock()
	var w *watcher
	if q := r.s.reqs[m.Tag]; q != nil {
		w = q.watcher
	}
	r.s.mu.Unlock()
	if w != nil {
		w.mu.Lock()
		w.ahead = max(0, w.ahead-int(m.Events))
		w.mu.Unlock()
		signal(w.seen)
	}
	return &empty{}, nil
}
