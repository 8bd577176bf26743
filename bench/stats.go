package bench

import (
	"math"
	"slices"
)

func percentile(sorted []float64, p float64) float64 {
	if len(sorted) == 0 {
		return 0
	}
	return sorted[min(len(sorted)-1, int(p*float64(len(sorted))))]
}

func median(v []float64) float64 {
	s := slices.Clone(v)
	slices.Sort(s)
	return percentile(s, 0.5)
}

// fill sets the percentiles of r from samples, which it sorts.
func (r *Result) fill(samples []float64) {
	slices.Sort(samples)
	r.N = len(samples)
	r.P50, r.P90, r.P99 = percentile(samples, 0.5), percentile(samples, 0.9), percentile(samples, 0.99)
	r.Value = r.P50
}

// rounds makes the median of rounds the value of r, and their least and
// greatest its spread.
func (r *Result) rounds(per []float64) {
	r.Value, r.Spread = median(per), []float64{slices.Min(per), slices.Max(per)}
}

// Paired is the ratio of two things that were measured in pairs, one after the
// other: the median of the pairs' ratios, and an interval that holds the true
// median with the probability Coverage.
//
// The interval is that of the sign test: each pair's ratio is above the true
// median with probability ½, whatever the distribution is, so that the number of
// pairs above it is binomial. From the sorted ratios the k-th least and the k-th
// greatest are taken, with the greatest k for which the coverage is at least
// 95 %. No normal distribution is assumed, and a few rounds that something
// disturbed do not move it.
type Paired struct {
	Pairs    int     `json:"pairs"`
	Ratio    float64 `json:"ratio"`
	Low      float64 `json:"low"`
	High     float64 `json:"high"`
	Coverage float64 `json:"coverage"`
}

const confidence = 0.95

// fewestPairs are those for which the least and the greatest are an interval of
// 95 %: 1 − 2·½⁶ = 0.969.
const fewestPairs = 6

// paired compares a[i] with b[i]; it is nil for fewer pairs than say anything.
func paired(a, b []float64) *Paired {
	n := min(len(a), len(b))
	if n < fewestPairs {
		return nil
	}
	ratios := make([]float64, n)
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	slices.Sort(ratios)
	k, coverage := 1, 1-2*tail(n, 0)
	for c := coverage; k < n/2; k++ { // does k+1 still cover enough?
		if c = 1 - 2*tail(n, k); c < confidence {
			break
		}
		coverage = c
	}
	p := &Paired{Pairs: n, Low: ratios[k-1], High: ratios[n-k], Coverage: coverage}
	if p.Ratio = ratios[n/2]; n%2 == 0 {
		p.Ratio = (ratios[n/2-1] + ratios[n/2]) / 2
	}
	return p
}

// tail is the probability of at most k heads in n tosses.
func tail(n, k int) (p float64) {
	lg, _ := math.Lgamma(float64(n + 1))
	for i := range k + 1 {
		a, _ := math.Lgamma(float64(i + 1))
		b, _ := math.Lgamma(float64(n - i + 1))
		p += math.Exp(lg - a - b - float64(n)*math.Ln2)
	}
	return p
}
