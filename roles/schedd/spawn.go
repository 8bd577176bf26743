package schedd

import (
	"time"

	"sigmaos/api"
	"sigmaos/sched/be"
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
		state: api.Queued, created: time.Now(), done: make(chan struct{}), started: make(chan struct{}),
	}
	p.stamps.Spawn = now

	s.mu.Lock()
	if err := s.admitLocked(c, p); err != nil {
		s.mu.Unlock()
		return "", err
	}
	s.tell(c, api.Event{Kind: api.EventSpawned, Proc: p.id, Detail: prog.Name}) // before it can end
	s.mu.Unlock()
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
