package pull

import "time"

// Config of a Puller; zero values are the defaults.
type Config struct {
	Self     uint16        // the node
	Answer   time.Duration // an ask that is not answered by then counts no more; 20 ms
	MinWait  time.Duration // before a shard that had nothing, and would not send a hint, is asked again; 5 ms
	MaxWait  time.Duration // where it would: from 8 MinWait up to this; 1 s, or more in a large cluster (PerShard)
	PerShard int           // asks a second of idle nodes that a shard is to bear; 2,000
	Sample   time.Duration // how often the CPU is looked at while that could help; 20 ms
	Batch    int           // most procs in one answer; 256
	OwnTurns int           // of so many asks one goes past the own shard; 4
	Seed     uint64        // of the random choices
}

func (c Config) withDefaults() Config {
	def := func(v *time.Duration, d time.Duration) {
		if *v == 0 {
			*v = d
		}
	}
	def(&c.Answer, 20*time.Millisecond)
	def(&c.MinWait, 5*time.Millisecond)
	def(&c.MaxWait, time.Second)
	def(&c.Sample, 20*time.Millisecond)
	if c.PerShard == 0 {
		c.PerShard = 2000
	}
	if c.Batch == 0 {
		c.Batch = 256
	}
	if c.OwnTurns == 0 {
		c.OwnTurns = 4
	}
	return c
}

// Machine is what a node knows of itself at one moment.
type Machine struct {
	MCPU   int64          // not reserved by latency-critical procs
	Memory int64          // bytes that best-effort procs can be given: node.Table.Offer
	Active map[string]int // best-effort procs taken and not ended, by realm
	Procs  int            // all of them

	Idle   int64  // mCPU that were idle, on average over the last sample
	Sample uint64 // number of that sample; 0 is none yet

	Alone bool // no other node runs procs: then memory alone is the limit
}

// cores is how many procs can compute at a time.
func (m Machine) cores() int { return int((m.MCPU + 999) / 1000) }

// part is how many procs a realm needs for its part of the cores.
func part(cores, realms int) int { return (cores + realms - 1) / max(realms, 1) }

// Ask is what a node says to a shard.
type Ask struct {
	ID    uint64 // the node's, for the answer
	Node  uint16
	Shard uint16

	Memory int64          // bytes, for all procs together
	Slots  int            // procs of any realm
	Extra  int            // procs of realms that have less than their share on the node
	Cores  int            // that are shared
	Active map[string]int // Machine.Active, of the same moment
	Max    int            // procs in the answer

	// Decline says that a hint came too late: the node can take nothing now. The
	// other fields are not set, and there is no answer.
	Decline bool
}

// Hint is what a shard says about its queue: with every answer, and by itself to a
// node that could take something.
type Hint struct {
	Queued int   // procs that wait
	Least  int64 // none of them takes less memory; 0 where that is not known
}
