package named

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"sigmaos/internal/clock"
)

// Etcd is what the trees need of etcd's client; *clientv3.Client has it. All
// reads and writes of keys go through Do.
type Etcd interface {
	Do(ctx context.Context, op clientv3.Op) (clientv3.OpResponse, error)
	Watch(ctx context.Context, key string, opts ...clientv3.OpOption) clientv3.WatchChan
	Grant(ctx context.Context, ttl int64) (*clientv3.LeaseGrantResponse, error)
	KeepAliveOnce(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseKeepAliveResponse, error)
	Revoke(ctx context.Context, id clientv3.LeaseID) (*clientv3.LeaseRevokeResponse, error)
}

// boottime is CLOCK_BOOTTIME: unlike CLOCK_MONOTONIC it goes on while the
// machine sleeps, as etcd's lease does.
func boottime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		panic("clock_gettime(CLOCK_BOOTTIME): " + err.Error()) // Linux has it since 2.6.39
	}
	return time.Duration(ts.Nano())
}

// session is one etcd lease, under which the keys of all realms that this node
// leads are kept. Its deadline is when etcd may give them to somebody else,
// counted from before the keepalive was sent, less a tenth: clocks drift, and
// etcd's own leader may change.
type session struct {
	etcd    Etcd
	clock   clock.Clock
	now     func() time.Duration
	log     *slog.Logger
	id      clientv3.LeaseID
	attempt time.Duration // bounds one request

	deadline atomic.Int64    // on now
	ctx      context.Context // ends when the lease is lost, or given back
	lose     context.CancelFunc
	done     chan struct{} // the keepalive has ended
}

// openSession asks etcd for a lease and keeps it alive until close.
func openSession(ctx context.Context, cfg *Config) (*session, error) {
	s := &session{etcd: cfg.Etcd, clock: cfg.Clock, now: cfg.Boottime, log: cfg.Logger, attempt: cfg.attempt(), done: make(chan struct{})}
	sent := s.now()
	resp, err := s.etcd.Grant(ctx, int64((cfg.LeaseTTL+time.Second-1)/time.Second))
	if err != nil {
		return nil, err
	}
	s.id = resp.ID
	ttl := s.extend(sent, resp.TTL)
	s.ctx, s.lose = context.WithCancel(context.Background())
	go s.keep(ttl)
	return s, nil
}

func (s *session) extend(sent time.Duration, seconds int64) time.Duration {
	ttl := time.Duration(seconds) * time.Second
	s.deadline.Store(int64(sent + ttl - ttl/10))
	return ttl
}

// valid reports whether etcd cannot have given the keys away yet.
func (s *session) valid() bool { return int64(s.now()) < s.deadline.Load() }

func (s *session) isLost() bool { return s.ctx.Err() != nil }

func (s *session) keep(ttl time.Duration) {
	defer close(s.done)
	defer s.lose()
	pause := ttl / 3
	for s.sleep(pause) {
		sent := s.now()
		kctx, cancel := context.WithTimeout(s.ctx, ttl/3)
		resp, err := s.etcd.KeepAliveOnce(kctx, s.id)
		cancel()
		switch {
		case err == nil:
			// After a pause the deadline may have passed; but etcd has the lease
			// still, so nobody else had the keys in between.
			s.extend(sent, resp.TTL)
			pause = ttl / 3
		case errors.Is(err, rpctypes.ErrLeaseNotFound):
			s.log.Warn("etcd has ended this node's lease: it leads no realm any more")
			return
		case !s.valid():
			if !s.isLost() {
				s.log.Warn("etcd cannot be reached to renew this node's lease: it leads no realm any more", "err", err)
			}
			return
		default:
			pause = ttl / 20
		}
	}
}

// sleep waits on the session's clock.
func (s *session) sleep(d time.Duration) bool {
	c := make(chan struct{})
	t := s.clock.AfterFunc(d, func() { close(c) })
	defer t.Stop()
	select {
	case <-c:
		return true
	case <-s.ctx.Done():
		return false
	}
}

// close ends the session and gives the lease back, so that others need not
// wait for its end.
func (s *session) close() {
	s.deadline.Store(0)
	s.lose()
	<-s.done
	ctx, cancel := context.WithTimeout(context.Background(), min(s.attempt, time.Second))
	defer cancel()
	if _, err := s.etcd.Revoke(ctx, s.id); err != nil && !errors.Is(err, rpctypes.ErrLeaseNotFound) {
		s.log.Info("this node's lease could not be given back; it ends by itself", "err", err)
	}
}
