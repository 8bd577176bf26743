package sim

import "time"

// cpu is how a machine's cores are shared: latency-critical procs use half of what
// they reserve; the rest is divided equally between the realms that have procs
// computing, and within a realm between these. No proc uses more than one core.
type cpu struct {
	runs   []*run // that compute
	count  []int  // of them, by realm
	order  []int  // realms; for share
	part   []float64
	since  time.Duration
	realm  []time.Duration // CPU time by realm so far
	used   time.Duration   // in all
	lcUsed time.Duration
	plan   uint64 // the latest plan of an end

	// What the node itself measures.
	samples uint64
	sampled time.Duration // when
	before  time.Duration // used then
	idle    int64         // mCPU, since the sample before
}

func newCPU(now time.Duration, realms int) cpu {
	return cpu{
		since: now, sampled: now, count: make([]int, realms), part: make([]float64, realms),
		order: make([]int, 0, realms), realm: make([]time.Duration, realms),
	}
}

// account adds up what was used since the last change.
func (n *inst) account() {
	c := &n.cpu
	d := n.now - c.since
	c.since = n.now
	if d <= 0 {
		return
	}
	for _, r := range c.runs {
		got := time.Duration(float64(d) * r.rate)
		r.left -= got
		c.realm[r.realm] += got
		c.used += got
	}
	c.lcUsed += d * time.Duration(n.lcCPU/2) / 1000
}

// share divides the cores anew and plans the next end.
func (n *inst) share() {
	c := &n.cpu
	c.order = c.order[:0]
	for realm, k := range c.count {
		if k == 0 {
			continue
		}
		i := len(c.order)
		c.order = append(c.order, realm)
		for ; i > 0 && c.count[c.order[i-1]] > k; i-- {
			c.order[i], c.order[i-1] = c.order[i-1], realm
		}
	}
	free := float64(n.cfg.MCPU-n.lcCPU/2) / 1000
	for i, realm := range c.order { // those that want least first; they may leave some
		got := min(float64(c.count[realm]), free/float64(len(c.order)-i))
		c.part[realm] = got / float64(c.count[realm])
		free -= got
	}
	next := time.Duration(-1)
	for _, r := range c.runs {
		if r.rate = c.part[r.realm]; r.rate <= 0 {
			continue
		}
		if t := time.Duration(float64(r.left) / r.rate); next < 0 || t < next {
			next = max(t, 0)
		}
	}
	c.plan++
	if next < 0 {
		return
	}
	plan := c.plan
	n.after(next+1, func() {
		if !n.dead && c.plan == plan {
			n.reap()
		}
	})
}

// reap lets those go on that have computed all they had to.
func (n *inst) reap() {
	n.account()
	var done []*run
	for _, r := range n.cpu.runs {
		if r.left <= 0 {
			done = append(done, r)
		}
	}
	for _, r := range done {
		n.stopComputing(r)
	}
	n.share()
	for _, r := range done {
		n.sleep(r)
	}
}

// compute is a proc beginning to.
func (n *inst) compute(r *run) {
	if r.left <= 0 {
		n.sleep(r)
		return
	}
	n.account()
	c := &n.cpu
	r.cpu = len(c.runs)
	r.computes = true
	c.runs = append(c.runs, r)
	c.count[r.realm]++
	n.share()
}

func (n *inst) stopComputing(r *run) {
	if !r.computes {
		return
	}
	c := &n.cpu
	r.computes = false
	last := len(c.runs) - 1
	c.runs[r.cpu] = c.runs[last]
	c.runs[r.cpu].cpu = r.cpu
	c.runs[last] = nil
	c.runs = c.runs[:last]
	c.count[r.realm]--
}

// sleep is what a proc does until it ends.
func (n *inst) sleep(r *run) {
	if r.proc.sleep <= 0 {
		n.end(r.proc, exited)
		return
	}
	n.after(r.proc.sleep, func() {
		if !n.dead && !r.ended {
			n.end(r.proc, exited)
		}
	})
}

// sample is the node's look at its CPU, as often as it would.
func (n *inst) sample() {
	c := &n.cpu
	d := n.now - c.sampled
	if d < 20*time.Millisecond {
		return
	}
	n.account()
	all := c.used + c.lcUsed
	c.idle = n.cfg.MCPU - int64(1000*(all-c.before)/d)
	c.samples++
	c.sampled, c.before = n.now, all
}
