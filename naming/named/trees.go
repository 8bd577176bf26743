package named

import (
	"context"
	"crypto/rand"
	"log/slog"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/naming/tree"
)

// Config of a node's Trees. Etcd, Node and Logger must be given.
type Config struct {
	Etcd Etcd
	Node string // how other nodes find this one; stored while it leads
	// Boot grows with every start of this node (0: not known). What an earlier
	// boot left is taken over at once instead of after its lease: a node's
	// instance lock means that no process of it lives.
	Boot     uint32
	Logger   *slog.Logger
	Limits   Limits
	LeaseTTL time.Duration // of the node's lease in etcd, whole seconds; default 5 s
	// WriteTimeout is how long a write is tried before the term ends and its
	// callers are told that the outcome is unknown; default 4 s.
	WriteTimeout time.Duration
	Clock        clock.Clock          // default clock.Real()
	Boottime     func() time.Duration // CLOCK_BOOTTIME; tests put another one here

	hooks hooks
}

// hooks are for tests alone: defects that the checkers must find, and a place
// where a process may stop for as long as it likes.
type hooks struct {
	serveStale bool                // answer from memory after the lease
	ackEarly   bool                // say that a write is done before etcd does
	noFence    bool                // write without comparing the epoch
	publish    func(*term, *stage) // ahead of showing what was committed
	stop       func()
}

func (h *hooks) pause() {
	if h.stop != nil {
		h.stop()
	}
}

func (c *Config) validate() error {
	switch {
	case c.Etcd == nil || c.Logger == nil:
		return api.E(api.Invalid, "named", "", "config without etcd or logger")
	case c.Node == "":
		return api.E(api.Invalid, "named", "", "config without the node's name")
	case c.LeaseTTL < 0 || c.LeaseTTL > time.Minute:
		return api.E(api.Invalid, "named", "", "a lease of %v; 1 s to 1 min, default 5 s", c.LeaseTTL)
	}
	if c.LeaseTTL == 0 {
		c.LeaseTTL = 5 * time.Second
	}
	if c.Clock == nil {
		c.Clock = clock.Real()
	}
	if c.Boottime == nil {
		c.Boottime = boottime
	}
	if c.WriteTimeout <= 0 {
		c.WriteTimeout = 4 * time.Second
	}
	c.Limits = c.Limits.withDefaults()
	return nil
}

// attempt bounds one request to etcd.
func (c *Config) attempt() time.Duration { return c.WriteTimeout / 2 }

// Trees is the name spaces of all realms as one node serves them: those that it
// leads from memory, of the others it knows who does.
type Trees struct {
	cfg      Config
	instance string // tells this process's keys from those of others of the node

	mu      sync.Mutex
	closed  bool
	seats   map[string]*seat
	sess    *session
	opening *flight // a session is being opened

	stop   context.CancelFunc
	ctx    context.Context // ends with Close
	wg     sync.WaitGroup  // of flights, and of terms until their end
	closer sync.Once
}

// seat is a realm as this node deals with it. A flight is one attempt to lead,
// or the removal; there is one at a time.
type seat struct {
	term   *term
	flight *flight
}

// flight is work that several callers wait for.
type flight struct {
	done chan struct{}
	err  error // set before done is closed
}

// NewTrees makes a node's Trees. It talks to etcd when something is asked.
func NewTrees(cfg Config) (*Trees, error) {
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	t := &Trees{cfg: cfg, instance: rand.Text(), seats: make(map[string]*seat)}
	t.ctx, t.stop = context.WithCancel(context.Background())
	return t, nil
}

// Close gives up every realm, so that others can lead it at once, and waits
// for all that was started.
func (t *Trees) Close() error {
	t.closer.Do(func() {
		t.mu.Lock()
		t.closed = true
		for _, s := range t.seats {
			if s.term != nil {
				s.term.end("the leader is stopping")
			}
		}
		t.mu.Unlock()
		t.stop()
		t.wg.Wait()
		if t.sess != nil {
			t.sess.close()
		}
	})
	return nil
}

