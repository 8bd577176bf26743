// Package schedd is the part of a node that takes Spawns, starts procs in
// slots, and answers for them until their records expire. It is where the pure
// policy of sched/ meets the slots, logs and programs of runtime/.
//
// Which node runs a proc is decided by roles/place. One lock guards the table of
// procs; nothing that can wait is done under it. A proc goes through like this, and
// the node of the first and last step (its home) may be another than that of the
// others, where it is a guest:
//
//	Spawn     checks, pins the program's digest, asks for a place  (home)
//	Start     is told that the proc was admitted here, asks for a slot
//	begin     gives the proc its descriptor 3 and hands it over
//	ended     has the exit report and the channel's last frame
//	leave     gives back what it held; a guest's last output goes home
//	Finished  makes the status final, once, and wakes who waits    (home)
//
// The caller of every method is what the transport knows; another realm's procs
// and procs that never were give the same NotFound.
package schedd

import (
	"context"
	"log/slog"
	"math"
	"sync"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/fdpass"
	"sigmaos/roles/place"
)

// Schedd serves one node. It implements control.Handler.
type Schedd struct {
	cfg      Config
	log      *slog.Logger
	programs *programs
	place    *place.Engine
	ctx      context.Context // of the procs' channels
	stop     context.CancelFunc
	wg       sync.WaitGroup
	closer   *fdpass.Closer // of the procs' channels

	mu     sync.Mutex
	realms map[string]*realm    // by id
	live   map[api.ProcID]*proc // what has not ended: of this home, and guests
	closed bool
	total  Totals
	bound  int64 // on the memory of all best-effort procs together; see boundLocked

	boundMu sync.Mutex // taken before mu: one at a time sets the bound
}

// Totals count since the start; Spawned = Ended + those queued and running.
type Totals struct {
	Spawned, Ended  int64
	Queued, Running int64
	Ends            map[api.State]int64
	DeniedCalls     int64
}

// New returns a schedd that is ready for callers.
func New(cfg Config) (*Schedd, error) {
	if cfg.KeepFor == 0 {
		cfg.KeepFor = 10 * time.Minute
	}
	if cfg.KeepCount == 0 {
		cfg.KeepCount = 100_000
	}
	ctx, stop := context.WithCancel(context.Background())
	s := &Schedd{
		cfg: cfg, log: cfg.Logger, ctx: ctx, stop: stop,
		programs: newPrograms(cfg.Store),
		closer:   fdpass.NewCloser(closeTime),
		realms:   make(map[string]*realm),
		live:     make(map[api.ProcID]*proc),
		total:    Totals{Ends: make(map[api.State]int64)},
		bound:    math.MaxInt64,
	}
	cfg.Place.Host = host{s}
	s.place = place.New(cfg.Place)
	s.wg.Add(1)
	go s.janitor()
	return s, nil
}

// Placer is this node's part in placing procs.
func (s *Schedd) Placer() *place.Engine { return s.place }

// Close refuses new Spawns, ends every proc and returns when all have final
// statuses. The pool must be closed after it.
func (s *Schedd) Close() {
	s.place.Quit()
	s.mu.Lock()
	s.closed = true
	var all []*proc
	for _, r := range s.realms {
		all = append(all, r.liveLocked()...)
	}
	s.mu.Unlock()
	for _, p := range all {
		s.kill(p, "sigmad is stopping")
	}
	limit := time.After(5 * time.Second)
	for _, p := range all {
		select {
		case <-s.finality(p):
		case <-limit:
			s.log.Error("a proc did not end in time", "proc", p.id)
		}
	}
	s.place.Close()
	s.stop()
	s.wg.Wait()
	s.closer.End()
}

// monotonic is CLOCK_MONOTONIC in ns.
func monotonic() int64 { return int64(clock.Real().Monotonic()) }
