package pull

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const ms = time.Millisecond

// rig is a puller whose asks are noted.
type rig struct {
	*Puller
	t   testing.TB
	now time.Duration
	m   Machine
}

func newRig(t testing.TB, cfg Config, shards ...uint16) *rig {
	r := &rig{Puller: New(cfg), t: t, m: Machine{MCPU: 2000, Memory: 100}}
	r.SetShards(shards, len(shards))
	return r
}

// tick moves the time on and returns the asks as "shard:slots+extra/memory" or
// "shard:no".
func (r *rig) tick(d time.Duration) string {
	r.t.Helper()
	r.now += d
	var out []string
	for _, a := range r.Tick(r.now, r.m, nil) {
		if a.Decline {
			out = append(out, fmt.Sprint(a.Shard, ":no"))
		} else {
			out = append(out, fmt.Sprintf("%d:%d+%d/%d", a.Shard, a.Slots, a.Extra, a.Memory))
		}
	}
	return strings.Join(out, " ")
}

func (r *rig) want(what string, d time.Duration, want string) {
	r.t.Helper()
	if got := r.tick(d); got != want {
		r.t.Errorf("%s: asks %q, want %q", what, got, want)
	}
}

// answer answers the latest ask to a shard.
func (r *rig) answer(shard uint16, got int, h Hint) {
	r.t.Helper()
	for _, a := range r.asks {
		if a.shard.number == shard {
			r.Answered(r.now, shard, a.id, got, h)
			return
		}
	}
	r.t.Fatalf("shard %d was not asked", shard)
}

func TestPaper43_OwnShardFirstThenOthers(t *testing.T) {
	r := newRig(t, Config{Self: 2}, 1, 2)
	// Work is only hoped for, so the asks do not wait for each other.
	r.want("at first", 0, "2:2+12/100 1:2+12/100")
	r.answer(2, 0, Hint{})
	r.answer(1, 0, Hint{})
	r.want("both had nothing", 0, "")
	for i, wait := 0, told*r.cfg.MinWait; i < 12; i, wait = i+1, min(2*wait, time.Second) {
		d := r.Next() - r.now
		if d < wait*3/4 || d > wait*5/4 {
			t.Fatalf("back-off %d is %v, want about %v", i, d, wait)
		}
		asked := r.tick(2 * wait)
		if !strings.Contains(asked, "2:") || !strings.Contains(asked, "1:") {
			t.Fatalf("after %v: asks %q", wait, asked)
		}
		r.answer(1, 0, Hint{})
		r.answer(2, 0, Hint{})
		r.tick(0)
	}
}

func TestAHintIsAnsweredAtOnce(t *testing.T) {
	r := newRig(t, Config{Self: 9}, 1, 2)
	r.tick(0)
	r.answer(1, 0, Hint{})
	r.answer(2, 0, Hint{})
	r.want("nothing anywhere", ms, "")
	r.Told(1, Hint{Queued: 3})
	r.want("1 has something", ms, "1:2+12/100")
	r.answer(1, 2, Hint{Queued: 1})
	r.m.Procs, r.m.Active = 2, map[string]int{"a": 2}
	r.Told(2, Hint{Queued: 3})
	r.m.Memory = 0
	r.want("full: no", ms, "2:no")
	r.want("said once", 0, "")
	r.m.Memory = 50
	r.want("the machine is busy: only for other realms", ms, "2:0+10/50")
}

func TestNoMoreThanTheMachineHas(t *testing.T) {
	r := newRig(t, Config{Self: 1}, 1)
	r.tick(0)
	r.answer(1, 2, Hint{Queued: 50})
	sample := func(procs int, idle int64) int {
		r.m.Sample++
		r.m.Procs, r.m.Idle = procs, idle
		r.m.Active = map[string]int{"a": procs}
		r.window.look(r.m, 2, 0)
		return r.window.slots(r.m, 2, 0, 1000)
	}
	for i, s := range []struct {
		procs int
		idle  int64
		want  int
	}{
		{2, 2000, 0}, // they had just started
		{2, 1900, 1}, // they do use little
		{3, 1900, 0},
		{3, 1900, 1},
		{4, 1900, 0},
		{4, 1900, 2},
		{6, 1900, 0},
		{6, 1900, 4},
		{7, 1900, 3}, // not full: no more, whatever is idle
		{7, 1900, 3},
		{7, 100, 0}, // now they work
		{4, 100, 0},
		{2, 100, 0},
		{1, 900, 1},
		{0, 2000, 2},
	} {
		if got := sample(s.procs, s.idle); got != s.want {
			t.Errorf("sample %d, %d procs, %d idle: %d slots, want %d", i, s.procs, s.idle, got, s.want)
		}
	}
}

