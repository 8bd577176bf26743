// Package schedd is the part of a node that takes Spawns, starts procs in
// slots, and answers for them until their records expire. It is where the pure
// policy of sched/ meets the slots, logs and programs of runtime/.
//
// One lock guards the queue, the capacity and the table of procs; nothing that
// can wait is done under it. A proc goes through it like this:
//
//	Spawn     checks, pins the program's digest, queues          (home)
//	dispatch  takes what fits from the queue, asks for a slot
//	begin     gives the proc its descriptor 3 and hands it over
//	ended     has the exit report and the channel's last frame
//	finish    makes the status final, once, and wakes who waits
//
// The caller of every method is what the transport knows; another realm's procs
// and procs that never were give the same NotFound.
package schedd

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/api/wire"
	"sigmaos/internal/clock"
	"sigmaos/internal/failpoint"
	"sigmaos/net/control"
	"sigmaos/net/fdpass"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/slot"
	"sigmaos/sched/be"
	"sigmaos/sched/node"
	"sigmaos/sched/quota"
)

// Realms is the table of tenants.
type Realms interface {
	Get(name string) (api.Realm, error)
	ByID(id string) (api.Realm, error)
	List() []api.Realm
	Create(ctx context.Context, r api.Realm) (api.Realm, error)
	Remove(ctx context.Context, name string) error
}

// Config is what a schedd stands on; the owner of each part closes it after
// the schedd.
type Config struct {
	Info     api.ClusterInfo
	NodeNum  uint16 // of this node in proc ids
	Boot     uint32 // of this boot
	Pool     *slot.Pool
	Cgroups  *cgroup.Tree
	Logs     *logs.Store
	Store    *binfs.Store
	Realms   Realms
	Capacity *node.Table
	Queue    *be.Queue
	Logger   *slog.Logger
	Observe  Observer // may be nil
	// Event is told what happens in a realm, for the event log; it must not wait.
	// nil is nobody.
	Event func(realm string, e api.Event)
	// ListEndpoints lists a realm's endpoints on all nodes.
	ListEndpoints func(ctx context.Context, realm string) ([]api.EndpointInfo, error)
	// DropNames removes a realm's name space and this node's scratch of it.
	DropNames func(ctx context.Context, realm string) error
	// FindProgram asks other nodes for a program that this one does not know.
	FindProgram func(realm, path string) (api.Program, bool)
	// PathProgram takes a program from a path of the realm's name space, as c may
	// read it.
	PathProgram func(c api.Caller, path string) (api.Program, error)
	// ColdStart tells how a program came to this node; nil where it was here.
	ColdStart func(realm, digest string) *binfs.Cold
	// Methods are those of other roles, by name.
	Methods map[string]Method
	// Endpoints serves the procs' connections; Ended of a proc closes its own.
	Endpoints Endpoints

	KeepFor   time.Duration // an exit record; default 10 min
	KeepCount int           // exit records of a realm; default 100,000
}

// Method is a call of the tools that another role serves.
type Method struct {
	Operator bool
	Realm    bool
	Run      func(ctx context.Context, c api.Caller, body json.RawMessage) (any, error)
	// Stream is instead of Run for what takes or gives Data.
	Stream func(ctx context.Context, c api.Caller, call wire.Call, send func(any, []byte) error) (any, error)
}

// Endpoints connects procs, and forgets what an ended one listened on.
type Endpoints interface {
	control.Endpoints
	ProcEnded(id api.ProcID)
	RemoveRealm(id string)
	List(realm string) []api.EndpointInfo
}

// Observer hears of starts and ends, for metrics.
type Observer interface {
	Ended(p api.ProcInfo)
}

// Schedd serves one node. It implements control.Handler.
type Schedd struct {
	cfg      Config
	log      *slog.Logger
	programs *programs
	empty    *node.Table     // this machine with nothing on it
	ctx      context.Context // of the procs' channels
	stop     context.CancelFunc
	wg       sync.WaitGroup

	mu     sync.Mutex
	realms map[string]*realm // by id
	lc     []*proc           // LC procs that wait, oldest first
	closed bool
	total  Totals
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
	size := cfg.Capacity.Snapshot()
	s := &Schedd{
		empty: node.New(size.MCPU, size.Memory),
		cfg:   cfg, log: cfg.Logger, ctx: ctx, stop: stop,
		programs: newPrograms(cfg.Store),
		realms:   make(map[string]*realm),
		total:    Totals{Ends: make(map[api.State]int64)},
	}
	s.wg.Add(1)
	go s.janitor()
	return s, nil
}

