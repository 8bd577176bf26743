package place

import (
	"errors"
	"maps"
	"slices"
	"time"

	"sigmaos/api"
	"sigmaos/internal/failpoint"
	"sigmaos/net/talk"
	"sigmaos/sched/lc"
	"sigmaos/sched/node"
	"sigmaos/sched/pull"
)

// runner is what a node keeps of the procs that it has taken.
type runner struct {
	puller   *pull.Puller
	fence    lc.Fence
	master   uint16 // the lcsched that it obeys; 0 is none
	draining bool
	quits    bool // draining for good: the node is stopping
	alone    bool
	runs     map[api.ProcID]*Order
	active   map[string]int // best-effort ones, by realm
	procs    int            // of those
	pins     []*Order       // bound to this node, that wait; oldest first
	tombs    tombs
	wake     time.Duration // of the tick that is planned; 0 is none
	cpu      sample
	asks     []pull.Ask // of tick
}

// sample is the CPU that was idle, measured over at least sampleTime.
type sample struct {
	at     time.Duration
	used   time.Duration
	idle   int64
	number uint64
}

const sampleTime = 20 * time.Millisecond

func (r *runner) init(cfg Config) {
	r.puller = pull.New(pull.Config{Self: cfg.Self.Number, Seed: cfg.Seed + uint64(cfg.Self.Boot)})
	r.runs = make(map[api.ProcID]*Order)
	r.active = make(map[string]int)
	r.alone = true
}

// Quit has this node take no more procs: what it is granted it gives back.
func (e *Engine) Quit() {
	e.mu.Lock()
	defer e.unlock()
	e.run.quits, e.run.draining = true, true
}

// machine is this node as the puller wants to know it.
func (e *Engine) machine() pull.Machine {
	r := &e.run
	m := pull.Machine{MCPU: e.cfg.Table.FreeMCPU(), Memory: e.cfg.Table.Offer(), Active: r.active, Procs: r.procs, Alone: r.alone}
	if r.draining {
		m.Memory = 0
	}
	if !r.alone {
		e.measure(m.MCPU)
		m.Idle, m.Sample = r.cpu.idle, r.cpu.number
	}
	return m
}

// measure takes a sample when the last one is old. What procs of other programs on
// the machine use is not looked at: it says nothing about ours.
func (e *Engine) measure(mcpu int64) {
	c, now := &e.run.cpu, e.now()
	if c.at != 0 && now-c.at < sampleTime {
		return
	}
	used := c.used
	if e.cfg.Used != nil {
		used = e.cfg.Used()
	}
	if c.at != 0 {
		busy := int64(used-c.used) * 1000 / int64(now-c.at)
		c.idle = max(0, e.cfg.Table.MCPU()-busy)
		c.number++
	}
	c.at, c.used = now, used
}

// tick lets the puller decide. It follows everything that changes what it knows.
func (e *Engine) tick() {
	r := &e.run
	e.servePins()
	r.asks = r.puller.Tick(e.now(), e.machine(), r.asks[:0])
	for _, a := range r.asks {
		a.Active = maps.Clone(a.Active)
		e.send(a.Shard, ask{a})
	}
	next := r.puller.Next()
	if next >= 1<<62 || r.wake != 0 && r.wake <= next {
		return
	}
	r.wake = next
	e.after(next-e.now(), func() {
		if r.wake == next {
			r.wake = 0
			e.tick()
		}
	})
}

func (e *Engine) hinted(from uint16, h pull.Hint) {
	e.run.puller.Told(from, h)
	e.tick()
}

// granted takes what came for an ask.
func (e *Engine) granted(from uint16, g grant) {
	r := &e.run
	for _, o := range g.orders {
		if r.tombs.has(o.ID) || r.runs[o.ID] != nil {
			continue
		}
		if r.draining || !e.admitBE(o) {
			e.send(from, back{o})
		}
	}
	r.puller.Answered(e.now(), from, g.id, len(g.orders), g.h)
	e.tick()
}

// admitBE starts o if there is room.
func (e *Engine) admitBE(o *Order) bool {
	if e.cfg.Table.AdmitBE(string(o.ID), o.Desc.Memory) != nil {
		return false
	}
	e.run.procs++
	e.run.active[o.Realm]++
	e.begin(o, nil)
	return true
}

// begin has an admitted proc started.
func (e *Engine) begin(o *Order, evict []api.ProcID) {
	e.run.runs[o.ID] = o
	failpoint.Hit("taken")
	e.send(o.home(), taken{o.ID})
	e.do(func() { e.cfg.Host.Start(o, evict) })
}

// decided is a decision of lcsched.
func (e *Engine) decided(from uint16, d decide) {
	r, o := &e.run, d.o
	switch {
	case !r.fence.Pass(d.epoch, d.seq):
		if r.runs[o.ID] == nil { // nobody else will tell
			e.send(o.home(), lost{o.ID, "the lcsched that placed it is none any more"})
		}
		return
	case r.tombs.has(o.ID):
		e.toLC(func(f lc.From) any { return release{f, o.ID} })
		return
	}
	evict, err := e.admitLC(o)
	if err != nil {
		e.toLC(func(f lc.From) any { return refused{f, o.ID} })
		return
	}
	e.begin(o, evict)
	e.tick()
}

