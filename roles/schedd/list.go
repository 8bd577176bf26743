package schedd

import (
	"sort"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/slot"
)

// info is p for people. Call it under Schedd.mu or once p is final.
func (p *proc) info(node string) api.ProcInfo {
	i := api.ProcInfo{
		ID: p.id, Short: p.id.Short(), Realm: p.realm.rec.Name, Node: node, Parent: p.caller.Proc, User: p.caller.User,
		Program: p.desc.Program, Digest: p.prog.Digest, Args: p.desc.Args, Class: p.desc.Class,
		MCPU: p.desc.MCPU, Memory: p.desc.Memory, State: p.state, Created: p.created, Stamps: p.stamps,
		CPU: int64(p.cpu), RSS: p.rss,
	}
	if p.state.Final() {
		st := p.status
		i.Status = &st
	} else if p.slot != nil {
		if _, exec := p.slot.Stamps(); exec != 0 {
			i.Stamps.Exec = exec
		}
	}
	return i
}

// live is a running proc in a list that is being made.
type live struct {
	i    int // its place
	p    *proc
	slot *slot.Slot
}

// addPIDs tells an operator the pids on this machine. They are read without the
// lock; a slot that got another proc meanwhile has its pid not told.
func (s *Schedd) addPIDs(c api.Caller, list []api.ProcInfo, running []live) {
	if !c.Operator {
		return
	}
	pids := make([]int, len(running))
	for i, l := range running {
		all, _ := l.slot.Procs() // a slot that is gone has none
		for _, pid := range all {
			if pid != l.slot.InitPid() {
				pids[i] = pid
			}
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range running {
		if l.p.slot == l.slot {
			list[l.i].PID = pids[i]
		}
	}
}

// procs lists what the caller may see, oldest first.
func (s *Schedd) procs(c api.Caller, f api.ProcFilter) ([]api.ProcInfo, error) {
	if f.Realms && !c.Operator {
		return nil, api.E(api.Denied, "ps", "", "only an operator sees other realms")
	}
	out := []api.ProcInfo{}
	var running []live
	s.mu.Lock()
	for id, r := range s.realms {
		if !f.Realms && id != c.Realm {
			continue
		}
		first := len(out)
		for _, p := range r.procs {
			if f.All || !p.state.Final() {
				if p.slot != nil {
					running = append(running, live{len(out), p, p.slot})
				}
				out = append(out, p.info(s.cfg.Info.Node))
			}
		}
		shorten(out[first:], r)
	}
	s.mu.Unlock()
	s.addPIDs(c, out, running)
	sort.Slice(out, func(i, j int) bool { return out[i].Created.Before(out[j].Created) })
	return out, nil
}

// shorten gives each listed proc the shortest prefix that no other proc of the
// realm has, at least the name and four letters.
func shorten(list []api.ProcInfo, r *realm) {
	if len(list) == 0 {
		return
	}
	ids := make([]string, 0, len(r.procs))
	for id := range r.procs {
		ids = append(ids, string(id))
	}
	sort.Strings(ids)
	common := func(a, b string) int {
		n := 0
		for n < len(a) && n < len(b) && a[n] == b[n] {
			n++
		}
		return n
	}
	for i := range list {
		id := string(list[i].ID)
		k := sort.SearchStrings(ids, id)
		n := len(list[i].Short)
		if k > 0 {
			n = max(n, common(ids[k-1], id)+1)
		}
		if k+1 < len(ids) {
			n = max(n, common(ids[k+1], id)+1)
		}
		list[i].Short = id[:min(n, len(id))]
	}
}

// top samples the node.
func (s *Schedd) top(c api.Caller) (api.Top, error) {
	s.mu.Lock()
	cap := s.cfg.Capacity.Snapshot()
	s.mu.Unlock()
	t := api.Top{
		Time: time.Now(), Node: s.cfg.Info.Node, Cores: int(cap.MCPU / 1000), Memory: cap.Memory,
		Reserved: cap.LCMCPU, MemLC: cap.LCMemory, MemBE: cap.BEMemory, Realms: []api.TopRealm{}, Procs: []api.ProcInfo{},
	}
	var running []live
	s.mu.Lock()
	for id, r := range s.realms {
		if !c.Operator && id != c.Realm {
			continue
		}
		tr := api.TopRealm{Name: r.rec.Name, Slots: s.cfg.Pool.Count(id)}
		first := len(t.Procs)
		for _, p := range r.procs {
			switch {
			case p.state == api.Queued:
				tr.Queued++
			case !p.state.Final():
				tr.Running++
				if p.slot != nil {
					running = append(running, live{len(t.Procs), p, p.slot})
				}
				t.Procs = append(t.Procs, p.info(s.cfg.Info.Node))
			}
		}
		shorten(t.Procs[first:], r)
		t.Queued += tr.Queued
		t.Running += tr.Running
		if cpu, err := s.cfg.Cgroups.RealmCPU(id); err == nil {
			tr.CPU = int64(cpu)
		}
		t.Realms = append(t.Realms, tr)
	}
	for _, l := range running {
		if st, err := l.slot.Stats(); err == nil {
			t.Procs[l.i].CPU, t.Procs[l.i].RSS = int64(st.CPU), st.Memory
		}
	}
	s.mu.Unlock()
	s.addPIDs(c, t.Procs, running)
	sort.Slice(t.Realms, func(i, j int) bool { return t.Realms[i].Name < t.Realms[j].Name })
	return t, nil
}

// Totals returns the counts since the start, for metrics.
func (s *Schedd) Totals() Totals {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.total
	t.Ends = make(map[api.State]int64, len(s.total.Ends))
	for k, v := range s.total.Ends {
		t.Ends[k] = v
	}
	return t
}

// Top samples the whole node.
func (s *Schedd) Top() (api.Top, error) { return s.top(api.Caller{Operator: true}) }

// SetGateway tells clients where the gateway is.
func (s *Schedd) SetGateway(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Info.Gateway = addr
}

// Gateway is what SetGateway said.
func (s *Schedd) Gateway() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Info.Gateway
}

// SetMetrics tells clients where the metrics are.
func (s *Schedd) SetMetrics(addr string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Info.Metrics = addr
}
