package test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
)

// A run of the fault schedule: machines of a cluster, each in a network of its
// own, joined by a switch that this process is; clients on all of them that work
// all the time; and faults, one after the other and sometimes two, which a seed
// chooses. What must hold is checked throughout (schedule_work_test.go) and at
// the end: everybody makes progress, nothing is reserved or left, and what the
// clients saw of the names is linearizable.
//
//	make test-faults SEED=7     a round, which -seed replays: it has every kind of fault
//	make test-faults ROUNDS=10  half an hour
var (
	seed        = flag.Uint64("seed", 1, "of the fault schedule")
	faultRounds = flag.Int("fault-rounds", scaled(1, 4), "of the fault schedule")
)

// world is the cluster and what is known of it.
type world struct {
	t    *testing.T
	net  *lab.Switch
	list []*machine
	stop chan struct{}
	over sync.Once // closes stop
	wg   sync.WaitGroup

	mu       sync.Mutex
	rng      *rand.Rand // of the faults
	whims    *rand.Rand // of the clients, whose number of steps no seed decides
	found    []string   // what must not be
	fired    map[string]int
	work     map[string]int // successes, by kind of work and machine
	failures map[string]int
	spawned  int               // procs
	outcomes map[string]int    // what came of them
	away     map[api.Class]int // that were seen on another node than their home
	last     map[string]string // what the last failure of each said
	servers  map[string]string // why the last one of a machine ended
	numbers  map[uint16]string // of nodes, as ids have them
}

// machine is a node in a network and with a disk of its own.
type machine struct {
	*Node
	i    int
	kept sync.Mutex // over starting and ending its sigmad
	busy bool       // under a fault; guarded by world.mu
}

// violated notes what must not be; it ends up in the test's result.
func (w *world) violated(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.found) < 20 {
		w.found = append(w.found, fmt.Sprintf(format, args...))
	}
}

// did counts a success, or a failure that a fault may cause.
func (w *world) did(kind string, m *machine, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	key := fmt.Sprintf("%s on %s", kind, m.name())
	if err == nil {
		w.work[key]++
	} else {
		what := string(api.KindOf(err))
		if what == string(api.Internal) { // a defect, or an error without a kind
			what = err.Error()
		}
		w.failures[kind+": "+what]++
		w.last[key] = err.Error()
	}
}

func (m *machine) name() string { return fmt.Sprintf("n%d", m.i+1) }

// newWorld starts a cluster of count machines, three of which keep its record.
func newWorld(t *testing.T, seed uint64, count int) *world {
	t.Helper()
	return newWorldOn(t, seed, count, func(_ int, s *lab.Space, dir string) error { return s.Disk(dir, 768<<20) })
}

// newWorldOn has disk give each machine one at a directory.
func newWorldOn(t *testing.T, seed uint64, count int, disk func(i int, s *lab.Space, dir string) error) *world {
	t.Helper()
	needRoot(t)
	w := &world{
		t: t, net: lab.NewSwitch(seed), stop: make(chan struct{}), rng: rand.New(rand.NewPCG(seed, 0)), whims: rand.New(rand.NewPCG(seed, 1)),
		fired: make(map[string]int), work: make(map[string]int), failures: make(map[string]int),
		outcomes: make(map[string]int), away: make(map[api.Class]int), numbers: make(map[uint16]string), servers: make(map[string]string), last: make(map[string]string),
	}
	t.Cleanup(w.net.Close)
	t.Cleanup(w.end)
	token := filepath.Join(t.TempDir(), "join")
	addr := func(i int) string { return lab.Member(i).String() + ":9460" }
	for i := range count {
		space, err := lab.New()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.net.Join(space, lab.Member(i)); err != nil {
			space.Close()
			t.Skipf("no network that can be broken: %v", err)
		}
		dir, err := os.MkdirTemp("", "sigma-test")
		if err != nil {
			t.Fatal(err)
		}
		roles := "node,besched,lcsched,named"
		if i >= 3 {
			roles = "node,besched,lcsched"
		}
		name := fmt.Sprintf("n%d", i+1)
		args := []string{"--node", name, "--domain", name, "--listen", addr(i), "--uid-base", fmt.Sprint(1_900_000_000 + i*20_000),
			"--roles", roles, "--memory", "1GiB", "--mcpu", "2000"}
		if i > 0 {
			args = append(args, "--join", addr(0), "--token-file", token)
		}
		m := &machine{Node: newNode(t, dir, args...), i: i}
		m.in = space
		data := filepath.Join(dir, "data")
		if err := os.Mkdir(data, 0o700); err != nil {
			t.Fatal(err)
		}
		w.list = append(w.list, m)
		if err := disk(i, space, data); errors.Is(err, lab.ErrNoLimits) {
			t.Skip(err)
		} else if err != nil {
			t.Fatalf("a disk of its own: %v", err)
		}
		m.Start()
		if i == 0 {
			if _, e, code := m.Ctl("cluster", "token", "--file", token); code != 0 {
				t.Fatalf("cluster token: %s", e)
			}
		}
	}
	for _, m := range w.list {
		m.awaitMembers(count)
		info, err := m.Client("default").Info(minute(t))
		if err != nil {
			t.Fatal(err)
		}
		w.numbers[info.Number] = m.name()
	}
	(&peers{t: t}).voters(w.list[0].Node, 1, 2, 3)
	return w
}

