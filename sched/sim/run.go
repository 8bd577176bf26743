package sim

import (
	"fmt"
	"math/rand/v2"
	"time"
)

const (
	// settleTime is for gossip, elections and first reports, before procs come.
	settleTime = time.Second
	// patience is how long procs may take to end when no more are spawned.
	patience = 10 * time.Minute
)

// Run simulates a cluster. The error is for a Config that makes no sense.
func Run(cfg Config) (Report, error) {
	cfg, err := cfg.withDefaults()
	if err != nil {
		return Report{}, err
	}
	began := time.Now()
	w := &world{
		engine: engine{rng: rand.New(rand.NewPCG(cfg.Seed, 1))}, cfg: cfg,
		cur: make([]*inst, cfg.Nodes+1), links: make(map[[2]uint16]time.Duration),
	}
	w.stats = newStats(w)
	for n := range cfg.Nodes {
		w.start(uint16(n + 1))
	}
	w.changed(nil)
	w.records.node.of = w.cur[1]
	for _, n := range w.cur[1:] {
		n.see(0)
	}
	w.until(settleTime, nil)
	for i := range w.cfg.Realms { // the Config counts from now on
		w.cfg.Realms[i].From += w.now
		w.cfg.Realms[i].To += w.now
	}
	w.stats.began, w.stats.asks = w.now, 0
	w.loads()
	w.deaths()
	w.killLC()
	w.stats.watch()
	w.until(w.now+cfg.Duration, nil)
	w.quiet = true
	w.until(w.now+patience, func() bool { return w.live == 0 })
	simulated := w.now
	if w.live > 0 {
		w.stats.violation("%d procs have no final status after %v of quiet: %s", w.live, patience, w.stuck())
	}
	w.until(w.now+patience, func() bool { return w.down == 0 })
	w.until(w.now+cfg.Notice+time.Second+3*w.reportEvery(), nil) // for the last elections, messages and reports
	w.inspect()
	r := w.report(time.Since(began))
	r.Simulated = simulated
	return r, nil
}

// until lets time pass, as long as done, if there is one, does not hold.
func (w *world) until(t time.Duration, done func() bool) {
	for len(w.heap) > 0 && w.heap[0].at <= t && (done == nil || !done()) {
		w.step()
	}
	if done == nil || !done() {
		w.now = max(w.now, t)
	}
}

// stuck says what is known of one proc that does not end.
func (w *world) stuck() string {
	for _, n := range w.cur[1:] {
		if n.dead || len(n.waits) == 0 {
			continue
		}
		p := n.waits[0]
		name := func(n *inst) string {
			if n == nil {
				return "nobody"
			}
			return fmt.Sprintf("%d.%d (dead %v)", n.number, n.boot, n.dead)
		}
		return fmt.Sprintf("%s of %s: home %s, at %s, queued at %s, given by %s to %s, runs on %s, ran on %s, given back by %s, attempt %d, asking %v, trouble at %v",
			p.id, p.load.Name, name(n), name(p.at), name(p.queuedAt), name(p.gaveBy), name(p.gaveTo), name(p.runsOn), name(p.ranOn), name(p.backBy), p.attempt, p.asking, p.trouble)
	}
	return ""
}

// inspect looks for what is left over at the end.
func (w *world) inspect() {
	s := w.stats
	total := 0
	for _, n := range s.ends {
		total += n
	}
	if total != w.spawned {
		s.violation("%d procs were spawned and %d have ended", w.spawned, total)
	}
	holders := 0
	for _, n := range w.cur[1:] {
		if n.dead {
			continue
		}
		if t := n.table.Snapshot(); len(n.runs) > 0 || t.LC+t.BE > 0 || n.mem != 0 || n.lcCPU != 0 {
			s.violation("node %d still has %d procs, and %d in its table", n.number, len(n.runs), t.LC+t.BE)
		}
		if n.shard != nil && n.shard.Queue.Len() > 0 {
			s.violation("the shard of node %d still has %d procs", n.number, n.shard.Queue.Len())
		}
		if n.lcs == nil {
			continue
		}
		holders++
		if t := n.lcs.table.Stats(); t.Waiting > 0 || t.Placed > 0 || t.Claims > 0 || t.Unheard > 0 {
			s.violation("lcsched on node %d is left with %+v", n.number, t)
		}
		for _, m := range n.lcs.table.Nodes() {
			if m.UsedMCPU != 0 || m.UsedMemory != 0 {
				s.violation("lcsched on node %d is left with %+v", n.number, m)
			}
		}
	}
	if holders != 1 {
		s.violation("%d nodes are lcsched at the end", holders)
	}
}
