package sim

import (
	"os"
	"reflect"
	"strings"
	"testing"
	"time"
)

// long is for what takes minutes.
var long = os.Getenv("SIGMA_LONG") != ""

func logTable(t *testing.T, all []Report) {
	t.Helper()
	var out strings.Builder
	if err := Table(&out, all...); err != nil || strings.Count(out.String(), "\n") != len(all)+1 {
		t.Errorf("table: %v", err)
	}
	t.Log("\n" + out.String())
}

// simulate simulates and checks what must hold always.
func simulate(t *testing.T, c Config) Report {
	t.Helper()
	r, err := Run(c)
	if err != nil {
		t.Fatal(err)
	}
	for _, v := range r.Violations {
		t.Error(v)
	}
	if r.Spawned == 0 || r.Spawned != r.Exited+r.Errored {
		t.Errorf("%d spawned, %d exited, %d errors", r.Spawned, r.Exited, r.Errored)
	}
	return r
}

// calmly is simulate for clusters in which nothing goes wrong: no proc may fail.
func calmly(t *testing.T, c Config) Report {
	t.Helper()
	r := simulate(t, c)
	if r.Errored != 0 || r.Refusals != 0 || r.Orphans != 0 || r.Epochs != 1 || r.BEStarted+r.LCStarted != r.Spawned {
		t.Errorf("nothing went wrong, yet: %d errors, %d refusals, %d orphans, %d epochs, %d of %d started", r.Errored, r.Refusals, r.Orphans, r.Epochs, r.BEStarted+r.LCStarted, r.Spawned)
	}
	return r
}

func TestOneSeedOneHistory(t *testing.T) {
	c := Chaos(7, 8, 3*time.Second)
	a, b := simulate(t, c), simulate(t, c)
	for _, r := range []*Report{&a, &b} { // what depends on the machine
		r.Took, r.PlacementNs, r.ShardNs, r.LCNs, r.NodeNs, r.ReportNs = 0, 0, 0, 0, 0, 0
	}
	if !reflect.DeepEqual(a, b) {
		t.Errorf("two histories:\n%+v\n%+v", a, b)
	}
	c.Seed++
	if d := simulate(t, c); d.Simulated == a.Simulated {
		t.Error("another seed has the same history")
	}
}

func TestPaper43_RealmsGetEqualShares(t *testing.T) {
	sizes := []int{2, 3, 10}
	if long {
		sizes = append(sizes, 100)
	}
	var all []Report
	defer func() { logTable(t, all) }()
	for _, nodes := range sizes {
		r := calmly(t, Fair(nodes, 3*time.Second))
		all = append(all, r)
		if r.Unfairness > 0.05 || r.Settle > 2*time.Second || r.BusyUtilization < 0.95 {
			t.Errorf("%d nodes: unfair by %.3f, settled after %v, %.3f of the CPU used", nodes, r.Unfairness, r.Settle, r.BusyUtilization)
		}
	}
}

// What fits the cluster's idle cores spreads over them: the node next door to the
// queue does not keep it.
func TestWorkSpreadsOverIdleNodes(t *testing.T) {
	for _, nodes := range []int{2, 10, 50} {
		began := settleTime
		r := calmly(t, Config{Seed: 3, Nodes: nodes, Shards: 1, Duration: time.Second, Realms: []Realm{
			{Name: "a", Rate: 1e-6, Burst: 4 * nodes, Work: 900 * time.Millisecond},
		}})
		if d := r.Simulated - began; d > 1100*time.Millisecond {
			t.Errorf("%d nodes: one proc of 900 ms a core took %v", nodes, d)
		}
	}
}

// Procs that wait for something do not wait for a core.
func TestSleepersRunByTheThousand(t *testing.T) {
	r := calmly(t, Config{Seed: 3, Nodes: 4, Duration: time.Second, Realms: []Realm{
		{Name: "a", Rate: 1e-6, Burst: 800, Work: time.Millisecond, Sleep: 10 * time.Second, Memory: 16 << 20},
	}})
	if r.BEWait99 > 2*time.Second {
		t.Errorf("the last of 800 sleepers started after %v", r.BEWait99)
	}
}

