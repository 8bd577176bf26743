package sim

import "time"

// Scale is a cluster at three quarters of its CPU: short best-effort procs of four
// realms, and latency-critical ones that come and go. What a node is given does not
// depend on how many there are.
func Scale(nodes int, duration time.Duration) Config {
	n := float64(nodes)
	return Config{
		Seed: 1, Nodes: nodes, Duration: duration, Domains: max(3, nodes/40),
		Realms: []Realm{
			{Name: "a", Rate: 8 * n, Work: 50 * time.Millisecond, Random: true, Memory: 64 << 20},
			{Name: "b", Rate: 8 * n, Work: 50 * time.Millisecond, Random: true, Memory: 128 << 20},
			{Name: "c", Rate: 4 * n, Work: 100 * time.Millisecond, Random: true, Memory: 256 << 20},
			{Name: "d", Rate: 40 * n, Work: 10 * time.Millisecond, Random: true, Memory: 32 << 20},
			{Name: "lc", Rate: 4 * n, LC: true, Random: true, MCPU: 500, Memory: 512 << 20, Sleep: time.Second},
		},
	}
}

// Fair is Figure 10 of the paper: four realms, each with more work than the cluster
// takes, and procs of very different lengths, come one after the other and leave in
// the same order.
func Fair(nodes int, step time.Duration) Config {
	c := Config{Seed: 1, Nodes: nodes, Duration: 8 * step}
	backlog := nodes * 4 * 10
	for i, work := range []time.Duration{50 * time.Millisecond, 200 * time.Millisecond, time.Second, 10 * time.Millisecond} {
		c.Realms = append(c.Realms, Realm{
			Name: string(rune('a' + i)), Backlog: backlog, Work: work, Random: i == 3,
			From: time.Duration(i) * step, To: time.Duration(i+5) * step,
		})
	}
	return c
}

// Chaos is a busy cluster whose machines die, lcsched's the most, and whose messages
// are lost and doubled.
func Chaos(seed uint64, nodes int, duration time.Duration) Config {
	c := Scale(nodes, duration)
	c.Seed = seed
	c.Loss, c.Double = 0.002, 0.002
	c.DeathRate = max(0.3, float64(nodes)/200)
	c.KillLC = 5 * time.Second
	c.Realms = append(c.Realms,
		Realm{Name: "spread", Rate: float64(nodes) / 4, LC: true, Spread: true, MCPU: 200, Memory: 64 << 20, Sleep: 500 * time.Millisecond},
		Realm{Name: "burst", Rate: 20 * float64(nodes), Burst: 200, Work: time.Millisecond, Sleep: 20 * time.Millisecond},
		Realm{Name: "near", Rate: 4 * float64(nodes), Burst: 10, Work: 10 * time.Millisecond, Random: true, Near: true})
	return c
}