// A thousand procs that sleep fill a machine of two cores within two seconds.
func TestSleepersDoNotWaitForCores(t *testing.T) {
	r := newRig(t, Config{Self: 1}, 1)
	r.m.Memory, r.m.Idle = 1<<40, 2000
	for r.now < 2*time.Second {
		r.m.Sample++
		for _, a := range r.Tick(r.now, r.m, nil) {
			r.Answered(r.now, 1, a.ID, a.Slots, Hint{Queued: 1 << 20})
			r.m.Procs += a.Slots
			r.m.Active = map[string]int{"a": r.m.Procs}
		}
		if r.m.Procs >= 1000 {
			return
		}
		if d := r.Next() - r.now; d > 20*ms {
			t.Fatalf("at %v, with %d procs, the next look at the CPU is in %v", r.now, r.m.Procs, d)
		}
		r.now += 20 * ms
	}
	t.Errorf("%d procs run after %v", r.m.Procs, r.now)
}

func TestCreditsAreOfferedOnce(t *testing.T) {
	r := newRig(t, Config{Self: 9}, 1, 2)
	r.Told(1, Hint{Queued: 5})
	r.Told(2, Hint{Queued: 5})
	first := r.tick(0)
	if len(strings.Fields(first)) != 2 || !strings.Contains(first, ":2+12/100") || !strings.Contains(first, ":no") {
		t.Fatalf("asks %q, want one with everything and a no", first)
	}
	r.want("all is promised", ms, "")
	silent := r.asks[0].shard.number
	r.want("no answer within the bound: elsewhere", 20*ms, fmt.Sprintf("%d:2+12/100", 3-silent))
	// The late answer is taken; what it says of the queue counts.
	r.Answered(r.now, silent, 1, 1, Hint{Queued: 4})
	r.m.Procs, r.m.Memory = 1, 90
	r.answer(3-silent, 0, Hint{})
	r.want("it answers again", ms, fmt.Sprintf("%d:1+12/90", silent))
}

func TestFAULTS_F7_AHungShardCostsLittle(t *testing.T) {
	r := newRig(t, Config{Self: 9}, 1, 2)
	asked := map[uint16]int{}
	for r.now < 10*time.Second {
		for _, a := range r.Tick(r.now, r.m, nil) {
			asked[a.Shard]++
			if a.Shard == 2 { // 1 hangs
				r.Answered(r.now, 2, a.ID, 1, Hint{Queued: 9})
			}
		}
		r.now += ms
	}
	if asked[1] > 20 || asked[2] < 9000 {
		t.Errorf("in 10 s the hung shard was asked %d times, the other %d", asked[1], asked[2])
	}
}

func TestNoShardIsLeftToItself(t *testing.T) {
	for _, s := range []struct {
		name       string
		own, other int // queued
		least      int // of 100 asks at the other
		most       int
	}{
		{"own first", 10, 10, 20, 30},
		{"a longer queue", 10, 30, 100, 100},
		{"a little longer", 10, 20, 20, 30},
	} {
		t.Run(s.name, func(t *testing.T) {
			r := newRig(t, Config{Self: 1}, 1, 2)
			queued := map[uint16]int{1: s.own, 2: s.other}
			for n, q := range queued {
				r.Told(n, Hint{Queued: q})
			}
			n := 0
			for range 100 {
				for _, a := range r.Tick(r.now, r.m, nil) {
					if a.Decline {
						continue
					}
					if a.Shard == 2 {
						n++
					}
					r.Answered(r.now, a.Shard, a.ID, 1, Hint{Queued: queued[a.Shard]})
				}
			}
			if n < s.least || n > s.most {
				t.Errorf("%d of 100 asks went to the other shard, want %d to %d", n, s.least, s.most)
			}
		})
	}
}

func TestMemoryDecidesWhetherToAsk(t *testing.T) {
	r := newRig(t, Config{Self: 9}, 1)
	r.tick(0)
	r.answer(1, 0, Hint{Queued: 2, Least: 150})
	r.want("too little", time.Minute, "")
	if r.Next() != never {
		t.Errorf("a tick in %v, for nothing", r.Next()-r.now)
	}
	r.m.Memory = 150
	r.want("enough", ms, "1:2+12/150")
	r.answer(1, 0, Hint{})
	r.want("nothing", 0, "")
	r.m.Memory = 302
	r.want("twice the memory that the shard knows of", 6*ms, "1:2+12/302")
}

func TestAloneTheMemoryIsTheLimit(t *testing.T) {
	r := newRig(t, Config{Self: 1}, 1)
	r.m.Alone, r.m.Procs = true, 500
	r.want("alone", 0, "1:256+0/100")
}

