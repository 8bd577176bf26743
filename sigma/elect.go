package sigma

import (
	"context"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/naming/tree"
)

// leaseTime is how long what a program left outlives it when nobody can tell
// that it has ended; a proc's end is told at once.
const leaseTime = 10 * time.Second

// Lease keeps ephemeral files there. It is renewed until Close or the program's
// end.
type Lease struct {
	ID   string
	n    *Names
	stop context.CancelFunc
	done chan struct{}

	once sync.Once
	lost chan struct{}
}

// NewLease makes a lease.
func (n *Names) NewLease(ctx context.Context) (*Lease, error) {
	s, err := n.r0(ctx)
	if err != nil {
		return nil, err
	}
	id, err := s.c.Grant(ctx, leaseTime)
	if err != nil {
		return nil, err
	}
	kctx, stop := context.WithCancel(context.Background())
	l := &Lease{ID: id, n: n, stop: stop, done: make(chan struct{}), lost: make(chan struct{})}
	go l.keep(kctx)
	return l, nil
}

// r0 is the server of the realm's root.
func (n *Names) r0(ctx context.Context) (*server, error) {
	return n.servers.get(ctx, rootTarget)
}

// keep renews the lease; it is lost when it could not be renewed in time.
func (l *Lease) keep(ctx context.Context) {
	defer close(l.done)
	good := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(leaseTime / 4):
		}
		rctx, cancel := context.WithTimeout(ctx, leaseTime/4)
		begin := time.Now()
		s, err := l.n.r0(rctx)
		if err == nil {
			err = s.c.Renew(rctx, l.ID)
		}
		cancel()
		switch {
		case err == nil:
			good = begin
		case api.KindOf(err) == api.NotFound, time.Since(good) > leaseTime:
			l.once.Do(func() { close(l.lost) })
			return
		}
	}
}

// Lost is closed when the lease has ended before Close.
func (l *Lease) Lost() <-chan struct{} { return l.lost }

// Close ends the lease, and the files that go with it.
func (l *Lease) Close(ctx context.Context) error {
	l.stop()
	<-l.done
	s, err := l.n.r0(ctx)
	if err == nil {
		err = s.c.Revoke(ctx, l.ID)
	}
	if api.KindOf(err) == api.NotFound {
		err = nil
	}
	return err
}

// Term is a won election.
type Term struct {
	n     *Names
	fence tree.Fence
	lease *Lease
	names *Names
}

// Elect waits until this program leads at path, an election's file. Its
// directory must exist. The content of the file while it leads is data: where to
// find it, for instance.
func (n *Names) Elect(ctx context.Context, path string, data []byte) (*Term, error) {
	return n.ElectWhile(ctx, path, data, nil)
}

// ElectWhile is Elect for who may have no use for leading any more when it could: each
// time that a leader has gone it asks wanted, whose error ends the wait.
func (n *Names) ElectWhile(ctx context.Context, path string, data []byte, wanted func(context.Context) error) (*Term, error) {
	lease, err := n.NewLease(ctx)
	if err != nil {
		return nil, err
	}
	for {
		i, err := n.PutFile(ctx, path, data, Exclusive(), WithLease(lease.ID))
		if err == nil {
			t := &Term{n: n, lease: lease, fence: tree.Fence{Path: path, Epoch: i.Version}}
			t.names = newNames(n.c, &t.fence)
			return t, nil
		}
		if api.KindOf(err) == api.Exists {
			err = n.awaitEnd(ctx, path)
			if err == nil && wanted != nil {
				err = wanted(ctx)
			}
		}
		select {
		case <-lease.lost:
			err = api.E(api.Unavailable, "elect", path, "the candidate's lease ended")
		default:
		}
		if err != nil {
			lease.Close(context.WithoutCancel(ctx))
			return nil, err
		}
	}
}

// awaitEnd returns when the file is gone.
func (n *Names) awaitEnd(ctx context.Context, path string) error {
	i, err := n.Stat(ctx, path)
	if err == nil {
		err = n.Watch(ctx, path, i.Version, func(_ uint64, ev []Event) error {
			for _, e := range ev {
				if e.Kind == Removed || e.Kind == Renamed {
					return errEnded
				}
			}
			return nil
		})
	}
	switch k := api.KindOf(err); {
	case err == errEnded, k == api.NotFound, k == api.TooOld:
		return nil
	}
	return err
}

var errEnded = api.E(api.Conflict, "watch", "", "it has ended")

// Epoch grows from term to term.
func (t *Term) Epoch() uint64 { return t.fence.Epoch }

// Names is the name space for what the leader does: its writes are refused with
// kind Conflict once the term is over, even after a pause of this program.
func (t *Term) Names() *Names { return t.names }

// Lost is closed when the term has ended before Resign. It may come late; the
// fence does not.
func (t *Term) Lost() <-chan struct{} { return t.lease.lost }

// Resign ends the term, so that another can lead at once.
func (t *Term) Resign(ctx context.Context) error {
	t.names.Close()
	return t.lease.Close(ctx)
}
