package place

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/internal/leaktest"
	"sigmaos/net/talk"
	"sigmaos/sched/node"
)

func TestMain(m *testing.M) { leaktest.Main(m) }

// world is a cluster on simulated time, whose engines are real. Messages take time;
// conversations end by chance, as those of net/talk do: at one side first, with a
// part of what was not acknowledged delivered all the same.
type world struct {
	t      *testing.T
	clk    *clock.Fake
	rng    *rand.Rand
	nodes  map[uint16]*machine
	convs  map[[2]uint16]*conv // by lower and higher number
	epoch  uint64
	work   float64 // ns that a proc takes, on average
	starts map[api.ProcID]int
	ends   map[api.ProcID]Result
	lost   map[api.ProcID]time.Duration // when their homes gave them up
	dead   map[api.ProcID]bool          // whose home died
}

// conv is the conversation of two nodes. Each side is in a session; a message is
// taken if the other side is in the same one, or in an earlier one, which it then
// learns is over.
type conv struct {
	in    [2]int
	queue [2][]*flying // by sender: not acknowledged
}

type flying struct {
	m       any
	session int
	arrived bool
}

// machine is a node that runs what it is told to.
type machine struct {
	*Engine
	w        *world
	number   uint16
	boot     uint32
	mcpu     int64
	memory   int64
	domain   string
	draining bool
	down     bool
	says     func(m any) any // what it says instead of m, if it is no honest node
	runs     map[api.ProcID]*simRun
}

type simRun struct {
	o *Order
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{
		t: t, clk: clock.NewFake(time.Unix(1_700_000_000, 0)), rng: rand.New(rand.NewPCG(seed, 1)), work: 3e7, nodes: make(map[uint16]*machine),
		convs: make(map[[2]uint16]*conv), starts: make(map[api.ProcID]int), ends: make(map[api.ProcID]Result), lost: make(map[api.ProcID]time.Duration), dead: make(map[api.ProcID]bool),
	}
	t.Cleanup(func() {
		for _, n := range w.nodes {
			n.Close()
		}
	})
	return w
}

func (w *world) start(number uint16, mcpu, memory int64) *machine {
	boot := uint32(1)
	if old := w.nodes[number]; old != nil {
		boot = old.boot + 1
	}
	n := &machine{w: w, number: number, boot: boot, mcpu: mcpu, memory: memory, runs: make(map[api.ProcID]*simRun)}
	n.Engine = New(Config{
		Self: talk.Peer{Number: number, Boot: boot}, Host: n, Table: node.New(mcpu, memory), Queued: 100_000,
		Send:  func(to uint16, m any) { w.send(n, to, m) },
		Watch: func(to uint16) { w.send(n, to, nil) },
		Claim: func(context.Context) (uint64, error) { w.epoch++; return w.epoch, nil },
		Clock: w.clk, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)), Seed: uint64(number),
	})
	w.nodes[number] = n
	return n
}

// members are the nodes that are alive.
func (w *world) members() (list []Member) {
	for i := range uint16(len(w.nodes)) {
		if n := w.nodes[i+1]; !n.down {
			list = append(list, Member{
				Number: n.number, Boot: n.boot, Name: fmt.Sprintf("n%d", n.number), Domain: n.domain, Draining: n.draining,
				Roles: []string{"node", "besched", "lcsched"},
			})
		}
	}
	return list
}

// gossip tells all nodes who is alive.
func (w *world) gossip() {
	list := w.members()
	for i := range uint16(len(w.nodes)) {
		if n := w.nodes[i+1]; !n.down {
			n.SetMembers(list)
			n.wg.Wait() // an epoch
		}
	}
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	for end := w.clk.Monotonic() + d; w.clk.Monotonic() < end; {
		w.clk.Advance(min(10*time.Millisecond, end-w.clk.Monotonic()))
		for _, n := range w.nodes {
			n.wg.Wait()
		}
	}
}

func (w *world) conv(a, b uint16) (c *conv, side int) {
	k, side := [2]uint16{a, b}, 0
	if a > b {
		k, side = [2]uint16{b, a}, 1
	}
	if w.convs[k] == nil {
		w.convs[k] = new(conv)
	}
	return w.convs[k], side
}

// delay keeps messages of one conversation in order: a constant for each pair.
func delay(a, b uint16) time.Duration { return time.Duration(100+int(a*7+b*3)%50) * time.Microsecond }

func (w *world) send(from *machine, to uint16, m any) {
	c, side := w.conv(from.number, to)
	if m != nil && from.says != nil {
		m = from.says(m)
	}
	if m != nil { // as it is on the wire
		x, err := Decode(Encode(nil, m))
		if err != nil {
			w.t.Fatalf("%T: %v", m, err)
		}
		m = x
	}
	f := &flying{m: m, session: c.in[side]}
	c.queue[side] = append(c.queue[side], f)
	w.clk.AfterFunc(delay(from.number, to), func() { w.arrive(from, w.nodes[to], c, side, f) })
}