func TestShardsComeAndGo(t *testing.T) {
	r := newRig(t, Config{Self: 2}, 2)
	r.want("one", 0, "2:2+12/100")
	r.answer(2, 0, Hint{})
	r.SetShards([]uint16{3, 2}, 2)
	r.want("a new one", 0, "3:2+12/100")
	r.SetShards([]uint16{2}, 2)
	if r.Asks() != 0 {
		t.Error("an ask to a shard that is gone still counts")
	}
	r.Answered(r.now, 3, 2, 1, Hint{})
	r.Told(3, Hint{})
	r.Reset(2)
	r.want("a new link", ms, "2:2+12/100")
	r.SetShards([]uint16{2}, 10_000)
	if r.maxWait != 5*time.Second {
		t.Errorf("10,000 nodes ask a shard every %v", r.maxWait)
	}
}

// TestPullerNeverPromisesTwiceAndNeverSleepsForEver runs random events.
func TestPullerNeverPromisesTwiceAndNeverSleepsForEver(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		p := New(Config{Self: 1, Seed: uint64(rapid.IntRange(0, 100).Draw(rt, "seed"))})
		p.SetShards([]uint16{1, 2, 3}, 3)
		m := Machine{MCPU: 4000, Memory: 100, Active: map[string]int{}}
		now := time.Duration(0)
		pending := map[uint64]Ask{}
		tick := func() {
			for _, a := range p.Tick(now, m, nil) {
				if a.Decline {
					continue
				}
				if a.Slots+a.Extra == 0 || a.Memory <= 0 || a.Memory > m.Memory || a.Slots > a.Max {
					rt.Fatalf("%+v asks %+v", m, a)
				}
				pending[a.ID] = a
				// What was only hoped for may have come meanwhile, and then more is
				// promised than there is; but not by a new ask.
				if _, memory := p.promised(); memory > m.Memory {
					rt.Fatalf("promised %d bytes of %+v", memory, m)
				}
			}
			seen := map[*shard]bool{}
			for _, a := range p.asks {
				if seen[a.shard] {
					rt.Fatal("a shard is asked twice at a time")
				}
				seen[a.shard] = true
			}
			if p.Next() <= now {
				rt.Fatalf("next tick is now: %v", p.Next())
			}
			if m.Memory > 0 && m.Procs < 4 && p.Next() > now+p.maxWait*5/4 {
				for _, s := range p.shards {
					if !s.has || s.least <= m.Memory {
						rt.Fatalf("with slots, nothing for %v", p.Next()-now)
					}
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"time": func(rt *rapid.T) { now += time.Duration(rapid.IntRange(0, 2000).Draw(rt, "ms")) * ms; tick() },
			"next": func(rt *rapid.T) {
				if p.Next() != never {
					now = p.Next()
				}
				tick()
			},
			"answer": func(rt *rapid.T) {
				for _, id := range slices.Sorted(maps.Keys(pending)) {
					a := pending[id]
					delete(pending, id)
					got := rapid.IntRange(0, min(a.Slots+a.Extra, int(m.Memory))).Draw(rt, "got")
					h := Hint{Queued: rapid.IntRange(0, 3).Draw(rt, "queued"), Least: rapid.Int64Range(0, 120).Draw(rt, "least")}
					p.Answered(now, a.Shard, id, got, h)
					m.Procs += got
					m.Memory -= int64(got)
					m.Active["a"] += got
					break
				}
				tick()
			},
			"lost": func(rt *rapid.T) { clear(pending) },
			"told": func(rt *rapid.T) {
				p.Told(uint16(rapid.IntRange(1, 4).Draw(rt, "shard")), Hint{Queued: 1, Least: rapid.Int64Range(0, 120).Draw(rt, "least")})
				tick()
			},
			"end": func(rt *rapid.T) {
				if m.Procs > 0 {
					m.Procs--
					m.Memory++
					m.Active["a"]--
				}
				tick()
			},
			"sample": func(rt *rapid.T) { m.Sample++; m.Idle = rapid.Int64Range(0, 4000).Draw(rt, "idle"); tick() },
		})
	})
}

func BenchmarkTick(b *testing.B) {
	p := New(Config{Self: 1})
	p.SetShards([]uint16{1, 2, 3, 4, 5, 6, 7, 8}, 8)
	m := Machine{MCPU: 4000, Memory: 1 << 30, Active: map[string]int{"a": 3}, Procs: 3}
	var out []Ask
	for now := time.Duration(0); b.Loop(); now += ms {
		out = p.Tick(now, m, out[:0])
		for _, a := range out {
			p.Answered(now, a.Shard, a.ID, 1, Hint{Queued: 5})
		}
	}
}
