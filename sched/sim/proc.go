package sim

import (
	"time"

	"sigmaos/sched/be"
)

// proc is one Spawn. The simulator knows everything about it; the parties that are
// simulated use only what they would know, as the comments say.
type proc struct {
	id    string
	realm int
	load  *Realm

	memory, mcpu int64
	work, sleep  time.Duration
	group        string
	program      string
	near         be.Nodes

	// At home.
	home    *inst
	at      *inst // who has it, as home knows
	tries   int   // asks without an answer
	attempt int   // places that were tried
	asking  bool
	told    bool // that it has started
	final   outcome
	index   int // in home.waits

	// What others have written down.
	queuedAt *inst // waits in its shard
	gaveBy   *inst // its shard, having given it
	gaveTo   *inst //   to this node
	grants   int   //   so often
	handled  int   // grants that their nodes have seen
	backBy   *inst // a node that gave it back
	backTo   *inst //   to this shard
	runsOn   *inst
	ranOn    *inst // has its exit record
	end      outcome

	// In truth.
	spawned time.Duration
	start   time.Duration // its first instruction
	starts  int
	trouble time.Duration // something it depends on is dead or lost since; 0 is no
}

type outcome uint8

const (
	alive outcome = iota
	exited
	lost    // whoever had it is dead, or it was lost on the way
	refused // by a queue that is full, or because no node is large enough
	evicted // its memory was promised to a latency-critical proc
	homeless
	outcomes
)

func (o outcome) String() string {
	return [...]string{"alive", "exited", "lost", "refused", "evicted", "homeless"}[o]
}

// run is a proc on the node that has it.
type run struct {
	*proc
	left     time.Duration // CPU time that it still needs
	rate     float64       // cores that it gets now
	computes bool
	cpu      int // in cpu.runs, while it computes
	slot     int // in nodeState.lcRuns
	ended    bool
}