// admitLC reserves for o; where best-effort procs hold the memory it says which must
// end first.
func (e *Engine) admitLC(o *Order) (evict []api.ProcID, err error) {
	if e.run.draining {
		return nil, errNotHere
	}
	admit := func() error { return e.cfg.Table.AdmitLC(string(o.ID), o.Desc.MCPU, o.Desc.Memory) }
	err = admit()
	var r *node.Refusal
	if errors.As(err, &r) && r.Evict {
		for _, id := range e.cfg.Table.Evict(o.Desc.Memory) {
			evict = append(evict, api.ProcID(id))
		}
		err = admit()
	}
	return evict, err
}

// toLC stamps a message for the lcsched that this node obeys.
func (e *Engine) toLC(m func(lc.From) any) {
	if r := &e.run; r.master != 0 {
		e.send(r.master, m(r.fence.Stamp(e.cfg.Self.Number, e.cfg.Self.Boot)))
	}
}

// greeted is lcsched's Hello: it wants a report.
func (e *Engine) greeted(from uint16, h lc.Hello) {
	r := &e.run
	if !r.fence.Hello(h) {
		e.send(from, newer{r.fence.Epoch()})
		return
	}
	r.master = from
	e.report()
}

// report tells lcsched what is reserved here.
func (e *Engine) report() {
	e.toLC(func(f lc.From) any {
		t := e.cfg.Table
		r := lc.Report{From: f, MCPU: t.MCPU(), Memory: t.Memory(), Seen: e.run.fence.Seen()}
		for _, o := range e.run.runs {
			if o.lc() {
				r.Held = append(r.Held, o.held())
			}
		}
		return report{r}
	})
}

// Began tells that a proc which runs here has said Started.
func (e *Engine) Began(id api.ProcID, stamps api.Stamps) {
	e.mu.Lock()
	defer e.unlock()
	if o := e.run.runs[id]; o != nil && !e.closed {
		e.send(o.home(), began{id, stamps})
	}
}

// Wrote passes a proc's output on to its home. The engine keeps data.
func (e *Engine) Wrote(id api.ProcID, stream int, data []byte) {
	e.mu.Lock()
	defer e.unlock()
	if o := e.run.runs[id]; o != nil && !e.closed {
		e.send(o.home(), wrote{id, stream, data})
	}
}

// Ended tells that a proc which ran here is gone and what it held is free. then is
// called after its end was told and before anything starts in its place.
func (e *Engine) Ended(id api.ProcID, res Result, then func()) {
	e.mu.Lock()
	defer e.unlock()
	r := &e.run
	o := r.runs[id]
	if o == nil {
		if then != nil {
			e.do(then)
		}
		return
	}
	delete(r.runs, id)
	e.cfg.Table.Release(string(id))
	if o.home() == e.cfg.Self.Number {
		e.homeEnded(e.cfg.Self.Number, ended{id, res})
	} else {
		e.send(o.home(), ended{id, res})
	}
	if then != nil {
		e.do(then)
	}
	if e.closed {
		return
	}
	if o.lc() {
		e.toLC(func(f lc.From) any { return release{f, id} })
	} else {
		r.procs--
		if r.active[o.Realm]--; r.active[o.Realm] == 0 {
			delete(r.active, o.Realm)
		}
		r.puller.Ended(o.Realm, e.machine())
	}
	e.tick()
}

// dropped is a home's word that a proc is not to run any more.
func (e *Engine) dropped(m drop) {
	e.run.tombs.add(m.id)
	switch {
	case e.run.runs[m.id] != nil:
		e.do(func() { e.cfg.Host.End(m.id, api.Lost, m.why, 0) })
	case e.unpin(m.id):
		e.servePins()
	case e.unqueue(m.id):
	case e.lcs.table != nil && e.lcs.table.Cancel(string(m.id)):
		e.flush()
	}
}

// killed is a home's word that a proc is to end.
func (e *Engine) killed(m kill) {
	if e.run.runs[m.id] != nil {
		e.do(func() { e.cfg.Host.End(m.id, m.as, m.reason, time.Duration(m.grace)) })
	}
}

// runnerOver ends the procs of a home that has given them up, and forgets what is
// known of a shard.
func (e *Engine) runnerOver(p talk.Peer) {
	peer := p.Number
	for id, o := range e.run.runs {
		// Those of a later boot are not meant: they came by way of another node.
		if n, boot, _ := o.ID.Home(); n == peer && (p.Boot == 0 || boot <= p.Boot) {
			e.do(func() { e.cfg.Host.End(id, api.Lost, "its home node fell silent", 0) })
		}
	}
	e.run.pins = slices.DeleteFunc(e.run.pins, func(o *Order) bool { return o.home() == peer })
	e.run.puller.Reset(peer)
	if e.run.master == peer {
		e.run.master = 0 // it greets again
	}
}
