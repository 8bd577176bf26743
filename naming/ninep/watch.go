package ninep

import (
	"context"
	"math"
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
	w := &watcher{r: r}
	err := p.file.Watch(r.ctx, m.Version, w.told)
	w.sending.Wait() // what was told comes before the end
	if err == nil {
		err = api.E(api.Unavailable, "watch", "", "the watch ended")
	}
	return nil, err
}

// watcher holds what a watch told until the peer took it.
type watcher struct {
	r       *request
	sending sync.WaitGroup

	mu     sync.Mutex
	busy   bool // somebody sends
	calls  []told
	events int // in calls
}

type told struct {
	at     uint64
	events []tree.Event
}

// told is what the tree calls. It does not wait for the peer; it ends the watch
// of one that does not read.
func (w *watcher) told(at uint64, ev []tree.Event) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	most := w.r.s.opts.Unread
	if len(w.calls) > 0 && w.events+len(ev) > most || len(w.calls) >= most {
		return api.E(api.Busy, "watch", "", "too slow: more than %d events were not read; list again, or go on from the last version", most)
	}
	w.calls = append(w.calls, told{at, append([]tree.Event(nil), ev...)})
	w.events += len(ev)
	if !w.busy {
		w.busy = true
		w.sending.Go(w.send)
	}
	return nil
}

// send sends until nothing is left.
func (w *watcher) send() {
	for {
		w.mu.Lock()
		calls := w.calls
		if w.calls, w.events = nil, 0; len(calls) == 0 {
			w.busy = false
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		for _, t := range calls {
			w.r.sendEvents(t)
		}
	}
}

// sendEvents sends what one call told, in as many messages as it takes. Those of
// one version belong together: all but the last of their messages say that there
// is more.
func (r *request) sendEvents(t told) {
	room := r.s.msize - headerSize - 11
	m := &rswatch{}
	left := room
	for i, e := range t.events {
		if left -= eventSize + len(e.Name); left < 0 {
			m.At = t.events[i-1].Version
			m.More = e.Version == m.At
			r.s.send(r.tag, tSwatch+1, m, nil)
			m, left = &rswatch{}, room-eventSize-len(e.Name)
		}
		m.Events = append(m.Events, e)
	}
	m.At = t.at
	r.s.send(r.tag, tSwatch+1, m, nil)
}

func (s *server) leases() (tree.Leases, error) {
	l, ok := s.fs.(tree.Leases)
	if !ok {
		return nil, api.E(api.Unsupported, "lease", "", "there are no leases in this part of the name space")
	}
	return l, nil
}

func (m *sgrant) fids() uses { return uses{} }

func (m *sgrant) run(r *request) (message, error) {
	l, err := r.s.leases()
	if err != nil {
		return nil, err
	}
	if m.TTL > math.MaxInt64/uint64(time.Millisecond) {
		return nil, bad("lease", "%d ms are longer than anything lasts", m.TTL)
	}
	id, err := l.Grant(r.ctx, r.s.caller, time.Duration(m.TTL)*time.Millisecond)
	return &lease{ID: id}, err
}

func (m *srenew) fids() uses { return uses{} }

func (m *srenew) run(r *request) (message, error) {
	return m.on(r, func(ctx context.Context, l tree.Leases) error { return l.Renew(ctx, r.s.caller, m.ID) })
}

func (m *srevoke) fids() uses { return uses{} }

func (m *srevoke) run(r *request) (message, error) {
	return m.on(r, func(ctx context.Context, l tree.Leases) error { return l.Revoke(ctx, r.s.caller, m.ID) })
}

func (m *lease) on(r *request, do func(context.Context, tree.Leases) error) (message, error) {
	l, err := r.s.leases()
	if err != nil {
		return nil, err
	}
	return &empty{}, do(r.ctx, l)
}