func TestFAULTS_F28_ExitBurst(t *testing.T) {
	r := calmly(t, Config{Seed: 1, Nodes: 3, Duration: 20 * time.Second, Realms: []Realm{
		{Name: "jobs", Rate: 1000, Burst: 1000, Sleep: 300 * time.Millisecond, Memory: 8 << 20},
		{Name: "lc", Rate: 300, Burst: 100, LC: true, MCPU: 100, Memory: 8 << 20, Sleep: 300 * time.Millisecond},
	}})
	if r.BEStarted < 10_000 || r.LCStarted < 2000 {
		t.Errorf("only %d and %d procs ran", r.BEStarted, r.LCStarted)
	}
}

// Requests for whole nodes are served among ten times as many small ones.
func TestLargeReservationsAreServedAmongSmallOnes(t *testing.T) {
	r := calmly(t, Config{Seed: 1, Nodes: 16, Duration: 10 * time.Second, Realms: []Realm{
		{Name: "small", Backlog: 400, LC: true, MCPU: 500, Sleep: 200 * time.Millisecond, Random: true},
		{Name: "large", Backlog: 3, LC: true, MCPU: 4000, Sleep: 100 * time.Millisecond},
	}})
	small, large := r.Realms[0], r.Realms[1]
	if large.Started < 20 || large.Wait99 > 5*time.Second || small.Started < 2000 {
		t.Errorf("large %+v, small %+v", large, small)
	}
}

// Best-effort procs leave the memory that is reserved.
func TestPaper43_ReservedMemoryIsNotUsed(t *testing.T) {
	r := simulate(t, Config{Seed: 1, Nodes: 3, Memory: 1 << 30, Duration: 5 * time.Second, Realms: []Realm{
		{Name: "be", Backlog: 200, Sleep: 500 * time.Millisecond, Memory: 64 << 20},
		{Name: "lc", Rate: 20, LC: true, MCPU: 200, Memory: 512 << 20, Sleep: 50 * time.Millisecond},
	}})
	if r.Evicted == 0 || r.Errored != r.Evicted || r.LCStarted != r.Realms[1].Spawned || r.Realms[1].Wait99 > 50*time.Millisecond {
		t.Errorf("%d of %d errors are evictions; LC %+v", r.Evicted, r.Errored, r.Realms[1])
	}
}

func TestTooLargeForAnyNodeIsRefused(t *testing.T) {
	r := simulate(t, Config{Seed: 1, Nodes: 3, Duration: time.Second, Realms: []Realm{{Name: "lc", Rate: 10, LC: true, MCPU: 4001, Sleep: time.Second}}})
	if r.Refused != r.Spawned {
		t.Errorf("%d of %d were refused", r.Refused, r.Spawned)
	}
}

// TestFAULTS_F2_F6_F8_F29 kills nodes, shards and lcscheds under load, and loses and
// doubles messages. simulate checks what is promised.
func TestFAULTS_F2_F6_F8_F29_Chaos(t *testing.T) {
	seeds := uint64(12)
	if long {
		seeds = 300
		logTable(t, []Report{simulate(t, Chaos(1, 100, 20*time.Second)), simulate(t, Chaos(1, 1000, 5*time.Second))})
	}
	var sum Report
	for seed := range seeds {
		r := simulate(t, Chaos(seed, 5+int(seed%7), 6*time.Second))
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
		sum.Deaths += r.Deaths
		sum.Epochs += r.Epochs
		sum.Fenced += r.Fenced
		sum.Dropped += r.Dropped
		sum.Lost += r.Lost
		sum.Homeless += r.Homeless
		sum.SlowestAnswer = max(sum.SlowestAnswer, r.SlowestAnswer)
	}
	// A run counts only if everything that can go wrong did.
	if sum.Deaths == 0 || sum.Epochs <= int(seeds) || sum.Fenced == 0 || sum.Dropped == 0 || sum.Lost == 0 || sum.Homeless == 0 {
		t.Errorf("too calm: %+v", sum)
	}
	t.Logf("%d deaths, %d epochs, %d decisions fenced, %d messages and %d procs lost; the slowest answer after %v",
		sum.Deaths, sum.Epochs, sum.Fenced, sum.Dropped, sum.Lost, sum.SlowestAnswer)
}