// quit ends the clients; false is when they do not.
func (w *world) quit() bool {
	w.over.Do(func() { close(w.stop) })
	done := make(chan struct{})
	go func() { w.wg.Wait(); close(done) }()
	select {
	case <-done:
		return true
	case <-time.After(2 * waitBound):
		return false
	}
}

// end stops the machines, then looks at what they left.
func (w *world) end() {
	w.quit()
	for _, m := range w.list {
		m.Stop()
	}
	for _, m := range w.list {
		m.in.Do(func() error { m.AssertNothingLeft(); return nil }) // where its disk is
		os.RemoveAll(m.Dir)
		m.in.Close()
	}
}

// between is a random duration of the schedule.
func (w *world) between(low, high time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return low + time.Duration(w.rng.Int64N(int64(high-low)+1))
}

// about is between for what clients do.
func (w *world) about(low, high time.Duration) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return low + time.Duration(w.whims.Int64N(int64(high-low)+1))
}

// sleep waits and reports false when the run has ended meanwhile.
func (w *world) sleep(d time.Duration) bool {
	select {
	case <-w.stop:
		return false
	case <-time.After(d):
		return true
	}
}

// TestFAULTS_Schedule runs every kind of fault at least once, in an order and at
// moments that the seed decides, with work going on.
func TestFAULTS_Schedule(t *testing.T) {
	w := newWorld(t, *seed, 4)
	t.Logf("seed %d", *seed)
	h := w.begin()
	if !w.sleep(scaled(2*time.Second, 10*time.Second)) {
		return
	}
	for range *faultRounds {
		deck := append([]fault(nil), faults...)
		w.mu.Lock()
		w.rng.Shuffle(len(deck), func(i, j int) { deck[i], deck[j] = deck[j], deck[i] })
		w.mu.Unlock()
		for len(deck) > 0 {
			n := 1
			if len(deck) > 1 && w.between(0, 4) == 0 {
				n = 2
			}
			var heal sync.WaitGroup
			for _, f := range deck[:n] {
				m, d := w.pick(f)
				heal.Go(func() { w.inflict(f, m, d) })
			}
			heal.Wait()
			deck = deck[n:]
			w.sleep(w.between(scaled(500*time.Millisecond, 3*time.Second), scaled(1500*time.Millisecond, 12*time.Second)))
		}
	}
	w.net.Heal()
	w.progress(scaled(60*time.Second, 2*time.Minute))
	if !w.quit() {
		t.Fatalf("clients do not end: a wait hangs\n%s", strings.Join(w.found, "\n"))
	}
	w.settled()
	h.check(t)
	w.counts()
	t.Logf("faults %v\nwork %v\nfailures %v\nprocs %d, %v; seen on another node than their home: %d LC, %d BE",
		w.fired, w.work, w.failures, w.spawned, w.outcomes, w.away[api.LC], w.away[api.BE])
	for _, v := range w.found {
		t.Error(v)
	}
}

