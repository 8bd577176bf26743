package bench

// The measures of a connection, with their units.
var measures = []struct {
	name, unit string
	samples    func(measured) []float64 // of one round
	greater    bool                     // is better
}{
	{"dial", "ms", func(m measured) []float64 { return ms(m.Dial) }, false},
	{"first-answer", "ms", func(m measured) []float64 { return ms(m.Answer) }, false},
	{"rtt", "ms", func(m measured) []float64 { return ms(m.RTT) }, false},
	{"throughput", "MB/s", func(m measured) []float64 {
		if m.Bytes == 0 {
			return nil
		}
		return []float64{m.throughput()}
	}, true},
}

// rows makes one row of each measure that the series have: s against each of
// others, or alone. The others' own rows are not in it.
func rows(bench string, s *series, others ...*series) (out []Result) {
	for _, me := range measures {
		per, all := s.values(me.samples)
		if len(all) == 0 {
			continue
		}
		r := Result{Bench: bench, Row: s.name, Measure: me.name, Unit: me.unit, CPUs: s.at.cpus()}
		r.fill(all)
		r.rounds(per)
		if me.name == "throughput" {
			r.P90, r.P99 = 0, 0 // of rounds they say nothing
		}
		if len(others) == 0 {
			out = append(out, r)
		}
		for _, o := range others {
			x := r
			theirs, _ := o.values(me.samples)
			if len(theirs) == 0 {
				continue
			}
			x.Against, x.AgainstValue = o.name, median(theirs)
			x.Ratio = x.Value / x.AgainstValue
			x.Paired = paired(per, theirs)
			out = append(out, x)
		}
	}
	return out
}

// values are the median of each round, and every sample.
func (s *series) values(samples func(measured) []float64) (per, all []float64) {
	for _, m := range s.rounds {
		v := samples(m)
		if len(v) == 0 {
			return nil, nil
		}
		per, all = append(per, median(v)), append(all, v...)
	}
	return per, all
}

// moved is how many bytes the counted messages and writes carried.
func (s *series) moved() (n int64) {
	for _, m := range s.rounds {
		n += m.Bytes + int64(len(m.RTT))*2*64
	}
	return n
}

// find is the first row of a name, measure and number of CPUs.
func find(rows []Result, name, measure string, cpus int) (Result, bool) {
	for _, r := range rows {
		if r.Row == name && r.Measure == measure && r.CPUs == cpus {
			return r, true
		}
	}
	return Result{}, false
}
