package ninep

import "context"

// queue is the order of the requests on one fid. Those that share it run
// together; one that owns it runs alone, after all that came before and before
// all that come behind. The server's mu guards it; requests join in the order in
// which they were read, so no two wait for each other.
type queue struct {
	last    chan struct{} // closed when the last owner is done; nil: there was none
	readers *group        // that came behind it
}

// group is sharing requests between two owners.
type group struct {
	n      int
	sealed bool          // an owner waits behind it
	idle   chan struct{} // closed once sealed and empty
}

// place in a queue.
type turn struct {
	q      *queue
	before chan struct{} // the owner to wait for
	shared *group        // the group it is in
	ahead  *group        // for an owner: the group to wait for
	own    chan struct{} // for an owner: to close when done
}

func (q *queue) shareLocked() turn {
	if q.readers == nil {
		q.readers = &group{}
	}
	q.readers.n++
	return turn{q: q, before: q.last, shared: q.readers}
}

func (q *queue) ownLocked() turn {
	t := turn{q: q, before: q.last, own: make(chan struct{})}
	if g := q.readers; g != nil && g.n > 0 {
		g.sealed, g.idle = true, make(chan struct{})
		t.ahead = g
	}
	q.last, q.readers = t.own, nil
	return t
}

// wait returns when it is the turn of t, or ctx ends.
func (t *turn) wait(ctx context.Context) error {
	if t.before != nil {
		select {
		case <-t.before:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if t.ahead != nil {
		select {
		case <-t.ahead.idle:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

// leaveLocked lets the next ones go. An owner must have had its turn.
func (t *turn) leaveLocked() {
	if t.own != nil {
		close(t.own)
		if t.q.last == t.own {
			t.q.last = nil
		}
		return
	}
	t.shared.n--
	if t.shared.n == 0 && t.shared.sealed {
		close(t.shared.idle)
	}
}
