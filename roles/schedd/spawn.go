package schedd

import (
	"context"
	"fmt"
	"time"

	"sigmaos/api"
	"sigmaos/roles/place"
	"sigmaos/sched/quota"
)

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
		order: &place.Order{ID: id, Realm: c.Realm, User: c.User, Parent: c.Proc, Desc: d, Program: prog, Came: now/1e7 + 1},
		state: api.Queued, created: time.Now(),
	}
	p.stamps.Spawn = now

	if err := s.admit(c, p); err != nil {
		return "", err
	}
	err = s.place.Submit(p.order, func() { // before it can end
		s.tell(c, api.Event{Kind: api.EventSpawned, Proc: p.id, Detail: prog.Name})
	})
	if err != nil {
		s.forget(p)
		e := *api.AsError("spawn", err)
		e.Op, e.Subject = "spawn", p.desc.Program
		return "", &e
	}
	return p.id, nil
}

// forget takes back what admitLocked entered.
func (s *Schedd) forget(p *proc) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(p.realm.procs, p.id)
	delete(s.live, p.id)
	p.realm.use = p.realm.use.Sub(quota.Of(p.desc))
	s.total.Spawned--
	s.total.Queued--
	p.log.Close()
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

// everFits refuses what no node could run even if it were empty.
func (s *Schedd) everFits(d *api.ProcDesc) error {
	if t := s.cfg.Place.Table; s.cfg.Sizes == nil || d.Memory <= t.Memory() && d.MCPU <= t.MCPU() {
		return nil // here, as a rule: nothing is looked up
	}
	var largest Size
	for _, z := range s.cfg.Sizes() {
		if d.Memory <= z.Memory && d.MCPU <= z.MCPU {
			return nil
		}
		if largest.Node == "" || z.Memory > largest.Memory || z.Memory == largest.Memory && z.MCPU > largest.MCPU {
			largest = z
		}
	}
	if largest.Node == "" {
		return nil // nobody is known yet
	}
	need := "needs " + size(d.Memory) + " of memory"
	if d.Class == api.LC {
		need = fmt.Sprintf("needs %d mCPU and %s of memory", d.MCPU, size(d.Memory))
	}
	return api.E(api.NoCapacity, "spawn", d.Program, "it %s on one node, which never fits: the largest node, %s, has %d mCPU and %s", need, largest.Node, largest.MCPU, size(largest.Memory))
}

// cores is how many best-effort procs can compute at a time on all nodes, where no
// latency-critical proc has reserved a core.
func (s *Schedd) cores() (n int) {
	if s.cfg.Sizes == nil {
		return cores(s.cfg.Place.Table.MCPU())
	}
	for _, z := range s.cfg.Sizes() {
		n += cores(z.MCPU)
	}
	return n
}

func cores(mcpu int64) int { return int((mcpu + 999) / 1000) }

// maxGrow is how often a Spawn has the share grow, which others use up.
const maxGrow = 20

// admit enters p into the table.
func (s *Schedd) admit(c api.Caller, p *proc) error {
	var ctx context.Context // of all that has to be settled
	for range maxGrow {
		s.mu.Lock()
		grow, err := s.admitLocked(c, p)
		s.mu.Unlock()
		if !grow || err != nil {
			return err
		}
		if ctx == nil {
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(s.ctx, shareTime)
			defer cancel()
		}
		if err := s.grow(ctx, p.realm, p.desc); err != nil {
			return err
		}
	}
	return api.E(api.Busy, "spawn", p.desc.Program, "too many spawn in this realm at this moment; try again")
}

// admitLocked does so, or says that the realm's share must grow first.
func (s *Schedd) admitLocked(c api.Caller, p *proc) (grow bool, err error) {
	if s.closed {
		return false, api.E(api.Unavailable, "spawn", p.desc.Program, "this sigmad is stopping")
	}
	r, err := s.realmLocked(c.Realm)
	if err != nil {
		return false, err
	}
	if r.closing {
		return false, api.E(api.NotFound, "spawn", p.desc.Program, "the realm is being removed")
	}
	p.realm = r
	if err := s.everFits(p.desc); err != nil {
		return false, err
	}
	if grow, err := s.withinLocked(r, p.desc); grow || err != nil {
		return grow, err
	}
	p.log = s.cfg.Logs.Proc(c.Realm, string(p.id))
	r.procs[p.id], s.live[p.id] = p, p
	r.use = r.use.Add(quota.Of(p.desc))
	s.total.Spawned++
	s.total.Queued++
	return false, nil
}
