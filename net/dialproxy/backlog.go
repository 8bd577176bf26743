package dialproxy

import (
	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/net/control"
)

// place is one that was claimed for a connection on its way to a listener.
type place struct {
	counted bool // against the realm's and the node's pending connections
}

// claim takes a place for a connection that will be there in a moment, so that
// its dialler can be told first; it is settled or given back. There is one while
// somebody waits in Accept, or in the backlog.
func (e *endpoint) claim() (pl place, st status) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		return pl, refused
	case e.claimed < len(e.waiters):
	case len(e.backlog)+e.claimed < e.p.cfg.Limits.Backlog+len(e.waiters) && e.reserve():
		pl.counted = true
	default:
		e.refused++
		return pl, busy
	}
	e.claimed++
	return pl, accepted
}

// settle puts a connection into its place, unless the endpoint was closed
// meanwhile; on error it stays the caller's.
func (e *endpoint) settle(pl place, pass control.Passed) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claimed--
	switch {
	case e.closed:
		e.releaseOf(pl)
		return errRefused
	case len(e.waiters) > 0:
		w := e.waiters[0]
		e.waiters = append(e.waiters[:0], e.waiters[1:]...)
		e.accepted++
		e.releaseOf(pl)
		w <- pass
	case !pl.counted && !e.reserve(): // who waited has given up
		e.refused++
		return e.full()
	default:
		e.backlog = append(e.backlog, pass)
	}
	return nil
}

// unclaim gives a place back.
func (e *endpoint) unclaim(pl place) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.claimed--
	e.releaseOf(pl)
}

// offer gives a connection to whoever accepts next; on error it stays the
// caller's.
func (e *endpoint) offer(pass control.Passed) error {
	pl, st := e.claim()
	switch st {
	case accepted:
		return e.settle(pl, pass)
	case busy:
		return e.full()
	}
	return errRefused
}

func (e *endpoint) full() error {
	return api.E(api.Busy, "dial", e.token.Short(), "too many connections wait for this listener, or for all of the realm; accept faster, or try again")
}

// giveBack puts a connection that was taken out and not delivered in front.
func (e *endpoint) giveBack(pass control.Passed) {
	e.mu.Lock()
	defer e.mu.Unlock()
	switch {
	case e.closed:
		unix.Close(pass.FD)
	case len(e.waiters) > 0:
		w := e.waiters[0]
		e.waiters = append(e.waiters[:0], e.waiters[1:]...)
		w <- pass
	default:
		e.accepted--
		e.quota.pending.Add(1)
		e.p.pending.Add(1)
		e.backlog = append([]control.Passed{pass}, e.backlog...)
	}
}

// reserve counts one waiting descriptor against the realm and the node.
func (e *endpoint) reserve() bool {
	l := e.p.cfg.Limits
	return take(&e.quota.pending, &e.p.pending, l.Pending, l.NodePending)
}

func (e *endpoint) release() { give(&e.quota.pending, &e.p.pending) }

func (e *endpoint) releaseOf(pl place) {
	if pl.counted {
		e.release()
	}
}
