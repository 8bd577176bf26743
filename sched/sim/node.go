package sim

import (
	"errors"
	"maps"
	"slices"
	"time"

	"sigmaos/sched/lc"
	"sigmaos/sched/node"
	"sigmaos/sched/pull"
)

// nodeState is what a schedd keeps.
type nodeState struct {
	table  *node.Table
	puller *pull.Puller
	fence  lc.Fence
	master *inst // the lcsched that it obeys
	runs   map[string]*run
	lcRuns []*run         // the latency-critical ones
	active map[string]int // the best-effort ones, by realm
	procs  int            // of those
	lcCPU  int64          // reserved
	mem    int64          // held by all
	wake   time.Duration  // of the next tick that is planned
	cpu    cpu
	cached []string // programs that it has run last, newest first
}

func (n *inst) initNode() {
	n.table = node.New(n.cfg.MCPU, n.cfg.Memory)
	n.puller = pull.New(pull.Config{Self: n.number, Seed: n.cfg.Seed + uint64(n.boot)})
	n.runs = make(map[string]*run)
	n.active = make(map[string]int)
	n.cpu = newCPU(n.now, len(n.cfg.Realms))
}

func (n *inst) machine() pull.Machine {
	n.sample()
	return pull.Machine{
		MCPU: n.cfg.MCPU - n.lcCPU, Memory: n.table.Offer(), Active: n.active, Procs: n.procs,
		Idle: n.cpu.idle, Sample: n.cpu.samples, Alone: n.cfg.Nodes == 1,
	}
}

// tick lets the puller decide.
func (n *inst) tick() {
	if n.dead {
		return
	}
	m := n.machine()
	if n.records.node.of == n {
		m, now := m, n.now
		m.Active = maps.Clone(m.Active)
		n.records.node.note(n, op[*pull.Puller]{do: func(p *pull.Puller) { p.Tick(now, m, nil) }})
	}
	asks := n.puller.Tick(n.now, m, nil)
	for _, a := range asks {
		to := n.cur[a.Shard]
		a.Active = maps.Clone(a.Active)
		n.send(n, to, func() { to.asked(n, a) })
	}
	if next := n.puller.Next(); next < 1<<62 && (n.wake <= n.now || next < n.wake) {
		n.wake = next
		n.at(next, func() {
			if n.wake == next {
				n.tick()
			}
		})
	}
}

// answered takes what came for an ask.
func (n *inst) answered(s *inst, id uint64, procs []*proc, grants []int, h pull.Hint) {
	for i, p := range procs {
		if grants[i] <= p.handled { // the message came twice
			continue
		}
		p.handled = grants[i]
		if n.tombs[p] {
			continue
		}
		err := n.table.AdmitBE(p.id, p.memory)
		if err != nil {
			p.backBy, p.backTo = n, s
			n.send(n, s, func() { s.takeBack(p) }, p)
			continue
		}
		n.procs++
		n.active[p.load.Name]++
		n.begin(p)
	}
	now := n.now
	n.records.node.note(n, op[*pull.Puller]{do: func(p *pull.Puller) { p.Answered(now, s.number, id, len(procs), h) }})
	n.puller.Answered(now, s.number, id, len(procs), h)
	n.tick()
}

// decided is a decision of lcsched.
func (n *inst) decided(d lc.Decision) {
	p := d.Payload.(*proc)
	switch {
	case !n.fence.Pass(d.Epoch, d.Seq):
		n.stats.fenced++
		if p.runsOn != n && p.ranOn != n { // nobody else will tell
			n.worry([]*proc{p})
			n.send(n, p.home, func() { p.home.ask(p) }, p)
		}
		return
	case n.tombs[p]: // its home was told that it is not here
		n.tellLC(func(t *lc.Table, f lc.From) error { return t.Release(f, p.id) })
		return
	}
	err := n.table.AdmitLC(p.id, p.mcpu, p.memory)
	if r := (*node.Refusal)(nil); errors.As(err, &r) && r.Evict {
		for _, id := range n.table.Evict(p.memory) {
			n.end(n.runs[id].proc, evicted)
		}
		err = n.table.AdmitLC(p.id, p.mcpu, p.memory)
	}
	if err != nil {
		n.stats.refusals++
		n.tellLC(func(t *lc.Table, f lc.From) error { return t.Refused(f, p.id) })
		return
	}
	n.account()
	n.lcCPU += p.mcpu
	n.share()
	n.begin(p)
}

