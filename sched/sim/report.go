package sim

import (
	"fmt"
	"io"
	"text/tabwriter"
	"time"
)

// Report is what came of a simulation.
type Report struct {
	Config    Config
	Simulated time.Duration // until the last proc had ended
	Took      time.Duration // on this machine

	Spawned, Exited, Errored int // Spawned = Exited + Errored at the end
	Lost, Refused, Evicted   int // kinds of errors
	Homeless                 int // ended for whoever waited, with the node of their home
	BEStarted, LCStarted     int
	Cold                     int // starts of programs that were not in their nodes' caches
	Near                     int // starts on a node on which the proc had better run

	BEWait50, BEWait99 time.Duration // Spawn to first instruction
	LCWait50, LCWait99 time.Duration

	Realms []RealmReport

	// Unfairness is the worst distance of a realm's CPU from its equal part, in any
	// half second that begins two seconds after a change, among realms with procs
	// waiting all the time. Settle is the longest that it took to come under 5 %.
	Unfairness float64
	Settle     time.Duration
	// Utilization is the part of all CPU that was used; BusyUtilization is that of
	// what latency-critical procs left, while best-effort procs waited.
	Utilization, BusyUtilization float64

	// What policy code takes on the machine that ran this, in ns of CPU time per proc:
	// shards and lcsched together, each for its own procs, and the pulling nodes. A
	// report to lcsched comes by time, one a second and node, and is counted apart.
	PlacementNs, ShardNs, LCNs, NodeNs, ReportNs float64

	Asks, Hints, Backs, Refusals, Fenced int
	Deaths, Epochs, Dropped, Orphans     int
	SlowestAnswer                        time.Duration // from a cause to the error at who waits
	Violations                           []string      // of what must always hold
}

// RealmReport is what came of one realm.
type RealmReport struct {
	Name             string
	Spawned, Started int
	Wait50, Wait99   time.Duration
	CPU              time.Duration // of best-effort procs, while procs were spawned
}

func (w *world) report(took time.Duration) Report {
	s, c := w.stats, w.records.costs(w.cfg)
	r := Report{
		Config: w.cfg, Simulated: w.now, Took: took,
		Spawned: w.spawned, Exited: s.ends[exited], Lost: s.ends[lost], Refused: s.ends[refused], Evicted: s.ends[evicted], Homeless: s.ends[homeless],
		BEStarted: s.started[0], LCStarted: s.started[1], Cold: s.cold, Near: s.near,
		BEWait50: s.beWait.at(0.5), BEWait99: s.beWait.at(0.99), LCWait50: s.lcWait.at(0.5), LCWait99: s.lcWait.at(0.99),
		Unfairness: s.unfair, Settle: s.settle,
		Asks: s.asks, Hints: s.hints, Backs: s.backs, Refusals: s.refusals, Fenced: s.fenced,
		Deaths: s.deaths, Epochs: s.epochs, Dropped: s.dropped, Orphans: s.orphans, SlowestAnswer: s.slowest, Violations: s.violations,
	}
	for i, l := range w.cfg.Realms {
		m := &s.realms[i]
		r.Realms = append(r.Realms, RealmReport{l.Name, m.spawned, m.started, m.wait.at(0.5), m.wait.at(0.99), s.before[i]})
	}
	r.Errored = r.Lost + r.Refused + r.Evicted + r.Homeless
	r.Utilization = ratio(float64(s.used), float64(s.capacity))
	r.BusyUtilization = ratio(float64(s.beBusy), float64(s.freeBusy))
	be, lc := float64(r.BEStarted), float64(s.placed)
	r.ShardNs, r.LCNs, r.NodeNs, r.ReportNs = c.shard, c.lc, c.node, c.report
	r.PlacementNs = ratio(c.shard*be+c.lc*lc, be+lc)
	return r
}

func ratio(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}

// Table prints reports side by side, one to a line.
func Table(out io.Writer, reports ...Report) error {
	t := tabwriter.NewWriter(out, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "nodes\tprocs\terrors\tBE p50\tBE p99\tLC p50\tLC p99\tunfair\tsettle\tused\tof free\tplace ns\tshard ns\tlc ns\tnode ns\tasks/proc\tanswer\tviolations\t")
	for _, r := range reports {
		fmt.Fprintf(t, "%d\t%d\t%d\t%s\t%s\t%s\t%s\t%.1f %%\t%s\t%.1f %%\t%.1f %%\t%.0f\t%.0f\t%.0f\t%.0f\t%.2f\t%s\t%d\t\n",
			r.Config.Nodes, r.Spawned, r.Errored, short(r.BEWait50), short(r.BEWait99), short(r.LCWait50), short(r.LCWait99),
			100*r.Unfairness, short(r.Settle), 100*r.Utilization, 100*r.BusyUtilization,
			r.PlacementNs, r.ShardNs, r.LCNs, r.NodeNs, ratio(float64(r.Asks), float64(r.BEStarted)), short(r.SlowestAnswer), len(r.Violations))
	}
	return t.Flush()
}

// short is d in three digits.
func short(d time.Duration) string {
	switch {
	case d == 0:
		return "–"
	case d < 100*time.Millisecond:
		return fmt.Sprintf("%.2f ms", d.Seconds()*1000)
	}
	return fmt.Sprintf("%.2f s", d.Seconds())
}