// TestScale shows that placing a proc costs the same in a large cluster; with
// SIGMA_LONG=1 the large ones, and the costs are compared.
func TestScale(t *testing.T) {
	sizes, seconds := []int{10, 50}, []time.Duration{5, 2}
	if long {
		sizes, seconds = []int{10, 100, 1000, 10_000}, []time.Duration{300, 30, 5, 2}
	}
	var all []Report
	for i, n := range sizes {
		r := calmly(t, Scale(n, seconds[i]*time.Second))
		if r.BEWait99 > 100*time.Millisecond || r.LCWait99 > 10*time.Millisecond {
			t.Errorf("%d nodes at three quarters: p99 of the wait %v and %v", n, r.BEWait99, r.LCWait99)
		}
		all = append(all, r)
	}
	logTable(t, all)
	if small, large := all[0].PlacementNs, all[len(all)-1].PlacementNs; long && large > 2*small {
		t.Errorf("a placement takes %.0f ns among %d nodes, and %.0f among %d", large, sizes[len(sizes)-1], small, sizes[0])
	}
}

// A node that pulls gets, of procs that came together, those whose programs it has:
// more programs than a cache holds, in bursts that have to wait.
func TestCachedProgramsBreakTies(t *testing.T) {
	c := Config{
		Seed: 1, Nodes: 2, Duration: 10 * time.Second,
		Realms: []Realm{{Name: "a", Rate: 100, Burst: 200, Programs: 100, Work: 60 * time.Millisecond, Random: true}},
	}
	share := func(r Report) float64 { return float64(r.Cold) / float64(r.BEStarted) }
	with := share(calmly(t, c))
	c.NoTies = true
	without := share(calmly(t, c))
	t.Logf("%.0f %% of the starts are cold, %.0f %% without the tie-break", 100*with, 100*without)
	if with > 0.8*without {
		t.Errorf("%.2f of the starts are cold, and %.2f without the tie-break; want a fifth less", with, without)
	}
}

// Procs that name a node run there where it has room, and wait no longer for that than
// others do.
func TestProcsRunNearWhatTheyRead(t *testing.T) {
	for _, shards := range []int{1, 0} {
		c := Config{
			Seed: 1, Nodes: 10, Shards: shards, Duration: 10 * time.Second,
			Realms: []Realm{
				{Name: "near", Rate: 150, Work: 50 * time.Millisecond, Random: true, Near: true},
				{Name: "any", Rate: 150, Work: 50 * time.Millisecond, Random: true},
			},
		}
		near := func(r Report) float64 { return float64(r.Near) / float64(r.Realms[0].Started) }
		with := calmly(t, c)
		c.NoNear = true
		without := calmly(t, c)
		t.Logf("%d shards: %.0f %% ran near, waiting %v and %v (p99), the others %v; %.0f %% without", shards, 100*near(with), with.Realms[0].Wait50, with.Realms[0].Wait99, with.Realms[1].Wait99, 100*near(without))
		if near(with) < 0.8 || near(without) > 0.3 {
			t.Errorf("%d shards: %.2f of the procs ran where they had better, %.2f without looking at it", shards, near(with), near(without))
		}
		for i, r := range with.Realms {
			if r.Wait99 > without.Realms[i].Wait99+2*time.Millisecond {
				t.Errorf("%d shards: %s waits %v at p99, %v where nobody looks at nodes", shards, r.Name, r.Wait99, without.Realms[i].Wait99)
			}
		}
	}
}

// The shares of realms are the same whatever the procs of one of them name.
func TestSharesDoNotDependOnNear(t *testing.T) {
	for _, nodes := range []int{2, 10} {
		c := Fair(nodes, 3*time.Second)
		c.Realms[0].Near, c.Realms[3].Near = true, true
		if r := calmly(t, c); r.Unfairness > 0.05 || r.Settle > 2*time.Second || r.BusyUtilization < 0.95 {
			t.Errorf("%d nodes: unfair by %.3f, settled after %v, %.3f of the CPU used", nodes, r.Unfairness, r.Settle, r.BusyUtilization)
		}
	}
}
