package roles

import (
	"context"
	"regexp"
	"slices"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"sigmaos/api"
	"sigmaos/naming/named"
	"sigmaos/sched/elect"
)

// initd starts registered procs once at each boot of the whole system. A boot
// begins when a node starts and no node runs that ran before: each node notes in
// etcd, under a lease, that it is alive in the system's boot. A node that starts
// finds those notes; one whose node runs means that the system is up; one that is
// of an earlier boot of its node is taken away; one that nobody knows about is
// waited for until it runs out.
//
// Who starts a proc claims it in etcd, for this boot of the system, under the id
// that the proc will have; so it happens once. The claim of a node that died
// before the proc was started is claimed anew.

const (
	aliveLease   = 10 // seconds
	initTick     = 500 * time.Millisecond
	initQuiet    = 20 * time.Second // looks when nothing is due
	initPatience = 2 * time.Second  // for the node that is to start a proc, before another one that has the program does
	initStart    = 5 * time.Second  // until a proc that does not say Started counts as started
	initAgain    = 5 * time.Second  // after a start that was refused
	initJoin     = 5 * time.Second  // that a registration waits for this node to be part of the boot
)

// initState is what the role's methods share with its loop.
type initState struct {
	boot atomic.Int64  // of the system; 0 until this node is part of one
	part chan struct{} // closed when it is
	wake chan struct{}
}

// await returns the system's boot as soon as this node is part of one. It is ready
// before that, a moment as a rule, and longer where etcd has no quorum.
func (i *initState) await(ctx context.Context, most time.Duration) (boot int64, err error) {
	late := time.NewTimer(most)
	defer late.Stop()
	select {
	case <-i.part:
		return i.boot.Load(), nil
	case <-ctx.Done():
		return 0, api.E(api.Canceled, "init add", "", "%v", ctx.Err())
	case <-late.C:
		return 0, api.E(api.Unavailable, "init add", "", "the system is still starting: this node waits for etcd (see sigmactl cluster peers); try again in some seconds")
	}
}

type initLoop struct {
	*System
	lease  clientv3.LeaseID
	seen   map[string]time.Time // records that wait for their start
	failed map[string]time.Time
}

func startInitd(_ context.Context, s *System) (func(context.Context) error, error) {
	ctx, stop := context.WithCancel(context.Background())
	l := &initLoop{System: s, seen: make(map[string]time.Time), failed: make(map[string]time.Time)}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			if err := l.live(ctx); err != nil && ctx.Err() == nil {
				s.Log.Debug("initd", "err", err)
			}
			sleep(ctx, initTick)
		}
	}()
	return func(context.Context) error { stop(); <-done; return nil }, nil
}

func sleep(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}

// live takes part in the system's boot until the lease or ctx ends.
func (l *initLoop) live(ctx context.Context) error {
	gctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	g, err := l.etcd.Grant(gctx, aliveLease)
	cancel()
	if err != nil {
		return err
	}
	l.lease = g.ID
	kctx, stop := context.WithCancel(ctx)
	defer stop()
	kept, err := l.etcd.KeepAlive(kctx, g.ID)
	if err != nil {
		return err
	}
	defer func() {
		rctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		l.etcd.Revoke(rctx, l.lease)
	}()
	wait := initTick
	for {
		done, err := l.once(ctx)
		if err != nil {
			return err
		}
		if wait = initTick; done {
			wait = initQuiet
		}
		for next := time.After(wait); next != nil; {
			select {
			case <-ctx.Done():
				return nil
			case _, ok := <-kept:
				if !ok {
					return api.E(api.Unavailable, "initd", "", "the lease has ended")
				}
			case <-l.inits.wake:
				next = nil
			case <-next:
				next = nil
			}
		}
	}
}

// once does what is due; done means that nothing is left to do.
func (l *initLoop) once(ctx context.Context) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	system, alive, err := named.System(ctx, l.etcd)
	if err != nil {
		return false, err
	}
	if alive[l.nodeNum] != l.boot || system == 0 {
		if ok, err := l.join(ctx, system, alive); err != nil || !ok {
			return false, err
		}
		if system, _, err = named.System(ctx, l.etcd); err != nil {
			return false, err
		}
	}
	if old := l.inits.boot.Swap(system); old != system {
		if old == 0 {
			close(l.inits.part)
		}
		l.Log.Info("part of the system's boot", "number", system)
	}
	return l.startDue(ctx, system)
}

// join makes this node part of the system's boot, or begins the next one.
func (l *initLoop) join(ctx context.Context, system int64, alive map[uint16]uint32) (bool, error) {
	if l.inits.boot.Load() == system && system != 0 { // its note ran out, and it is still here
		return named.Stay(ctx, l.etcd, system, l.nodeNum, l.boot, l.lease)
	}
	running := l.nodesRunning()
	waiting := false
	for n, b := range alive {
		now, here := running[n]
		switch {
		case n == l.nodeNum, here && now != b: // of an earlier boot of that node
			if err := named.Forget(ctx, l.etcd, system, n, b); err != nil {
				return false, err
			}
		case here:
			return named.Stay(ctx, l.etcd, system, l.nodeNum, l.boot, l.lease)
		default:
			waiting = true
		}
	}
	if waiting {
		return false, nil
	}
	return named.BootSystem(ctx, l.etcd, system, l.nodeNum, l.boot, l.lease)
}

// nodesRunning are the nodes alive and their boots.
func (l *initLoop) nodesRunning() map[uint16]uint32 {
	out := map[uint16]uint32{l.nodeNum: l.boot}
	if l.Gossip != nil {
		for _, m := range l.Gossip.Members() {
			out[m.Number] = m.Boot
		}
	}
	return out
}

