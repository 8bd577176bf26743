package pull

// window is how many procs above the number of cores a machine may have, because
// it was idle with less.
type window struct {
	above  int
	full   bool // at the last sample, all that was allowed was there or asked for
	sample uint64
}

// idleEnough is the part of a core, in mCPU, that must be idle for more procs.
const idleEnough = 500

// maxAbove keeps the doubling from overflowing; memory ends it long before.
const maxAbove = 1 << 20

// look takes a new sample of m, which has asked for taken procs more. Only a
// machine that was full when the sample began is known to be idle with what it has.
func (w *window) look(m Machine, cores, taken int) {
	if m.Sample == w.sample {
		return
	}
	w.sample = m.Sample
	was := w.full
	w.full = m.Procs+taken >= cores+w.above
	switch {
	case m.Idle < idleEnough:
		w.above = min(w.above, max(0, m.Procs-cores)) / 2
	case was && w.full:
		w.above = min(max(2*w.above, int(m.Idle/1000), 1), maxAbove)
		w.full = false
	}
}

// slots is how many procs m may take; taken are promised already.
func (w *window) slots(m Machine, cores, taken, most int) int {
	if m.Alone {
		return most
	}
	return min(max(0, cores+w.above-m.Procs-taken), most)
}

// extra is how many procs m may take beyond that, for realms that have less than
// their share. What one realm has in excess does not count against the others.
func extra(m Machine, cores, taken, most int) int {
	if m.Alone || cores == 0 {
		return 0
	}
	n := taken
	for _, procs := range m.Active {
		n += min(procs, cores)
	}
	return min(max(0, 2*cores+8-n), most)
}
