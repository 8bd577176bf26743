package lc

import "sigmaos/api"

// Config of a table.
type Config struct {
	Epoch uint64 // of this lcsched, from etcd; at least 1

	// Bypass is how many placements a waiting request lets go by before it may
	// claim a node; 0 is 64.
	Bypass int
	// Waiting bounds the requests of one realm that wait; 0 is 10,000.
	Waiting int
}

// Table is what one lcsched knows. It is not safe for concurrent use.
type Table struct {
	cfg     Config
	newer   uint64 // the epoch that deposed it; 0 is none
	nodes   map[uint16]*machine
	realms  map[string]*realm
	placed  map[string]*reservation
	waiting map[string]*waiting
	groups  map[groupKey]*group
	named   map[groupKey]*namers // who wants to be apart from this proc

	// open has the nodes that take something, in the order of best fit: key is
	// what is free, weighed, so the first with enough of both is the one on
	// which least is left over, whatever was asked for.
	open index[*machine]
	// sizes has every node that was heard, by what it has in all.
	sizes          index[*machine]
	wCPU, wMem     float64 // weights of one mCPU and one byte in keys
	biggestC, bigM int64   // capacities the weights were made for
	queue          index[*waiting]
	spreading      index[*waiting] // those in queue that spread
	unjudged       int             // those in queue that are not judged
	doubted        int             // those in queue that are judged in doubt
	joins          uint64          // nodes that have joined so far
	doubles        int             // reservations whose id another node holds too
	unheard        int             // nodes that have not reported yet
	unheardIn      map[string]int  // the same by domain
	arrivals       uint64          // requests so far
	placements     uint64
	claimed        int
	again          []*machine // have room that was not offered to the queue yet
	retry          []*waiting // something is not in their way any more
	out            []Decision
	refused        uint64 // by schedds
}

// New makes an empty table for one epoch.
func New(cfg Config) *Table {
	if cfg.Bypass == 0 {
		cfg.Bypass = 64
	}
	if cfg.Waiting == 0 {
		cfg.Waiting = 10_000
	}
	return &Table{
		cfg: cfg, nodes: make(map[uint16]*machine), realms: make(map[string]*realm),
		placed: make(map[string]*reservation), waiting: make(map[string]*waiting),
		groups: make(map[groupKey]*group), named: make(map[groupKey]*namers), unheardIn: make(map[string]int),
		wCPU: 1, wMem: 1,
	}
}

// Decision says what becomes of a request that Place has taken.
type Decision struct {
	ID   string
	Node uint16 // where it goes
	// Epoch and Seq go to the node with it (see Fence).
	Epoch, Seq uint64
	Err        error // it goes nowhere, ever; nil for a placement
	Payload    any   // the request's
}

// Decisions returns what was decided since the last call, in order. The slice is
// the table's own and is good until the next call of any method.
func (t *Table) Decisions() []Decision {
	out := t.out
	t.out = t.out[:0]
	if t.newer != 0 {
		return nil
	}
	return out
}

// Deposed is the epoch of the lcsched that has taken over; 0 is none.
func (t *Table) Deposed() uint64 { return t.newer }

// Complete says whether every node has reported, so that nothing that holds
// anywhere is unknown.
func (t *Table) Complete() bool { return len(t.nodes) > 0 && t.unheard == 0 }

// Where is the node that holds, or was sent, id.
func (t *Table) Where(id string) (node uint16, ok bool) {
	if r := t.placed[id]; r != nil {
		return r.node.Number, true
	}
	return 0, false
}

// Queued says whether id waits.
func (t *Table) Queued(id string) bool { return t.waiting[id] != nil }

// realm is one tenant's sums. It is forgotten when it has nothing.
type realm struct {
	name     string
	quota    Quota
	cpu, mem int64 // of requests that wait and of reservations
	procs    int   // the same, counted
	waiting  int
}

// Quota bounds what a realm's latency-critical procs reserve; 0 is no bound.
type Quota struct {
	MCPU   int64
	Memory int64
}

// SetQuota bounds a realm from now on. What it has already, it keeps.
func (t *Table) SetQuota(name string, q Quota) {
	r := t.realm(name)
	r.quota = q
	t.charge(r, 0, 0, 0)
}

func (t *Table) realm(name string) *realm {
	r := t.realms[name]
	if r == nil {
		r = &realm{name: name}
		t.realms[name] = r
	}
	return r
}

// charge adds to a realm's sums.
func (t *Table) charge(r *realm, mcpu, memory int64, procs int) {
	r.cpu += mcpu
	r.mem += memory
	r.procs += procs
	if r.procs == 0 && r.quota == (Quota{}) {
		delete(t.realms, r.name)
	}
}

// overQuota says whether a realm may have r too.
func (t *Table) overQuota(a *realm, r *Request) error {
	switch q := a.quota; {
	case a.waiting >= t.cfg.Waiting:
		return api.E(api.Busy, "place", r.ID, "%d procs of the realm wait for a node, which is the limit; wait for some to start", a.waiting)
	case q.MCPU > 0 && a.cpu+r.MCPU > q.MCPU:
		return api.E(api.Busy, "place", r.ID, "needs %d mCPU; the realm's quota is %d and %d are reserved or waited for; end others or ask for a higher quota of cores", r.MCPU, q.MCPU, a.cpu)
	case q.Memory > 0 && a.mem+r.Memory > q.Memory:
		return api.E(api.Busy, "place", r.ID, "needs %s of memory; the realm's quota is %s and %s is reserved or waited for; end others or ask for a higher quota of memory", size(r.Memory), size(q.Memory), size(a.mem))
	}
	return nil
}
