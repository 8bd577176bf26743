package sim

import "time"

// homeState is what a node keeps as home of procs.
type homeState struct {
	waits []*proc // without a final status
}

const (
	askAgain  = 500 * time.Millisecond
	askTries  = 6 // three seconds of silence are final
	elsewhere = 50 * time.Millisecond
	maxElse   = 100
)

// spawn is a Spawn call at a node.
func (n *inst) spawn(p *proc) {
	p.home, p.spawned, p.index = n, n.now, len(n.waits)
	n.waits = append(n.waits, p)
	n.live++
	n.submit(p)
}

// submit sends p to a shard drawn evenly, or to lcsched.
func (n *inst) submit(p *proc) {
	ver := &n.versions[n.view]
	p.attempt++
	attempt := p.attempt
	if p.load.LC {
		if to := n.cur[ver.lcsched]; to != nil {
			p.at = to
			n.send(n, to, func() { to.place(p, attempt) }, p)
			return
		}
	} else if len(ver.shards) > 0 {
		to := n.cur[ver.shards[n.rng.IntN(len(ver.shards))]]
		p.at = to
		n.send(n, to, func() { to.push(p, attempt) }, p)
		return
	}
	n.notThere(p, attempt)
}

// notThere is somebody's word that he has not taken p, and never will. It counts for
// the last attempt alone: it may come twice.
func (n *inst) notThere(p *proc, attempt int) {
	if p.final != alive || p.attempt != attempt {
		return
	}
	if p.attempt > maxElse {
		n.finish(p, refused)
		return
	}
	p.attempt++
	n.after(elsewhere, func() {
		if !n.dead && p.final == alive {
			n.submit(p)
		}
	})
}

// isAt is the word of a shard, of lcsched or of a node itself that it is there.
func (n *inst) isAt(p *proc, at *inst) {
	if p.final != alive {
		if p.final == lost { // that was final; whatever runs there, ends
			n.send(n, at, func() { at.drop(p) })
		}
		return
	}
	p.at = at
	if n.knowsDead(at) {
		n.lose(p)
	}
}

// moved is the word of who was asked that p is with another one.
func (n *inst) moved(p *proc, to *inst) {
	if p.final == alive {
		p.asking, p.at = false, to
		n.ask(p)
	}
}

// seeHome looks after procs when gossip has told of something.
func (n *inst) seeHome() {
	for i := len(n.waits) - 1; i >= 0; i-- { // what ends is replaced by the last
		if p := n.waits[i]; p.at != nil && n.knowsDead(p.at) {
			n.lose(p)
		}
	}
}

// ask asks after a proc that a message was lost about.
func (n *inst) ask(p *proc) {
	if n.dead || p.final != alive || p.asking || p.at == nil {
		return
	}
	p.asking, p.tries = true, 0
	n.askOnce(p)
}

func (n *inst) askOnce(p *proc) {
	if n.dead || p.final != alive || !p.asking {
		return
	}
	if p.tries++; p.tries > askTries || n.knowsDead(p.at) {
		n.lose(p)
		return
	}
	at := p.at
	n.send(n, at, func() { at.know(p) })
	n.after(askAgain, func() { n.askOnce(p) })
}

// know answers whether this node knows of p, in any of its roles. If it does not, it
// never will.
func (n *inst) know(p *proc) {
	h := p.home
	switch {
	case p.runsOn == n:
		started := p.start > 0
		n.send(n, h, func() {
			h.answer(p, n)
			if started {
				h.hasStarted(p)
			}
		})
	case p.ranOn == n:
		end := p.end
		n.send(n, h, func() { h.ended(p, end) })
	case p.queuedAt == n:
		n.send(n, h, func() { h.answer(p, n) })
	case p.gaveBy == n || p.backBy == n:
		to := p.gaveTo
		if p.backBy == n {
			to = p.backTo
		}
		n.send(n, h, func() { h.moved(p, to) })
	case n.lcs != nil && n.lcs.table.Queued(p.id):
		n.send(n, h, func() { h.answer(p, n) })
	default:
		if n.lcs != nil {
			if number, ok := n.lcs.table.Where(p.id); ok {
				to := n.lcs.known[number]
				n.send(n, h, func() { h.moved(p, to) })
				return
			}
		}
		n.tombs[p] = true
		n.send(n, h, func() { h.lose(p) })
	}
}

// answer is the word of who was asked and has p.
func (n *inst) answer(p *proc, at *inst) {
	p.asking, p.trouble = false, 0
	n.isAt(p, at)
}

func (n *inst) hasStarted(p *proc) { p.told = true }

// ended is the word of the node on which p ran.
func (n *inst) ended(p *proc, how outcome) { n.finish(p, how) }

// drop is a home's word that p is not to run any more.
func (n *inst) drop(p *proc) {
	n.tombs[p] = true
	switch {
	case p.runsOn == n:
		n.end(p, lost)
	case p.queuedAt == n:
		n.shard.Queue.Remove(p.id)
		p.queuedAt = nil
	case n.lcs != nil && n.lcs.table.Cancel(p.id):
		n.flush()
	}
}

// lose gives up a proc, for good.
func (n *inst) lose(p *proc) {
	if p.final != alive || n.dead {
		return
	}
	if p.trouble > 0 {
		n.stats.answered(p, n.now-p.trouble)
	}
	n.finish(p, lost)
	if at := p.at; at != nil {
		n.send(n, at, func() { at.drop(p) })
	}
}

// finish makes a status final, once.
func (n *inst) finish(p *proc, how outcome) {
	if p.final != alive {
		return
	}
	p.final = how
	n.live--
	last := len(n.waits) - 1
	n.waits[p.index] = n.waits[last]
	n.waits[p.index].index = p.index
	n.waits[last] = nil
	n.waits = n.waits[:last]
	n.stats.final(p)
	n.refill(p)
}

// dieHome ends all waits with the node that has them.
func (n *inst) dieHome() {
	for len(n.waits) > 0 {
		n.finish(n.waits[len(n.waits)-1], homeless)
	}
}