// Close refuses new Spawns, ends every proc and returns when all have final
// statuses. The pool must be closed after it.
func (s *Schedd) Close() {
	s.mu.Lock()
	s.closed = true
	var all []*proc
	for _, r := range s.realms {
		for _, p := range r.procs {
			if !p.state.Final() {
				all = append(all, p)
			}
		}
	}
	s.mu.Unlock()
	for _, p := range all {
		s.end(p, api.Killed, "sigmad is stopping")
	}
	limit := time.After(5 * time.Second)
	for _, p := range all {
		select {
		case <-p.done:
		case <-limit:
			s.log.Error("a proc did not end in time", "proc", p.id)
		}
	}
	s.stop()
	s.wg.Wait()
}

// began ties the process's own clock, which costs no system call, to
// CLOCK_MONOTONIC.
var began = struct {
	t  time.Time
	ns int64
}{time.Now(), clock.Real().Monotonic().Nanoseconds()}

func monotonic() int64 { return began.ns + int64(time.Since(began.t)) }

// Spawn queues a proc and returns its id at once.
func (s *Schedd) Spawn(c api.Caller, d *api.ProcDesc) (api.ProcID, error) {
	return s.SpawnAs(c, d, "")
}

// SpawnAs is Spawn under an id that this node has given out and used for nothing
// yet; "" makes one.
func (s *Schedd) SpawnAs(c api.Caller, d *api.ProcDesc, id api.ProcID) (api.ProcID, error) {
	now := monotonic()
	if c.Realm == "" {
		return "", api.E(api.Invalid, "spawn", d.Program, "no realm chosen; use --realm or SIGMA_REALM")
	}
	if err := d.Normalize(); err != nil {
		return "", err
	}
	prog, err := s.program(c, d.Program)
	if err != nil {
		return "", err
	}
	name := d.Name
	if name == "" {
		name = prog.Name
	}
	if id == "" {
		id = api.NewProcID(name, s.cfg.NodeNum, s.cfg.Boot)
	}
	p := &proc{
		id: id, desc: d, prog: prog, caller: c,
		state: api.Queued, created: time.Now(), done: make(chan struct{}), started: make(chan struct{}),
	}
	p.stamps.Spawn = now

	s.mu.Lock()
	if err := s.admitLocked(c, p); err != nil {
		s.mu.Unlock()
		return "", err
	}
	s.mu.Unlock()
	s.tell(c, api.Event{Kind: api.EventSpawned, Proc: p.id, Detail: prog.Name})
	s.dispatch()
	return p.id, nil
}

// tell has an event of the caller's realm noted.
func (s *Schedd) tell(c api.Caller, e api.Event) {
	if s.cfg.Event == nil {
		return
	}
	e.By, e.User = c.Proc, c.User
	if c.Operator && e.User == "" {
		e.User = "operator"
	}
	s.cfg.Event(c.Realm, e)
}

// admitLocked enters p into the table and a queue.
func (s *Schedd) admitLocked(c api.Caller, p *proc) error {
	if s.closed {
		return api.E(api.Unavailable, "spawn", p.desc.Program, "this sigmad is stopping")
	}
	r := s.realms[c.Realm]
	if r == nil {
		rec, err := s.cfg.Realms.ByID(c.Realm)
		if err != nil {
			return err
		}
		r = newRealm(rec)
		s.realms[c.Realm] = r
	}
	if r.closing {
		return api.E(api.NotFound, "spawn", p.desc.Program, "the realm is being removed")
	}
	if err := quota.Admit(r.rec.Quota, r.use, p.desc); err != nil {
		return err
	}
	p.realm = r
	// An empty machine of this size says whether it can ever run.
	if err := s.tryLocked(s.empty, p); err != nil {
		return api.E(api.NoCapacity, "spawn", p.desc.Program, "%v", err)
	}
	if p.lc() {
		s.lc = append(s.lc, p)
	} else if err := s.cfg.Queue.Push(be.Item{ID: string(p.id), Realm: c.Realm, Memory: p.desc.Memory, Payload: p}); err != nil {
		return api.E(api.Busy, "spawn", p.desc.Program, "%v", err)
	}
	p.log = s.cfg.Logs.Proc(c.Realm, string(p.id))
	r.procs[p.id] = p
	r.use = r.use.Add(quota.Of(p.desc))
	s.total.Spawned++
	s.total.Queued++
	return nil
}

