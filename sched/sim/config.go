package sim

import (
	"time"

	"sigmaos/api"
)

// Config is one cluster and what happens to it.
type Config struct {
	Seed     uint64
	Nodes    int
	MCPU     int64         // of a node; 4000
	Memory   int64         // of a node in bytes; 16 GiB
	Domains  int           // failure domains; 0 is none
	Shards   int           // of the best-effort queue; as elect has it
	Duration time.Duration // that procs are spawned for; then all of them end
	Realms   []Realm

	Delay     time.Duration // of a message: between this and four times this; 100 µs
	Start     time.Duration // from a slot to the first instruction; 600 µs
	Notice    time.Duration // gossip tells of a death within; 3 s
	Loss      float64       // part of the messages between nodes that is lost
	Double    float64       // part that arrives twice
	DeathRate float64       // machines that die in a second; they come back in 1 to 10 s
	KillLC    time.Duration // the machine with lcsched dies so often; 0 is never
	QueueMax  int           // waiting procs of a realm in a shard; 1 << 20
	NoTies    bool          // procs that come together do not tie, whatever a node has cached
	NoNear    bool          // nobody looks at where a proc had better run
}

// Realm is a tenant's load.
type Realm struct {
	Name     string
	From, To time.Duration // when it spawns; To 0 is the end

	Rate    float64 // procs a second, at random moments
	Backlog int     // or: keep so many not ended
	Burst   int     // procs at each moment; 1

	Work     time.Duration // CPU time of a proc: exactly, or
	Random   bool          // exponentially around it
	Sleep    time.Duration // and then it waits for so long
	Memory   int64         // of a proc; 64 MiB. Random is up to twice this
	LC       bool          // reserve; Sleep is how long it lives, Work is nothing
	MCPU     int64         // of a latency-critical proc
	Spread   bool          // its procs are groups of three in three domains
	Programs int           // that its procs are of, drawn evenly; 0 is one
	Near     bool          // each of its procs had better run on one node, drawn evenly
}

func (c Config) withDefaults() (Config, error) {
	set := func(v *int64, d int64) {
		if *v == 0 {
			*v = d
		}
	}
	set(&c.MCPU, 4000)
	set(&c.Memory, 16<<30)
	set((*int64)(&c.Delay), int64(100*time.Microsecond))
	set((*int64)(&c.Start), int64(600*time.Microsecond))
	set((*int64)(&c.Notice), int64(3*time.Second))
	if c.QueueMax == 0 {
		c.QueueMax = 1 << 20
	}
	bad := func(format string, args ...any) (Config, error) {
		return c, api.E(api.Invalid, "simulate", "", format, args...)
	}
	if c.Nodes < 1 || c.Nodes > 60_000 || c.Duration <= 0 || len(c.Realms) == 0 {
		return bad("needs 1 to 60,000 nodes, a duration and realms; has %d, %v and %d", c.Nodes, c.Duration, len(c.Realms))
	}
	realms := make([]Realm, len(c.Realms))
	for i, r := range c.Realms {
		if r.To == 0 {
			r.To = c.Duration
		}
		r.Burst = max(r.Burst, 1)
		set(&r.Memory, 64<<20)
		if r.LC {
			set(&r.MCPU, 1000)
		}
		if r.Name == "" || (r.Rate <= 0) == (r.Backlog <= 0) || r.Work < 0 || r.Sleep < 0 {
			return bad("realm %q needs a name, and either a rate or a backlog (%v, %d)", r.Name, r.Rate, r.Backlog)
		}
		realms[i] = r
	}
	c.Realms = realms
	return c, nil
}