func (w *world) arrive(from, to *machine, c *conv, side int, f *flying) {
	if to.down || from.down || f.session != c.in[side] || f.session < c.in[1-side] {
		return
	}
	if f.session > c.in[1-side] {
		w.over(to, from.number, f.session)
	}
	f.arrived = true
	if f.m != nil {
		to.Receive(talk.Peer{Number: from.number, Boot: from.boot}, []any{f.m})
	}
	w.clk.AfterFunc(3*delay(to.number, from.number), func() { // the acknowledgement
		if q := c.queue[side]; len(q) > 0 && q[0] == f {
			c.queue[side] = q[1:]
		}
	})
}

// over moves one side of a conversation to a later session.
func (w *world) over(n *machine, peer uint16, session int) {
	c, side := w.conv(n.number, peer)
	if c.in[side] >= session {
		return
	}
	c.in[side] = session
	var und []any
	for _, f := range c.queue[side] {
		if f.m != nil {
			und = append(und, f.m)
		}
	}
	c.queue[side] = nil
	if !n.down {
		n.Over(talk.Peer{Number: peer}, und)
	}
}

// breakUp ends the conversation of two nodes, at the one first.
func (w *world) breakUp(a, b uint16) {
	c, _ := w.conv(a, b)
	next := max(c.in[0], c.in[1]) + 1
	w.over(w.nodes[a], b, next)
	w.clk.AfterFunc(time.Duration(w.rng.IntN(3000))*time.Microsecond, func() { w.over(w.nodes[b], a, next) })
}

// kill is the death of a machine: the others notice it in time.
func (w *world) kill(number uint16) {
	n := w.nodes[number]
	n.down = true
	n.Close()
	for id := range n.home.live {
		w.dead[id] = true
	}
	for i := range uint16(len(w.nodes)) {
		if o := w.nodes[i+1]; o != n {
			c, _ := w.conv(number, o.number)
			next := max(c.in[0], c.in[1]) + 1
			w.clk.AfterFunc(3*time.Second, func() { w.over(o, number, next) })
		}
	}
	w.clk.AfterFunc(1500*time.Millisecond, w.gossip)
}

// spawn submits a proc at a node.
func (n *machine) spawn(d api.ProcDesc) (api.ProcID, error) {
	id := api.NewProcID("p", n.number, n.boot)
	if err := d.Normalize(); err != nil {
		n.w.t.Fatal(err)
	}
	return id, n.Submit(&Order{ID: id, Realm: "r", Desc: &d, Program: api.Program{Name: "p", Digest: "d"}}, nil)
}

// Start and the others make machine a Host.
func (n *machine) Start(o *Order, evict []api.ProcID) {
	w := n.w
	if w.starts[o.ID]++; w.starts[o.ID] > 1 {
		w.t.Errorf("%s is started %d times", o.ID, w.starts[o.ID])
	}
	for _, id := range evict {
		n.End(id, api.Evicted, "", 0)
	}
	r := &simRun{o: o}
	n.runs[o.ID] = r
	n.check()
	w.clk.AfterFunc(500*time.Microsecond, func() {
		if n.runs[o.ID] == r {
			n.Began(o.ID, api.Stamps{Started: 1})
		}
	})
	w.clk.AfterFunc(time.Millisecond+time.Duration(w.rng.ExpFloat64()*w.work), func() { n.exit(r, api.Exited) })
}

func (n *machine) exit(r *simRun, as api.State) {
	if n.down || n.runs[r.o.ID] != r {
		return
	}
	delete(n.runs, r.o.ID)
	if at, gone := n.w.lost[r.o.ID]; gone && as == api.Exited && n.w.clk.Monotonic()-at > 50*time.Millisecond {
		n.w.t.Errorf("%s runs on %v after its home gave it up", r.o.ID, n.w.clk.Monotonic()-at)
	}
	n.Wrote(r.o.ID, 1, []byte("bye"))
	n.Ended(r.o.ID, Result{Status: api.Status{State: as}}, nil)
}

func (n *machine) End(id api.ProcID, as api.State, _ string, _ time.Duration) {
	if r := n.runs[id]; r != nil {
		n.w.clk.AfterFunc(time.Millisecond, func() { n.exit(r, as) })
	}
}

// check adds up what runs.
func (n *machine) check() {
	var cpu, mem int64
	for _, r := range n.runs {
		cpu += r.o.Desc.MCPU
		mem += r.o.Desc.Memory
	}
	n.mu.Lock()
	s := n.cfg.Table.Snapshot()
	n.mu.Unlock()
	if cpu > n.mcpu || mem > n.memory+s.Leaving || s.LCMCPU > n.mcpu || s.LCMemory+s.BEMemory-s.Leaving > n.memory {
		n.w.t.Errorf("node %d of %d mCPU and %d bytes runs %d and %d; %+v", n.number, n.mcpu, n.memory, cpu, mem, s)
	}
}

func (n *machine) Kept(api.ProcID, int)           {}
func (n *machine) Placed(api.ProcID, uint16)      {}
func (n *machine) Running(api.ProcID, api.Stamps) {}
func (n *machine) Output(api.ProcID, int, []byte) {}
func (n *machine) Finished(id api.ProcID, res Result) {
	if old, twice := n.w.ends[id]; twice {
		n.w.t.Errorf("%s ends as %v, and again as %v", id, old.Status, res.Status)
	}
	n.w.ends[id] = res
	if res.Status.State == api.Lost || res.Status.State == api.Killed {
		n.w.lost[id] = n.w.clk.Monotonic()
	}
}
