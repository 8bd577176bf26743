package place

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/talk"
	"sigmaos/sched/node"
)

// Host runs procs and answers for them. Its methods are called in order, one at a
// time and without the engine's lock; they may call the engine. They must not wait.
type Host interface {
	// Start starts a proc that was admitted here, when those of evict have ended,
	// which it ends. What becomes of it is told by Began, Wrote and Ended.
	Start(o *Order, evict []api.ProcID)
	// End ends a proc that runs here, after asking it where grace is above 0.
	End(id api.ProcID, as api.State, reason string, grace time.Duration)
	// Kept tells that so many bytes given to Wrote are in the home's log.
	Kept(id api.ProcID, n int)

	// Placed, Running, Output and Finished tell the home of a proc what became of
	// it. Finished comes once and last.
	Placed(id api.ProcID, node uint16)
	Running(id api.ProcID, stamps api.Stamps)
	Output(id api.ProcID, stream int, data []byte)
	Finished(id api.ProcID, r Result)
}

// Config of an Engine.
type Config struct {
	Self talk.Peer
	Host Host
	// Table is this machine's capacity; the engine alone uses it.
	Table *node.Table
	// Queued bounds the waiting procs of a realm in one shard, or in lcsched.
	Queued int
	// Send and Watch are those of the node's talk.
	Send  func(node uint16, m any)
	Watch func(node uint16)
	// Claim has etcd give out an epoch for lcsched. It may wait. Patience is how long
	// this node must have been elected before: one that starts knows nobody.
	Claim    func(ctx context.Context) (epoch uint64, err error)
	Patience time.Duration
	// Used is the CPU time that this node's procs have had. nil: they seem idle.
	Used func() time.Duration
	// Serving is told when this node begins or ends to serve a shard.
	Serving func(bool)
	Clock   clock.Clock // default: the machine's
	Logger  *slog.Logger
	Seed    uint64 // of the random choices
}

// Engine is one node's part in placing procs. Close it.
type Engine struct {
	cfg    Config
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup // claims under way

	mu       sync.Mutex
	closed   bool
	local    []any // messages of this node to itself that wait
	effects  []func()
	spare    []func()
	draining bool
	view     view
	home     home
	shard    shard
	lcs      lcsched
	run      runner
}

// New makes the engine of a node that knows no members yet.
func New(cfg Config) *Engine {
	if cfg.Clock == nil {
		cfg.Clock = clock.Real()
	}
	if cfg.Serving == nil {
		cfg.Serving = func(bool) {}
	}
	e := &Engine{cfg: cfg}
	e.ctx, e.cancel = context.WithCancel(context.Background())
	e.home.init(cfg)
	e.run.init(cfg)
	return e
}

// Close ends the engine: it says and does nothing more.
func (e *Engine) Close() {
	e.mu.Lock()
	e.closed = true
	e.mu.Unlock()
	e.cancel()
	e.wg.Wait()
}

// unlock does what messages of this node to itself say, lets go of the lock and
// carries out what was decided. Effects keep their order: while one goroutine is at
// it, others leave theirs to it.
func (e *Engine) unlock() {
	e.settle()
	if e.draining || len(e.effects) == 0 {
		e.mu.Unlock()
		return
	}
	e.draining = true
	for len(e.effects) > 0 {
		list := e.effects
		e.effects = e.spare[:0]
		e.mu.Unlock()
		for _, f := range list {
			f()
		}
		clear(list)
		e.mu.Lock()
		e.spare = list
		e.settle()
	}
	e.draining = false
	e.mu.Unlock()
}

// settle handles what this node has said to itself.
func (e *Engine) settle() {
	for i := 0; i < len(e.local); i++ {
		m := e.local[i]
		e.local[i] = nil
		e.handle(e.cfg.Self.Number, m)
	}
	e.local = e.local[:0]
}

// do has something done without the lock.
func (e *Engine) do(f func()) { e.effects = append(e.effects, f) }

// send sends a message, to this node too.
func (e *Engine) send(to uint16, m any) {
	if to == e.cfg.Self.Number {
		e.local = append(e.local, m)
		return
	}
	e.cfg.Send(to, m)
}

// after calls f with the lock, later.
func (e *Engine) after(d time.Duration, f func()) {
	e.cfg.Clock.AfterFunc(d, func() {
		e.mu.Lock()
		if !e.closed {
			f()
		}
		e.unlock()
	})
}

func (e *Engine) now() time.Duration { return e.cfg.Clock.Monotonic() }

// Receive takes messages of another node, in order.
func (e *Engine) Receive(from talk.Peer, messages []any) {
	e.mu.Lock()
	if !e.closed {
		for _, m := range messages {
			e.handle(from.Number, m)
		}
	}
	e.unlock()
}

// handle gives a message to the part that it is for.
func (e *Engine) handle(from uint16, m any) {
	switch m := m.(type) {
	case submit:
		e.submitted(from, m.o)
	case notHere:
		e.homeNotHere(from, m.id)
	case refuse:
		e.homeRefused(from, m)
	case moved:
		e.homeMoved(from, m)
	case lost:
		e.homeLost(m)
	case taken:
		e.homeTaken(from, m.id)
	case began:
		e.homeBegan(from, m)
	case wrote:
		e.homeWrote(from, m)
	case ended:
		e.homeEnded(from, m)
	case drop:
		e.dropped(m)
	case kill:
		e.killed(m)
	case kept:
		e.do(func() { e.cfg.Host.Kept(m.id, m.n) })
	case ask:
		e.asked(from, m.a)
	case hint:
		e.hinted(from, m.h)
	case grant:
		e.granted(from, m)
	case back:
		e.givenBack(from, m.o)
	case hello:
		e.greeted(from, m.h)
	case decide:
		e.decided(from, m)
	case newer:
		e.deposed(m.epoch)
	case report:
		e.reported(m.r)
	case release:
		e.released(m)
	case refused:
		e.wasRefused(m)
	}
}

// submitted is an order for this node's shard, or lcsched.
func (e *Engine) submitted(from uint16, o *Order) {
	switch err := e.accept(o); {
	case err == nil:
	case err == errNotHere:
		e.send(o.home(), notHere{o.ID})
	default:
		e.send(o.home(), refuse{o.ID, api.AsError("spawn", err)})
	}
}

// accept takes an order into the part of this node that it is for.
func (e *Engine) accept(o *Order) error {
	switch {
	case o.Desc.Node != "":
		return e.pin(o)
	case o.lc():
		return e.place(o)
	}
	return e.push(o)
}

// errNotHere is for an order that was not taken and may go elsewhere.
var errNotHere = api.E(api.Unavailable, "place", "", "this node does not do that now")
