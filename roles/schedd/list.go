package schedd

import (
	"context"
	"encoding/json"
	"sort"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/slot"
)

// info is p for people. Call it under Schedd.mu or once p is final.
func (s *Schedd) info(p *proc) api.ProcInfo { return p.info(s.nodeName(p.node)) }

func (p *proc) info(node string) api.ProcInfo {
	d := p.descLocked()
	i := api.ProcInfo{
		ID: p.id, Short: p.id.Short(), Realm: p.realm.rec.Name, Node: node, Parent: p.caller.Proc, User: p.caller.User,
		Program: d.Program, Digest: p.prog.Digest, Args: d.Args, Class: d.Class, Near: d.Near,
		MCPU: d.MCPU, Memory: d.Memory, State: p.state, Created: p.created, Stamps: p.stamps,
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

// pid is the proc's on this machine, 0 when it has ended.
func (l live) pid() int {
	all, _ := l.slot.Procs() // a slot that is gone has none
	for _, pid := range all {
		if pid != l.slot.InitPid() {
			return pid
		}
	}
	return 0
}

// look has fn read something of each running proc, without the lock since that
// takes as long as the machine likes, and then, with it, note what was read. A
// slot that got another proc meanwhile has nothing noted.
func (s *Schedd) look(running []live, fn func(live) (note func())) {
	notes := make([]func(), len(running))
	for i, l := range running {
		notes[i] = fn(l)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, l := range running {
		if l.p.slot == l.slot {
			notes[i]()
		}
	}
}

// addPIDs tells an operator the pids on this machine.
func (s *Schedd) addPIDs(c api.Caller, list []api.ProcInfo, running []live) {
	if !c.Operator {
		return
	}
	s.look(running, func(l live) func() {
		pid := l.pid()
		return func() { list[l.i].PID = pid }
	})
}

// addUse tells what procs use. The time is that of the process: its slot's group
// has that of all the procs that the slot ever had.
func (s *Schedd) addUse(c api.Caller, list []api.ProcInfo, running []live) {
	s.look(running, func(l live) func() {
		pid := l.pid()
		cpu, cerr := cpuTime(pid)
		st, serr := l.slot.Stats()
		return func() {
			i := &list[l.i]
			if c.Operator {
				i.PID = pid
			}
			if cerr == nil {
				i.CPU = int64(cpu)
			}
			if serr == nil {
				i.RSS = st.Memory
			}
		}
	})
}

// cpuTime is what all threads of a process have used, those that ended included.
func cpuTime(pid int) (time.Duration, error) {
	if pid <= 0 {
		return 0, unix.ESRCH // 0 would be ourselves
	}
	const sched = 2 // CPUCLOCK_SCHED; see clock_getcpuclockid(3)
	var t unix.Timespec
	err := unix.ClockGettime(int32(^pid<<3|sched), &t)
	return time.Duration(t.Nano()), err
}

// procs lists what the caller may see, oldest first.
func (s *Schedd) procs(ctx context.Context, c api.Caller, f api.ProcFilter) ([]api.ProcInfo, error) {
	if f.Realms && !c.Operator {
		return nil, api.E(api.Denied, "ps", "", "only an operator sees other realms")
	}
	out := s.procsHere(c, f)
	if s.cfg.Others != nil {
		b, err := json.Marshal(peerAsk{Caller: c, Filter: f})
		if err != nil {
			return nil, err
		}
		out = merge(s.cfg.NodeNum, out, s.cfg.Others.AskAll(ctx, PeerList, b))
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Created.Before(out[j].Created) })
	return out, nil
}

// procsHere lists the procs whose home this is, and guests.
func (s *Schedd) procsHere(c api.Caller, f api.ProcFilter) []api.ProcInfo {
	out := []api.ProcInfo{}
	var running []live
	var realms []string // of each that this node has had
	s.mu.Lock()
	for id, r := range s.realms {
		if !f.Realms && id != c.Realm {
			continue
		}
		first := len(out)
		for _, list := range []map[api.ProcID]*proc{r.procs, r.guests} {
			for _, p := range list {
				if f.All || !p.state.Final() {
					if p.slot != nil {
						running = append(running, live{len(out), p, p.slot})
					}
					out = append(out, s.info(p))
					if p.guest || p.node == s.cfg.NodeNum {
						realms = append(realms, id)
					} else {
						realms = append(realms, "") // this node knows nothing of its start
					}
				}
			}
		}
		shorten(out[first:], r)
	}
	s.mu.Unlock()
	s.addPIDs(c, out, running)
	if f.Start {
		s.addStarts(out, realms)
	}
	return out
}

// merge makes one list of what the nodes say. The home of a proc knows how it
// stands; its guest's node knows its process. A guest whose home does not answer is
// shown as it is.
func merge(self uint16, here []api.ProcInfo, answers [][]byte) []api.ProcInfo {
	lists := []peerList{{self, here}}
	for _, b := range answers {
		var l peerList
		if json.Unmarshal(b, &l) == nil {
			lists = append(lists, l)
		}
	}
	at := make(map[api.ProcID]int)
	out := []api.ProcInfo{}
	var guests []api.ProcInfo
	for _, l := range lists {
		for _, p := range l.Procs {
			if home, _, _ := p.ID.Home(); home != l.Node {
				guests = append(guests, p)
				continue
			}
			at[p.ID] = len(out)
			out = append(out, p)
		}
	}
	for _, g := range guests {
		i, known := at[g.ID]
		if !known {
			out = append(out, g)
		} else if p := &out[i]; p.Status == nil {
			p.PID, p.CPU, p.RSS, p.Start = g.PID, g.CPU, g.RSS, g.Start
		}
	}
	return out
}

// addStarts says how the programs of procs came to the node.
func (s *Schedd) addStarts(list []api.ProcInfo, realms []string) {
	if s.cfg.ColdStarts == nil {
		return
	}
	known := make(map[string]map[string]binfs.Cold)
	for i := range list {
		p, realm := &list[i], realms[i]
		if p.Stamps.Slot == 0 || realm == "" {
			continue
		}
		cold, ok := known[realm]
		if !ok {
			cold = s.cfg.ColdStarts(realm)
			known[realm] = cold
		}
		if c, ok := cold[p.Digest]; ok {
			p.Start = startOf(&c, p.Stamps.Slot)
		}
	}
}

// shorten gives each listed proc the shortest prefix that no other proc of the
// realm has, at least the name and four letters.
func shorten(list []api.ProcInfo, r *realm) {
	if len(list) == 0 {
		return
	}
	ids := make([]string, 0, len(r.procs)+len(r.guests))
	for _, procs := range []map[api.ProcID]*proc{r.procs, r.guests} {
		for id := range procs {
			ids = append(ids, string(id))
		}
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
	cap := s.place.Capacity()
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
		for _, p := range r.liveLocked() {
			switch {
			case p.state == api.Queued:
				tr.Queued++
			case p.guest || p.node == s.cfg.NodeNum:
				tr.Running++
				if p.slot != nil {
					running = append(running, live{len(t.Procs), p, p.slot})
				}
				t.Procs = append(t.Procs, s.info(p))
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
	s.mu.Unlock()
	s.addUse(c, t.Procs, running)
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
