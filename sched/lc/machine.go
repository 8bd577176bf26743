package lc

import "strconv"

// Node is a machine as gossip knows it. Domain belongs to a boot; what gossip
// says of it later is not looked at.
type Node struct {
	Number   uint16
	Boot     uint32
	Name     string
	Domain   string // failure domain; "" is one of its own
	Draining bool   // it takes nothing new
}

// machine is a node and what is known of it.
type machine struct {
	Node
	place    string // its domain, never ""
	joined   uint64 // which of all that joined it was
	cpu, mem int64  // capacity
	usedC    int64
	usedM    int64
	held     []*reservation

	heard   bool // it has reported
	silent  bool // its link is down
	stale   bool // it refused, and has not reported enough since
	strikes int  // refusals in a row
	skip    int  // reports to wait for while stale
	n       uint64
	sent    uint64 // sequence number of the last decision
	mark    uint64 // of the last report

	claim   *waiting
	indexed bool // in Table.open, at key, with these amounts
	key     float64
	idxC    int64
	idxM    int64
	queued  bool // in Table.again
}

func (m *machine) freeCPU() int64 { return max(0, m.cpu-m.usedC) }
func (m *machine) freeMem() int64 { return max(0, m.mem-m.usedM) }

// takes says whether the node can be given anything at all.
func (m *machine) takes() bool { return m.heard && !m.silent && !m.stale && !m.Draining }

// Join tells of a node that is alive. Its figures come with its report, and until
// then it counts as full. Called again for the same boot it changes Name and
// Draining; another boot means that all that was on the earlier one is gone.
func (t *Table) Join(n Node) {
	m := t.nodes[n.Number]
	if m != nil && m.Boot != n.Boot {
		t.Lost(n.Number)
		m = nil
	}
	if m != nil {
		m.Name, m.Draining = n.Name, n.Draining
		t.offerAgain(m)
		t.run()
		return
	}
	t.joins++
	m = &machine{Node: n, place: n.Domain, joined: t.joins}
	if m.place == "" {
		m.place = "\x00" + strconv.Itoa(int(n.Number))
	}
	t.nodes[n.Number] = m
	t.unheard++
	t.unheardIn[m.place]++
}

// Lost forgets a node that is dead, or counts as dead, and everything on it, and
// returns the ids. They are not placed again: some may have run.
func (t *Table) Lost(number uint16) (ids []string) {
	m := t.nodes[number]
	if m == nil {
		return nil
	}
	delete(t.nodes, number)
	t.unclaim(m)
	t.unindex(m)
	if m.heard {
		t.sizes.remove(t.sizePos(m))
	} else {
		t.doubt(m)
		t.nowHeard(m)
	}
	m.heard = false
	for len(m.held) > 0 {
		r := m.held[len(m.held)-1]
		ids = append(ids, r.id)
		t.end(r)
	}
	t.judge()
	t.run()
	return ids
}

// Silent tells that the link to a node is down. What it holds stays reserved, and
// it takes nothing until its next report.
func (t *Table) Silent(number uint16) {
	if m := t.nodes[number]; m != nil {
		m.silent = true
		t.offerAgain(m)
		t.run()
	}
}

// Hello is what to say to a node on a new link, or to have a report.
func (t *Table) Hello(number uint16) (h Hello, ok bool) {
	m := t.nodes[number]
	if m == nil {
		return h, false
	}
	return Hello{Epoch: t.cfg.Epoch, Seq: m.sent}, true
}

// nowHeard counts m no more among those that have not reported. The last one of a
// domain opens it to requests that spread.
func (t *Table) nowHeard(m *machine) {
	t.unheard--
	if t.unheardIn[m.place]--; t.unheardIn[m.place] > 0 {
		return
	}
	delete(t.unheardIn, m.place)
	t.retrySpread()
}

// weigh is the key of two amounts. It grows with both.
func (t *Table) weigh(mcpu, memory int64) float64 {
	return float64(mcpu)*t.wCPU + float64(memory)*t.wMem
}

func (t *Table) sizePos(m *machine) pos {
	return pos{t.weigh(m.cpu, m.mem), uint64(m.Number)}
}

// resize sets a node's capacity. Where it is the largest so far, the weights
// change, and with them the order of all.
func (t *Table) resize(m *machine, mcpu, memory int64) {
	if m.cpu == mcpu && m.mem == memory && m.heard {
		return
	}
	t.unindex(m)
	if m.heard {
		t.sizes.remove(t.sizePos(m))
	}
	m.cpu, m.mem = mcpu, memory
	if mcpu > t.biggestC || memory > t.bigM {
		t.biggestC, t.bigM = max(t.biggestC, mcpu), max(t.bigM, memory)
		t.reweigh(m)
	}
	t.sizes.insert(entry[*machine]{t.sizePos(m), m.cpu, m.mem, m})
}

// reweigh makes the largest capacities weigh 1 and orders all nodes but m anew.
func (t *Table) reweigh(but *machine) {
	t.wCPU, t.wMem = 1/float64(max(1, t.biggestC)), 1/float64(max(1, t.bigM))
	t.open, t.sizes = index[*machine]{}, index[*machine]{}
	for _, m := range t.nodes {
		was := m.indexed
		m.indexed = false
		if m == but || !m.heard {
			continue
		}
		t.sizes.insert(entry[*machine]{t.sizePos(m), m.cpu, m.mem, m})
		if was {
			t.reindex(m)
		}
	}
}

// reindex puts m where its free capacity belongs among the open nodes, if it is one.
func (t *Table) reindex(m *machine) {
	c, b := m.freeCPU(), m.freeMem()
	in := m.takes() && m.claim == nil
	if in && m.indexed && m.idxC == c && m.idxM == b {
		return
	}
	t.unindex(m)
	if !in {
		return
	}
	m.key, m.idxC, m.idxM, m.indexed = t.weigh(c, b), c, b, true
	t.open.insert(entry[*machine]{pos{m.key, uint64(m.Number)}, c, b, m})
}

func (t *Table) unindex(m *machine) {
	if m.indexed {
		t.open.remove(pos{m.key, uint64(m.Number)})
		m.indexed = false
	}
}