// dispatch gives slots to what fits, as long as something does.
func (s *Schedd) dispatch() {
	for {
		s.mu.Lock()
		p := s.nextLocked()
		if p == nil {
			s.mu.Unlock()
			return
		}
		p.state = api.Starting
		p.stamps.Placed = monotonic()
		s.total.Queued--
		s.total.Running++
		evict := p.evict
		s.mu.Unlock()
		failpoint.Hit("placed")
		if len(evict) > 0 {
			s.wg.Add(1)
			go s.startAfter(p, evict)
			continue
		}
		s.getSlot(p, 3)
	}
}

// startAfter ends the best-effort procs whose memory p was promised, and
// starts p when they are gone.
func (s *Schedd) startAfter(p *proc, evict []*proc) {
	defer s.wg.Done()
	for _, v := range evict {
		s.end(v, api.Evicted, "made room for memory reserved by "+p.id.Short())
	}
	for _, v := range evict {
		select {
		case <-v.done:
		case <-s.ctx.Done():
			return
		}
	}
	s.getSlot(p, 3)
}

// tryLocked says why t could not take p now, or nil.
func (s *Schedd) tryLocked(t *node.Table, p *proc) error {
	const probe = "this proc"
	var err error
	if p.lc() {
		err = t.AdmitLC(probe, p.desc.MCPU, p.desc.Memory)
	} else {
		err = t.AdmitBE(probe, p.desc.Memory)
	}
	if err == nil {
		t.Release(probe)
	}
	return err
}

// nextLocked takes the next proc that fits: reserved ones first, in order.
func (s *Schedd) nextLocked() *proc {
	if s.closed {
		return nil
	}
	for i, p := range s.lc {
		if s.admitLCLocked(p) {
			s.lc = append(s.lc[:i:i], s.lc[i+1:]...)
			return p
		}
	}
	it, ok := s.cfg.Queue.Pop(be.Offer{Memory: s.cfg.Capacity.Offer()})
	if !ok {
		return nil
	}
	p := it.Payload.(*proc)
	if err := s.cfg.Capacity.AdmitBE(string(p.id), p.desc.Memory); err != nil {
		s.log.Error("the queue gave what the node cannot take", "proc", p.id, "err", err)
		return nil
	}
	return p
}

// admitLCLocked reserves for p; where best-effort procs hold the memory it
// notes which must end first.
func (s *Schedd) admitLCLocked(p *proc) bool {
	admit := func() error { return s.cfg.Capacity.AdmitLC(string(p.id), p.desc.MCPU, p.desc.Memory) }
	err := admit()
	var r *node.Refusal
	if errors.As(err, &r) && r.Evict {
		for _, id := range s.cfg.Capacity.Evict(p.desc.Memory) {
			if v := s.findLocked(api.ProcID(id)); v != nil {
				p.evict = append(p.evict, v)
			}
		}
		err = admit()
	}
	return err == nil
}

// restTime is how soon a slot that was not ready for a small proc is tried
// again.
const restTime = 2 * time.Millisecond

// A start that met a dead mount is made again when binfs is back, which takes a
// fraction of a second.
const (
	againTime = 100 * time.Millisecond
	maxAgain  = 20
)

// getSlot asks for a slot; a start that fails because of its slot is tried
// again in another one. The proc was never exec'ed then.
func (s *Schedd) getSlot(p *proc, tries int) {
	class := cgroup.BE
	if p.lc() {
		class = cgroup.LC
	}
	s.cfg.Pool.Get(p.realm.rec.ID, class, p.desc.FDs, func(sl *slot.Slot, err error) {
		if err == nil {
			err = s.begin(p, sl)
			if err == nil {
				return
			}
			s.cfg.Pool.Put(sl)
			if errors.Is(err, slot.ErrResting) {
				s.wg.Add(1)
				time.AfterFunc(restTime, func() { defer s.wg.Done(); s.getSlot(p, tries) })
				return
			}
			if tries > 1 && err != errEnded {
				s.log.Warn("slot refused a start", "proc", p.id, "err", err)
				s.getSlot(p, tries-1)
				return
			}
		}
		s.finish(p, api.Status{State: api.Refused, Message: "no σcontainer: " + err.Error()})
	})
}