// Tree is a realm's tree in one term. When the term ends, everything that came
// out of it fails with Unavailable, and Trees is to be asked again.
type Tree interface {
	tree.FS
	tree.Leases
	// Ended is closed when the term has ended.
	Ended() <-chan struct{}
}

// Tree returns a realm's tree, which this node leads or comes to lead. If another
// node leads, the error is a *NotLeader that names it.
func (t *Trees) Tree(ctx context.Context, realm string) (Tree, error) {
	term, err := t.lead(ctx, realm)
	if err != nil {
		return nil, err
	}
	return &realmFS{term: term}, nil
}

// Leader returns the node that leads a realm, "" if none does.
func (t *Trees) Leader(ctx context.Context, realm string) (string, error) {
	if !validRealm(realm) {
		return "", noRealm(realm)
	}
	if term := t.local(realm); term != nil && term.valid() == nil {
		return t.cfg.Node, nil
	}
	ctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
	defer cancel()
	resp, err := t.cfg.Etcd.Do(ctx, clientv3.OpGet(realmKeys(realm).leader()))
	if err != nil {
		return "", etcdDown(realm, err)
	}
	if kvs := resp.Get().Kvs; len(kvs) > 0 {
		return decodeHolder(kvs[0].Value).Node, nil
	}
	return "", nil
}

// CheckFence says whether a fence's term is the current one; Conflict says that
// it is over. Servers of other parts of the name space ask it.
func (t *Trees) CheckFence(ctx context.Context, realm string, f tree.Fence) error {
	term, err := t.lead(ctx, realm)
	if err != nil {
		return err
	}
	r := &req{c: &api.Caller{}, op: "fence", path: "/", fence: &f}
	return term.read(ctx, func(st *state) error { return newStage(st, term.limits, 0).checkFence(r) })
}

// ProcEnded ends the leases of a proc at once. A realm that has no lease at all
// is not led for it.
func (t *Trees) ProcEnded(ctx context.Context, realm string, proc api.ProcID) error {
	if proc == "" {
		return nil
	}
	if term := t.local(realm); term != nil {
		return term.procEnded(ctx, proc)
	}
	if !validRealm(realm) {
		return noRealm(realm)
	}
	gctx, cancel := context.WithTimeout(ctx, t.cfg.attempt())
	defer cancel()
	resp, err := t.cfg.Etcd.Do(gctx, clientv3.OpGet(string(realmKeys(realm))+"l/", clientv3.WithPrefix(), clientv3.WithCountOnly()))
	if err != nil {
		return etcdDown(realm, err)
	}
	if resp.Get().Count == 0 {
		return nil
	}
	term, err := t.lead(ctx, realm)
	if err != nil {
		return err
	}
	return term.procEnded(ctx, proc)
}

// local is the term in which this node leads a realm, or nil.
func (t *Trees) local(realm string) *term {
	t.mu.Lock()
	defer t.mu.Unlock()
	if s := t.seats[realm]; s != nil && s.term != nil && !s.term.isEnded() {
		return s.term
	}
	return nil
}

// NotLeader is the error of a node that does not lead the realm.
type NotLeader struct {
	Node string // who does
	err  *api.Error
}

func (e *NotLeader) Error() string { return e.err.Error() }

// Unwrap gives the *api.Error, of kind Unavailable.
func (e *NotLeader) Unwrap() error { return e.err }

func notLeader(realm, node string) error {
	return &NotLeader{err: api.E(api.Unavailable, "named", realm, "node %s leads the realm; ask there", node), Node: node}
}

func noRealm(realm string) error { return api.E(api.NotFound, "named", show(realm), "no such realm") }

func etcdDown(realm string, err error) error {
	return api.E(api.Unavailable, "named", realm, "etcd does not answer (%v): it has no quorum, or its disk is very slow", err)
}
