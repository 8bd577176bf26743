// Package node is the table of one machine's capacity: who holds how much of
// its CPU and memory, and whether one more proc fits. It is policy only: no
// clock, no socket, no goroutine, no lock. schedd owns one Table, guards it,
// and asks it before every start.
//
// # The rules
//
// A latency-critical proc reserves mCPU and memory; the sum of reservations
// never exceeds the machine. A best-effort proc takes memory only (idle CPU
// costs nobody anything), and never memory that is reserved: what LC procs
// reserve and BE procs hold together is at most the machine's memory.
//
// An LC proc goes before BE procs. Where BE memory is in its way, AdmitLC says
// so ([Refusal.Evict]), [Table.Evict] names the newest BE procs that have to
// go and marks them as leaving, and then AdmitLC succeeds, so that nothing can
// slip in between: the caller ends those procs, calls Release for each as it
// really ends, and only then starts the LC proc. Until then a leaving proc's
// memory is not offered to other BE procs.
package node

import (
	"cmp"
	"slices"
)

// Table is one node's capacity. It is not safe for concurrent use.
type Table struct {
	mcpu, mem    int64 // the machine
	lcCPU, lcMem int64 // reserved
	beMem        int64 // held by BE procs, leaving ones included
	leaving      int64 // the part of beMem that Evict has marked
	nextSeq      uint64
	procs        map[string]*Proc
	lcProcs      int
}

// Proc is one admitted proc.
type Proc struct {
	ID      string
	LC      bool
	MCPU    int64 // reserved; 0 for BE
	Memory  int64 // bytes, reserved or held
	Leaving bool  // chosen by Evict and not released yet

	seq uint64 // order of admission
}

// New makes the table of a machine that has mcpu (1000 is one core) and memory
// (bytes) to give to procs. Negative figures count as none.
func New(mcpu, memory int64) *Table {
	return &Table{mcpu: max(mcpu, 0), mem: max(memory, 0), procs: make(map[string]*Proc)}
}

// AdmitLC reserves mcpu and memory for id, or gives a *Refusal and changes
// nothing.
func (t *Table) AdmitLC(id string, mcpu, memory int64) error {
	no := func(why reason) error {
		return t.refuse(why, Proc{ID: id, LC: true, MCPU: mcpu, Memory: memory})
	}
	switch {
	case mcpu < 0 || memory < 0:
		return no(absurd)
	case t.procs[id] != nil:
		return no(twice)
	case mcpu > t.mcpu:
		return no(neverCPU)
	case memory > t.mem:
		return no(neverMemory)
	case mcpu > t.mcpu-t.lcCPU:
		return no(nowCPU)
	case memory > t.mem-t.lcMem:
		return no(nowMemory)
	case memory > t.mem-t.lcMem-(t.beMem-t.leaving):
		return no(evictable)
	}
	t.lcCPU += mcpu
	t.lcMem += memory
	t.add(&Proc{ID: id, LC: true, MCPU: mcpu, Memory: memory})
	return nil
}

// AdmitBE gives memory to id, or gives a *Refusal and changes nothing.
func (t *Table) AdmitBE(id string, memory int64) error {
	no := func(why reason) error { return t.refuse(why, Proc{ID: id, Memory: memory}) }
	switch {
	case memory < 0:
		return no(absurd)
	case t.procs[id] != nil:
		return no(twice)
	case memory > t.mem:
		return no(neverMemory)
	case memory > t.Offer():
		return no(nowMemory)
	}
	t.beMem += memory
	t.add(&Proc{ID: id, Memory: memory})
	return nil
}

func (t *Table) add(p *Proc) {
	t.nextSeq++
	p.seq = t.nextSeq
	t.procs[p.ID] = p
	if p.LC {
		t.lcProcs++
	}
}

// Release gives back what id holds and reports whether it held anything; a
// second call changes nothing.
func (t *Table) Release(id string) bool {
	p := t.procs[id]
	if p == nil {
		return false
	}
	delete(t.procs, id)
	if p.LC {
		t.lcProcs--
		t.lcCPU -= p.MCPU
		t.lcMem -= p.Memory
		return true
	}
	t.beMem -= p.Memory
	if p.Leaving {
		t.leaving -= p.Memory
	}
	return true
}

// Evict names the BE procs to end, newest first, so that an LC proc with need
// bytes fits, and marks them as leaving. It takes the newest until there is
// room and spares those that turn out not to be needed. It returns nil, and
// marks nothing, where there is room already or LC reservations alone leave
// too little: nobody is ended in vain.
func (t *Table) Evict(need int64) []string {
	short := need - (t.mem - t.lcMem - (t.beMem - t.leaving))
	if short <= 0 || need > t.mem-t.lcMem {
		return nil
	}
	var chosen []*Proc
	for _, p := range t.newestBE() {
		if short <= 0 {
			break
		}
		if p.Memory > 0 {
			chosen = append(chosen, p)
			short -= p.Memory
		}
	}
	ids := make([]string, 0, len(chosen))
	for _, p := range chosen {
		if short+p.Memory <= 0 { // enough without this one
			short += p.Memory
			continue
		}
		p.Leaving = true
		t.leaving += p.Memory
		ids = append(ids, p.ID)
	}
	return ids
}

// newestBE lists the BE procs that are not leaving. Sorting here, which is
// rare, keeps Admit and Release, which are not, at the cost of a map.
func (t *Table) newestBE() []*Proc {
	var be []*Proc
	for _, p := range t.procs {
		if !p.LC && !p.Leaving {
			be = append(be, p)
		}
	}
	slices.SortFunc(be, func(a, b *Proc) int { return cmp.Compare(b.seq, a.seq) })
	return be
}

// Offer is the memory in bytes that BE procs can be given now.
func (t *Table) Offer() int64 { return max(0, t.mem-t.lcMem-t.beMem) }

// Unreserved is the memory that LC procs leave, whoever holds it.
func (t *Table) Unreserved() int64 { return t.mem - t.lcMem }

// HeldBE is the memory that BE procs hold, leaving ones included.
func (t *Table) HeldBE() int64 { return t.beMem }

// CountBE is how many they are.
func (t *Table) CountBE() int { return len(t.procs) - t.lcProcs }

// MCPU and Memory are the machine's.
func (t *Table) MCPU() int64 { return t.mcpu }

// Memory is in bytes.
func (t *Table) Memory() int64 { return t.mem }

// FreeMCPU is the CPU that no LC proc has reserved.
func (t *Table) FreeMCPU() int64 { return t.mcpu - t.lcCPU }

// Snapshot is the state of a table at one moment.
type Snapshot struct {
	MCPU, Memory     int64  // the machine
	LCMCPU, LCMemory int64  // reserved
	BEMemory         int64  // held, leaving procs included
	Leaving          int64  // bytes of BEMemory that are about to be released
	LC, BE           int    // procs
	Procs            []Proc // in order of admission
}

// Snapshot copies the table.
func (t *Table) Snapshot() Snapshot {
	s := Snapshot{
		MCPU: t.mcpu, Memory: t.mem,
		LCMCPU: t.lcCPU, LCMemory: t.lcMem,
		BEMemory: t.beMem, Leaving: t.leaving,
		LC: t.lcProcs, BE: t.CountBE(),
		Procs: make([]Proc, 0, len(t.procs)),
	}
	for _, p := range t.procs {
		s.Procs = append(s.Procs, *p)
	}
	slices.SortFunc(s.Procs, func(a, b Proc) int { return cmp.Compare(a.seq, b.seq) })
	return s
}