// begin starts a proc that the table has admitted.
func (n *inst) begin(p *proc) {
	r := &run{proc: p, left: p.work}
	n.runs[p.id] = r
	if p.load.LC {
		r.slot = len(n.lcRuns)
		n.lcRuns = append(n.lcRuns, r)
	}
	p.runsOn, p.backBy = n, nil
	n.mem += p.memory
	if n.mem > n.cfg.Memory || n.lcCPU > n.cfg.MCPU {
		n.stats.violation("node %d has given %d of %d bytes and %d of %d mCPU", n.number, n.mem, n.cfg.Memory, n.lcCPU, n.cfg.MCPU)
	}
	n.after(n.cfg.Start, func() {
		if n.dead || r.ended {
			return
		}
		p.start = n.now
		if p.starts++; p.starts > 1 {
			n.stats.violation("%s was started %d times", p.id, p.starts)
		}
		if p.final != alive {
			n.stats.orphans++
		}
		if !n.hasCached(p.program) {
			n.stats.cold++
		}
		if p.near.Has(n.number) {
			n.stats.near++
		}
		n.stats.hasStarted(p, n.now-p.spawned)
		n.send(n, p.home, func() { p.home.isAt(p, n); p.home.hasStarted(p) }, p)
		n.compute(r)
	})
}

// cachedPrograms is what a node's cache holds.
const cachedPrograms = 64

// hasCached says whether a program is in the cache, and makes it the newest there.
func (n *inst) hasCached(program string) bool {
	i := slices.Index(n.cached, program)
	if i >= 0 {
		n.cached = slices.Delete(n.cached, i, i+1)
	}
	n.cached = slices.Insert(n.cached, 0, program)
	n.cached = n.cached[:min(len(n.cached), cachedPrograms)]
	return i >= 0
}

// end ends a proc if it is here.
func (n *inst) end(p *proc, how outcome) {
	r := n.runs[p.id]
	if r == nil {
		return
	}
	r.ended = true
	n.account()
	if r.computes {
		n.stopComputing(r)
		n.share()
	}
	delete(n.runs, p.id)
	n.table.Release(p.id)
	n.mem -= p.memory
	p.runsOn, p.ranOn, p.end = nil, n, how
	n.send(n, p.home, func() { p.home.ended(p, how) }, p)
	if p.load.LC {
		n.lcCPU -= p.mcpu
		n.share()
		last := len(n.lcRuns) - 1
		n.lcRuns[r.slot] = n.lcRuns[last]
		n.lcRuns[r.slot].slot = r.slot
		n.lcRuns = n.lcRuns[:last]
		n.tellLC(func(t *lc.Table, f lc.From) error { return t.Release(f, p.id) })
	} else {
		n.procs--
		if n.active[p.load.Name]--; n.active[p.load.Name] == 0 {
			delete(n.active, p.load.Name)
		}
		m := n.machine()
		if n.records.node.of == n {
			m := m
			m.Active = maps.Clone(m.Active)
			n.records.node.note(n, op[*pull.Puller]{do: func(u *pull.Puller) { u.Ended(p.load.Name, m) }, count: true})
		}
		n.puller.Ended(p.load.Name, m)
	}
	n.tick()
}

func (n *inst) dieNode() {
	for _, r := range n.runs {
		n.worry([]*proc{r.proc})
		r.ended = true
	}
}
