package sim

import (
	"errors"
	"slices"
	"time"

	"sigmaos/sched/lc"
)

// lcState is what a node keeps as lcsched.
type lcState struct {
	lcs      *lcs // nil unless it is
	electing bool
}

// lcs is lcsched in one epoch.
type lcs struct {
	table *lc.Table
	epoch uint64
	known map[uint16]*inst
}

// claimTime is what etcd takes for an epoch.
const claimTime = 10 * time.Millisecond

// seeLC follows the election, and the members.
func (n *inst) seeLC(ver *version) {
	switch mine := ver.lcsched == n.number; {
	case n.lcs != nil && !mine:
		n.stopLC()
	case n.lcs != nil:
		n.seeMembers()
	case mine:
		n.claimLC(claimTime)
	}
}

// claimLC has etcd give out an epoch, if this node is still the one by then.
func (n *inst) claimLC(after time.Duration) {
	if n.electing {
		return
	}
	n.electing = true
	n.after(after, func() {
		n.electing = false
		if !n.dead && n.versions[n.view].lcsched == n.number && n.lcs == nil {
			n.startLC()
		}
	})
}

func (n *inst) startLC() {
	n.epoch++
	n.stats.epochs++
	n.lcs = &lcs{table: lc.New(lc.Config{Epoch: n.epoch, Waiting: n.cfg.QueueMax}), epoch: n.epoch, known: make(map[uint16]*inst)}
	if n.records.lc.of == nil {
		n.records.lc.of = n
	}
	n.seeMembers()
}

// onTable does something with the table, and notes it.
func (n *inst) onTable(o op[*lc.Table]) {
	again := o
	again.do = func(t *lc.Table) { o.do(t); t.Decisions() }
	n.records.lc.note(n, again)
	o.do(n.lcs.table)
}

// seeMembers tells the table who lives, by what this node knows.
func (n *inst) seeMembers() {
	l := n.lcs
	for number := 1; number < len(n.cur); number++ {
		o := n.cur[number]
		old := l.known[o.number]
		if old != nil && (n.knowsDead(old) || old != o) {
			n.onTable(op[*lc.Table]{do: func(t *lc.Table) { t.Lost(o.number) }, apart: true})
			delete(l.known, o.number)
			old = nil
		}
		if old == nil && !n.knowsDead(o) && o.view >= 0 {
			l.known[o.number] = o
			n.onTable(op[*lc.Table]{do: func(t *lc.Table) { t.Join(lc.Node{Number: o.number, Boot: o.boot, Domain: o.domain}) }, apart: true})
			n.greet(l, o)
			n.poll(l, o)
		}
	}
	l.table.CancelIf(func(r lc.Request) bool { return n.knowsDead(r.Payload.(*proc).home) })
	n.flush()
}

// reportEvery is how often a node reports unasked.
func (w *world) reportEvery() time.Duration {
	return max(time.Second, time.Duration(w.cfg.Nodes)*time.Millisecond)
}

// poll asks a node for a report again and again.
func (n *inst) poll(l *lcs, o *inst) {
	every := n.reportEvery()
	n.after(n.between(every/2, every*3/2), func() {
		if n.dead || n.lcs != l || l.known[o.number] != o {
			return
		}
		n.greet(l, o)
		n.poll(l, o)
	})
}

// greet says Hello.
func (n *inst) greet(l *lcs, o *inst) {
	h, ok := l.table.Hello(o.number)
	if !ok {
		return
	}
	n.sendNode(l, o, func() {
		if !o.fence.Hello(h) {
			newer := o.fence.Epoch()
			n.send(o, n, func() {
				if n.lcs == l && newer > l.epoch {
					n.stopLC()
				}
			})
			return
		}
		o.master = n
		o.tellLCReport()
	})
}

// sendNode is send to a node; where a message is lost, the link was, and is made anew.
func (n *inst) sendNode(l *lcs, o *inst, do func(), about ...*proc) {
	if !n.send(n, o, do, about...) {
		n.relink(l, o)
	}
}