// startDue starts what is registered and not started in this boot.
func (l *initLoop) startDue(ctx context.Context, system int64) (done bool, err error) {
	list, err := named.ListInit(ctx, l.etcd, "")
	if err != nil || len(list) == 0 {
		return err == nil, err
	}
	claims, err := named.Claims(ctx, l.etcd, system)
	if err != nil {
		return false, err
	}
	done = true
	for _, r := range list {
		key := r.Realm + "/" + r.Init.Name
		c := claims[key]
		if c.Done {
			delete(l.seen, key)
			continue
		}
		done = false
		if c.Proc != "" && !l.final(c.Proc) || !l.turn(key, r) {
			continue
		}
		if err := l.start(ctx, system, r, c); err != nil && ctx.Err() == nil {
			l.failed[key] = time.Now()
			l.Log.Warn("a registered proc is not started", "realm", r.Realm, "name", r.Init.Name, "err", err)
		}
	}
	return done, nil
}

// final reports whether a claimed proc cannot be there, nor come to be.
func (l *initLoop) final(id api.ProcID) bool {
	node, boot, ok := id.Home()
	if !ok {
		return true
	}
	if node == l.nodeNum && boot == l.boot {
		st, ok := l.Schedd.State(id)
		return !ok || st.Final()
	}
	return l.nodesRunning()[node] != boot
}

// turn reports whether this node is to start r: the elected one, or any that has
// the program when that one has not done it.
func (l *initLoop) turn(key string, r named.InitRecord) bool {
	if time.Since(l.failed[key]) < initAgain {
		return false
	}
	if _, err := l.Schedd.Program(r.Realm, r.Init.Desc.Program); err != nil {
		return false
	}
	first, ok := l.seen[key]
	if !ok {
		first = time.Now()
		l.seen[key] = first
	}
	n, ok := elect.One(l.electors(), "node", "initd "+key)
	return ok && n == l.nodeNum || time.Since(first) > initPatience
}

// start claims r, starts it, and says so.
func (l *initLoop) start(ctx context.Context, system int64, r named.InitRecord, c named.InitClaim) error {
	id := api.NewProcID(r.Init.Name, l.nodeNum, l.boot)
	c, ok, err := c.Claim(ctx, l.etcd, system, r.Realm, r.Init.Name, named.InitClaim{Proc: id})
	if err != nil || !ok {
		return err
	}
	caller := api.Caller{Node: l.Config.Node, Realm: r.Realm, User: r.Init.User}
	d := r.Init.Desc
	if _, err := l.Schedd.SpawnAs(caller, &d, id); err != nil {
		return err
	}
	l.Log.Info("a registered proc is started", "realm", r.Realm, "name", r.Init.Name, "proc", id)
	wctx, cancel := context.WithTimeout(ctx, initStart)
	_, err = l.Schedd.WaitStart(wctx, caller, string(id))
	cancel()
	if st, ok := l.Schedd.State(id); err != nil && ok && st == api.Queued {
		return nil // it waits for room; looked at again
	}
	_, _, err = c.Claim(ctx, l.etcd, system, r.Realm, r.Init.Name, named.InitClaim{Proc: id, Done: true})
	return err
}

var initName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// addInit registers a proc of the caller's.
func (s *System) addInit(ctx context.Context, c api.Caller, p api.InitProc) (api.InitProc, error) {
	if !initName.MatchString(p.Name) {
		return p, api.E(api.Invalid, "init add", p.Name, "a name is 1 to 40 of a-z, 0-9 and -, and does not begin with -")
	}
	boot, err := s.inits.await(ctx, initJoin)
	if err != nil {
		return p, err
	}
	prog, err := s.Schedd.Program(c.Realm, p.Desc.Program)
	if err != nil {
		return p, err
	}
	// A path may mean something else by then; a digest does not.
	p.Desc.Program = prog.Digest
	if p.Desc.Name == "" {
		p.Desc.Name = p.Name
	}
	d := p.Desc
	if err := d.Normalize(); err != nil {
		return p, err
	}
	p.User, p.Created, p.Boot, p.Proc, p.State = c.User, time.Now().UTC(), 0, "", ""
	if err := named.AddInit(ctx, s.etcd, boot, c.Realm, p); err != nil {
		return p, err
	}
	if p.Now { // else it is for the next boot of the system
		s.wakeInit()
	}
	return p, nil
}

func (s *System) wakeInit() { signal(s.inits.wake) }

// listInit lists the caller's realm's.
func (s *System) listInit(ctx context.Context, c api.Caller) ([]api.InitProc, error) {
	list, err := named.ListInit(ctx, s.etcd, c.Realm)
	if err != nil {
		return nil, err
	}
	boot := s.inits.boot.Load()
	claims, err := named.Claims(ctx, s.etcd, boot)
	if err != nil {
		return nil, err
	}
	out := []api.InitProc{}
	for _, r := range list {
		cl, ok := claims[r.Realm+"/"+r.Init.Name]
		r.Init.Proc, r.Init.Boot, r.Init.State = cl.Proc, boot, "waits"
		switch {
		case ok && cl.Proc == "":
			r.Init.State, r.Init.Boot = "registered", 0
		case cl.Done:
			r.Init.State = "started"
		}
		out = append(out, r.Init)
	}
	slices.SortFunc(out, func(a, b api.InitProc) int { return a.Created.Compare(b.Created) })
	return out, nil
}

func (s *System) removeInit(ctx context.Context, c api.Caller, name string) error {
	return named.RemoveInit(ctx, s.etcd, s.inits.boot.Load(), c.Realm, name)
}