// progress waits until every client on every machine has done something since
// now, which is after the last fault.
func (w *world) progress(within time.Duration) {
	w.mu.Lock()
	before := make(map[string]int)
	for k, n := range w.work {
		before[k] = n
	}
	w.mu.Unlock()
	defer func() {
		if w.t.Failed() {
			w.picture()
		}
	}()
	eventually(w.t, within, "all go on after the faults", func() (bool, string) {
		var stuck []string
		w.mu.Lock()
		defer w.mu.Unlock()
		for _, kind := range works {
			for _, m := range w.list {
				key := fmt.Sprintf("%s on %s", kind, m.name())
				if w.work[key] < before[key]+3 {
					stuck = append(stuck, fmt.Sprintf("%s (%s)", key, w.last[key]))
				}
			}
		}
		return len(stuck) == 0, fmt.Sprintf("no progress: %v; failures %v; servers ended %v; found %v", stuck, w.failures, w.servers, w.found)
	})
}

// picture says how things stand when a run has failed: the names of servers, and
// where the servers themselves are and what they do.
func (w *world) picture() {
	for i, m := range w.list {
		if i == 0 {
			out, e, _ := m.Ctl("ls", "-l", "/svc")
			w.t.Logf("/svc:\n%s%s", out, e)
		}
		c, err := m.connect("default")
		if err != nil {
			w.t.Logf("%s: %v", m.name(), err)
			continue
		}
		var top api.Top
		err = c.Call(w.soon(), api.MTop, nil, &top)
		c.Close()
		w.t.Logf("%s: %d run, %d wait, %d mCPU reserved, %v", m.name(), top.Running, top.Queued, top.Reserved, err)
		for _, p := range top.Procs {
			if p.Program != "/bin/echo" {
				continue
			}
			m.Ctl("dump", string(p.ID)) // into its log
			said, e, _ := m.Ctl("logs", string(p.ID))
			w.t.Logf("%s: %+v\n%s%s", m.name(), p, said, e)
		}
	}
}

// counts fails a run in which something did not happen that it is about, or not
// every proc came to one end.
func (w *world) counts() {
	for _, f := range faults {
		if w.fired[f.name] == 0 {
			w.t.Errorf("the run does not count: no %q in it", f.name)
		}
	}
	for _, c := range []api.Class{api.BE, api.LC} {
		if w.away[c] == 0 {
			w.t.Errorf("the run does not count: no %v proc ran on another node than its home", c)
		}
	}
	ends := 0
	for _, n := range w.outcomes {
		ends += n
	}
	if ends != w.spawned {
		w.t.Errorf("%d procs were spawned and %d have come to an end: %v", w.spawned, ends, w.outcomes)
	}
}

// settled waits until nothing runs and nothing is reserved any more, and of what
// procs had, no endpoint and no name is left.
func (w *world) settled() {
	names := w.list[0].Client("default").Names()
	eventually(w.t, time.Minute, "the names of servers are gone", func() (bool, string) {
		list, err := names.ReadDir(minute(w.t), "/svc", "", 0)
		return err == nil && len(list) == 0, fmt.Sprintf("%v, %v", list, err)
	})
	for _, m := range w.list {
		eventually(w.t, 20*time.Second, m.name()+" is empty", func() (bool, string) {
			c, err := m.connect("default")
			if err != nil {
				return false, err.Error()
			}
			defer c.Close()
			var top api.Top
			var eps []api.EndpointInfo
			if err = c.Call(minute(w.t), api.MTop, nil, &top); err == nil {
				err = c.Call(minute(w.t), api.MEndpoints, nil, &eps)
			}
			if err == nil {
				err = m.balanced()
			}
			return err == nil && len(eps) == 0 && top.Running == 0 && top.Queued == 0 && top.Reserved == 0 && top.MemLC == 0 && top.MemBE == 0,
				fmt.Sprintf("%+v, endpoints %v, %v", top, eps, err)
		})
	}
}