var errEnded = api.E(api.Canceled, "start", "", "it was ended before it started")

// begin hands p to a slot.
func (s *Schedd) begin(p *proc, sl *slot.Slot) error {
	ours, fd, err := fdpass.Pair(unix.SOCK_STREAM)
	if err != nil {
		return err
	}
	theirs := slot.Donated(fd)
	s.mu.Lock()
	if p.ending != "" || p.state.Final() {
		s.mu.Unlock()
		ours.Close()
		theirs.Close()
		return errEnded
	}
	p.slot, p.seq = sl, sl.Seq()+1
	p.stamps.Slot = monotonic()
	p.ctlDone = make(chan struct{})
	s.mu.Unlock()
	failpoint.Hit("begin")

	caller := api.Caller{Node: s.cfg.Info.Node, Realm: p.caller.Realm, User: p.caller.User, Proc: p.id, Class: p.desc.Class}
	s.wg.Add(1)
	go func(done chan struct{}) {
		defer s.wg.Done()
		if err := control.Serve(s.ctx, ours, caller, procHandler{s, p}, s.cfg.Endpoints); err != nil {
			s.log.Debug("control channel", "proc", p.id, "err", err)
		}
		close(done)
	}(p.ctlDone)

	err = sl.Start(slot.Spec{
		Program: p.prog.Digest, Arg0: p.desc.Program, Args: p.desc.Args, Env: p.desc.Env,
		FDs: p.desc.FDs, Memory: p.desc.Memory, Threads: p.desc.Threads, MCPU: p.desc.MCPU,
		Control: theirs, Log: p.log,
	}, func(e slot.End) { s.ended(p, sl, e) })
	failpoint.Hit("sent")
	if err != nil {
		<-p.ctlDone
		s.mu.Lock()
		p.slot = nil
		s.mu.Unlock()
	}
	return err
}

// ended has the end of a proc from its slot. Its channel ends with it, after
// the frames it still wrote.
func (s *Schedd) ended(p *proc, sl *slot.Slot, e slot.End) {
	<-p.ctlDone
	failpoint.Hit("ended")
	s.cfg.Endpoints.ProcEnded(p.id)
	s.mu.Lock()
	p.slot = nil
	if e.TryAgain() && p.ending == "" && !s.closed && p.again < maxAgain {
		p.again++
		s.wg.Add(1)
		s.mu.Unlock()
		s.cfg.Pool.Put(sl)
		time.AfterFunc(againTime, func() { defer s.wg.Done(); s.getSlot(p, 3) })
		return
	}
	p.stamps.Exec = e.Exec
	p.cpu, p.rss = e.CPU, e.RSS
	p.denied = e.Denied
	for _, n := range e.Denied {
		s.total.DeniedCalls += int64(n)
	}
	st := p.statusLocked(e)
	s.mu.Unlock()
	s.finish(p, st)
	s.cfg.Pool.Put(sl)
	s.dispatch()
}

// finish makes p's status final, once.
func (s *Schedd) finish(p *proc, st api.Status) {
	now := monotonic()
	s.mu.Lock()
	if p.state.Final() {
		s.mu.Unlock()
		return
	}
	if p.state == api.Queued {
		s.total.Queued--
	} else {
		s.total.Running--
		s.cfg.Capacity.Release(string(p.id))
	}
	if p.ending != "" && st.State == api.Refused {
		st = api.Status{State: p.ending, Message: p.reason}
	}
	p.state, p.status = st.State, st
	p.stamps.Ended = now
	if p.timer != nil {
		p.timer.Stop()
	}
	s.total.Ended++
	s.total.Ends[st.State]++
	p.realm.use = p.realm.use.Sub(quota.Of(p.desc))
	p.realm.ended = append(p.realm.ended, p)
	p.realm.expireLocked(s.cfg.KeepCount, time.Time{})
	if s.cfg.Event != nil { // before anybody who waits may forget the realm
		s.cfg.Event(p.realm.rec.ID, api.Event{Kind: api.EventEnded, Proc: p.id, User: p.caller.User, Detail: st.String()})
	}
	close(p.done)
	s.mu.Unlock()
	p.log.Close()
	if s.cfg.Observe != nil {
		s.cfg.Observe.Ended(p.info(s.cfg.Info.Node))
	}
}