func (n *inst) relink(l *lcs, o *inst) {
	n.after(n.between(10*time.Millisecond, 500*time.Millisecond), func() {
		if !n.dead && n.lcs == l && l.known[o.number] == o {
			n.onTable(op[*lc.Table]{do: func(t *lc.Table) { t.Silent(o.number) }, apart: true})
			n.greet(l, o)
			n.flush()
		}
	})
}

// tellLC is a message of this node to the lcsched that it obeys.
func (n *inst) tellLC(do func(*lc.Table, lc.From) error) {
	n.toLC(false, n.fence.Stamp(n.number, n.boot), do)
}

// tellLCReport sends a report of this moment.
func (n *inst) tellLCReport() {
	r := lc.Report{From: n.fence.Stamp(n.number, n.boot), MCPU: n.cfg.MCPU, Memory: n.cfg.Memory, Seen: n.fence.Seen()}
	for _, p := range n.lcRuns {
		r.Held = append(r.Held, lc.Held{ID: p.id, Realm: p.load.Name, MCPU: p.mcpu, Memory: p.memory, Group: p.group})
	}
	n.toLC(true, r.From, func(t *lc.Table, _ lc.From) error { return t.Report(r) })
}

func (n *inst) toLC(report bool, f lc.From, do func(*lc.Table, lc.From) error) {
	m := n.master
	if m == nil {
		return
	}
	sent := n.send(n, m, func() {
		l := m.lcs
		if l == nil {
			return
		}
		var err error
		m.onTable(op[*lc.Table]{do: func(t *lc.Table) { err = do(t, f) }, apart: report})
		switch {
		case errors.Is(err, lc.ErrDeposed):
			m.stopLC()
			return
		case err != nil && !errors.Is(err, lc.ErrOld):
			m.stats.violation("lcsched refuses a message: %v", err)
		}
		m.flush()
	})
	if !sent && m.lcs != nil {
		m.relink(m.lcs, n)
	}
}

// place is a Spawn that arrives at lcsched.
func (n *inst) place(p *proc, attempt int) {
	switch {
	case n.tombs[p]:
		return
	case n.lcs == nil:
		n.send(n, p.home, func() { p.home.notThere(p, attempt) }, p)
		return
	}
	r := lc.Request{ID: p.id, Realm: p.load.Name, MCPU: p.mcpu, Memory: p.memory, Group: p.group, Payload: p}
	var err error
	n.onTable(op[*lc.Table]{do: func(t *lc.Table) { err = t.Place(r) }, count: true})
	if err != nil && !n.lcs.table.Queued(p.id) {
		if _, ok := n.lcs.table.Where(p.id); !ok {
			n.send(n, p.home, func() { p.home.finish(p, refused) }, p)
		}
	}
	n.flush()
}

// flush sends out what the table has decided.
func (n *inst) flush() {
	l := n.lcs
	for _, d := range slices.Clone(l.table.Decisions()) {
		p := d.Payload.(*proc)
		if d.Err != nil {
			n.send(n, p.home, func() { p.home.ask(p) }, p)
			continue
		}
		to := l.known[d.Node]
		n.stats.placed++
		n.sendNode(l, to, func() { to.decided(d) }, p)
		n.send(n, p.home, func() { p.home.isAt(p, to) }, p)
	}
}

// stopLC ends an lcsched that is none any more: who waits is told. One that was
// deposed by a node with an older view of the cluster claims an epoch again, or there
// would be none when that node sees what is new.
func (n *inst) stopLC() {
	l := n.lcs
	n.lcs = nil
	for _, r := range l.table.CancelIf(func(lc.Request) bool { return true }) {
		p := r.Payload.(*proc)
		n.send(n, p.home, func() { p.home.ask(p) }, p)
	}
	n.claimLC(10 * claimTime)
}

func (n *inst) dieLC() {
	if n.lcs == nil {
		return
	}
	for _, r := range n.lcs.table.CancelIf(func(lc.Request) bool { return true }) {
		n.worry([]*proc{r.Payload.(*proc)})
	}
}
