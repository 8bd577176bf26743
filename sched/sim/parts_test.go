package sim

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestEventsHappenInOrder(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var e engine
		type stamp struct {
			at time.Duration
			n  int
		}
		var want, got []stamp
		add := func(after time.Duration) {
			s := stamp{max(e.now, e.now+after), len(want)}
			want = append(want, s)
			e.after(after, func() { got = append(got, s) })
		}
		for _, d := range rapid.SliceOfN(rapid.IntRange(-3, 20), 1, 80).Draw(rt, "delays") {
			add(time.Duration(d))
			if d%3 == 0 {
				e.step()
			}
		}
		for e.step() {
		}
		if len(got) != len(want) {
			rt.Fatalf("%d of %d happened", len(got), len(want))
		}
		if !slices.IsSortedFunc(got, func(a, b stamp) int {
			if a.at != b.at {
				return int(a.at - b.at)
			}
			return a.n - b.n
		}) {
			rt.Fatalf("out of order: %v", got)
		}
	})
}

func TestHistAgainstSorting(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	var h hist
	var all []time.Duration
	for range 10_000 {
		d := time.Duration(math.Exp(rng.Float64() * 25))
		h.add(d)
		all = append(all, d)
	}
	slices.Sort(all)
	for _, q := range []float64{0.01, 0.5, 0.9, 0.99, 1} {
		want := all[int(math.Ceil(q*float64(len(all))))-1]
		if got := h.at(q); got < want || float64(got) > float64(want)*17/16+1 {
			t.Errorf("at(%v) = %v, want %v or a sixteenth more", q, got, want)
		}
	}
	if got := new(hist).at(0.5); got != 0 {
		t.Errorf("of nothing: %v", got)
	}
}

func TestCoresAreShared(t *testing.T) {
	for _, s := range []struct {
		name  string
		mcpu  int64
		lc    int64 // reserved; half of it is used
		count []int // procs by realm
		want  []float64
	}{
		{"one proc, one core", 4000, 0, []int{1}, []float64{1}},
		{"two realms, equally", 4000, 0, []int{2, 8}, []float64{1, 0.25}},
		{"one wants less", 4000, 0, []int{1, 8}, []float64{1, 3.0 / 8}},
		{"three", 4000, 0, []int{9, 1, 3}, []float64{1.5 / 9, 1, 0.5}},
		{"beside reservations", 4000, 4000, []int{4}, []float64{0.5}},
		{"idle cores", 4000, 0, []int{1, 0, 2}, []float64{1, 0, 1}},
	} {
		t.Run(s.name, func(t *testing.T) {
			w := &world{cfg: Config{MCPU: s.mcpu, Realms: make([]Realm, len(s.count))}}
			n := &inst{world: w}
			n.cpu = newCPU(0, len(s.count))
			n.lcCPU = s.lc
			for realm, k := range s.count {
				for range k {
					n.compute(&run{proc: &proc{realm: realm}, left: time.Second})
				}
			}
			for _, r := range n.cpu.runs {
				if math.Abs(r.rate-s.want[r.realm]) > 1e-9 {
					t.Errorf("a proc of realm %d gets %v cores, want %v", r.realm, r.rate, s.want[r.realm])
				}
			}
		})
	}
}

func TestConfigsThatMakeNoSense(t *testing.T) {
	good := Config{Nodes: 1, Duration: time.Second, Realms: []Realm{{Name: "a", Rate: 1}}}
	for name, change := range map[string]func(*Config){
		"no nodes":        func(c *Config) { c.Nodes = 0 },
		"too many":        func(c *Config) { c.Nodes = 1 << 16 },
		"no time":         func(c *Config) { c.Duration = 0 },
		"no realm":        func(c *Config) { c.Realms = nil },
		"no load":         func(c *Config) { c.Realms = []Realm{{Name: "a"}} },
		"two loads":       func(c *Config) { c.Realms = []Realm{{Name: "a", Rate: 1, Backlog: 1}} },
		"no name":         func(c *Config) { c.Realms = []Realm{{Rate: 1}} },
		"time runs back":  func(c *Config) { c.Realms = []Realm{{Name: "a", Rate: 1, Work: -1}} },
		"sleeps for less": func(c *Config) { c.Realms = []Realm{{Name: "a", Rate: 1, Sleep: -1}} },
	} {
		c := good
		change(&c)
		if _, err := Run(c); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := Run(good); err != nil {
		t.Errorf("good: %v", err)
	}
}
