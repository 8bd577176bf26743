package sim

import (
	"fmt"
	"math"
	"time"
)

// stats is what is counted on the way.
type stats struct {
	w          *world
	ends       [outcomes]int
	beWait     hist // Spawn to first instruction
	lcWait     hist
	started    [2]int // best-effort, latency-critical
	placed     int    // decisions of lcsched
	asks       int    // that had an answer
	hints      int
	backs      int // procs that a node gave back
	refusals   int // by schedds, of lcsched's decisions
	fenced     int // decisions that a schedd did not obey
	epochs     int
	deaths     int
	dropped    int           // messages
	cold       int           // starts of programs that were not in their node's cache
	near       int           // starts on a node on which the proc had better run
	orphans    int           // procs that started though home had given them up
	slowest    time.Duration // from a cause to the error at who waits
	violations []string

	waiting []int // procs of a realm that have not started
	realms  []realmStats

	// Of the present interval and those before.
	began    time.Duration
	samples  int
	least    []int // of waiting
	before   []time.Duration
	lcBefore time.Duration
	lastBusy string
	since    time.Duration // lastBusy is so
	settled  bool
	unfair   float64
	settle   time.Duration
	beBusy   time.Duration // CPU time used and free while all had work
	freeBusy time.Duration
	used     time.Duration
	capacity time.Duration
	gone     []time.Duration // CPU time on machines that died
	goneLC   time.Duration
}

// realmStats are one realm's.
type realmStats struct {
	spawned, started int
	wait             hist
}

func newStats(w *world) *stats {
	n := len(w.cfg.Realms)
	return &stats{w: w, realms: make([]realmStats, n), waiting: make([]int, n), least: make([]int, n), before: make([]time.Duration, n), gone: make([]time.Duration, n)}
}

// maxViolations are enough to see what is wrong.
const maxViolations = 20

func (s *stats) violation(format string, args ...any) {
	if len(s.violations) < maxViolations {
		s.violations = append(s.violations, fmt.Sprintf("at %v: ", s.w.now)+fmt.Sprintf(format, args...))
	}
}

func (s *stats) spawned(p *proc) {
	s.waiting[p.realm]++
	s.realms[p.realm].spawned++
}

func (s *stats) hasStarted(p *proc, wait time.Duration) {
	if p.final == alive {
		s.waiting[p.realm]--
	}
	s.realms[p.realm].started++
	s.realms[p.realm].wait.add(wait)
	if p.load.LC {
		s.lcWait.add(wait)
		s.started[1]++
	} else {
		s.beWait.add(wait)
		s.started[0]++
	}
}

func (s *stats) final(p *proc) {
	s.ends[p.final]++
	if p.start == 0 {
		s.waiting[p.realm]--
	}
}

// bound is what a waiter may wait for what cannot come any more.
const bound = 5 * time.Second

func (s *stats) answered(p *proc, after time.Duration) {
	if s.slowest = max(s.slowest, after); after > bound {
		s.violation("who waits for %s was told after %v that it is lost", p.id, after)
	}
}

func (s *stats) died(n *inst) {
	n.account()
	for i, d := range n.cpu.realm {
		s.gone[i] += d
	}
	s.goneLC += n.cpu.lcUsed
}

const (
	interval = 500 * time.Millisecond
	perInt   = 5               // samples
	calm     = 2 * time.Second // after a change the shares may still be unequal
)

// watch takes samples until no more procs are spawned.
func (s *stats) watch() {
	w := s.w
	w.after(interval/perInt, func() {
		if w.quiet {
			return
		}
		for i, n := range s.waiting {
			if s.samples == 0 || n < s.least[i] {
				s.least[i] = n
			}
		}
		if s.samples++; s.samples == perInt {
			s.close()
		}
		s.watch()
	})
}

// close ends an interval.
func (s *stats) close() {
	w := s.w
	s.samples = 0
	now, lcNow := append([]time.Duration(nil), s.gone...), s.goneLC
	living := 0
	for _, n := range w.cur[1:] {
		if n.dead {
			continue
		}
		living++
		n.account()
		for i, d := range n.cpu.realm {
			now[i] += d
		}
		lcNow += n.cpu.lcUsed
	}
	var be time.Duration
	used := make([]time.Duration, len(now))
	for i := range now {
		used[i] = now[i] - s.before[i]
		be += used[i]
	}
	lcUsed := lcNow - s.lcBefore
	s.before, s.lcBefore = now, lcNow
	all := interval * time.Duration(int64(living)*w.cfg.MCPU) / 1000
	s.used += be + lcUsed
	s.capacity += all
	s.fairness(used, all-lcUsed, be)
	s.began = w.now
}

// enough says whether a realm had so much waiting all the time that every node, asking
// any shard, could have had a core's worth of it for each of four cores.
func (s *stats) enough(realm int) bool {
	return !s.w.cfg.Realms[realm].LC && s.least[realm] >= 4*s.w.cfg.Nodes+64
}

// fairness compares the CPU of the realms that had enough to do.
func (s *stats) fairness(used []time.Duration, free, be time.Duration) {
	busy, n := "", 0
	var sum time.Duration
	for i, r := range s.w.cfg.Realms {
		if s.enough(i) {
			busy += r.Name + " "
			n++
			sum += used[i]
		}
	}
	if busy != s.lastBusy {
		s.lastBusy, s.since, s.settled = busy, s.began, false
	}
	if n == 0 {
		return
	}
	s.beBusy += be
	s.freeBusy += free
	if n < 2 {
		return
	}
	worst := 0.0
	for i := range used {
		if s.enough(i) {
			worst = max(worst, math.Abs(float64(used[i])*float64(n)/float64(sum)-1))
		}
	}
	if s.began-s.since >= calm {
		s.unfair = max(s.unfair, worst)
	}
	if worst <= 0.05 && !s.settled {
		s.settled = true
		s.settle = max(s.settle, s.w.now-s.since)
	}
}
