package bench

import (
	"math"
	"math/rand/v2"
	"testing"
)

func TestTailIsBinomial(t *testing.T) {
	for _, c := range []struct {
		n, k int
		want float64
	}{
		{1, 0, 0.5}, {2, 0, 0.25}, {2, 1, 0.75}, {5, 2, 0.5}, {6, 0, 1.0 / 64}, {10, 2, 56.0 / 1024}, {31, 31, 1},
	} {
		if got := tail(c.n, c.k); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("tail(%d, %d) = %v, want %v", c.n, c.k, got, c.want)
		}
	}
}

func TestPairedTakesTheRightRanks(t *testing.T) {
	// Pairs with the ratios 1, 2, … n: the bounds are the ranks themselves. The
	// ranks are those of tables of the sign test.
	for _, c := range []struct {
		n                int
		low, high, ratio float64
	}{
		{6, 1, 6, 3.5}, {8, 1, 8, 4.5}, {9, 2, 8, 5}, {12, 3, 10, 6.5}, {20, 6, 15, 10.5}, {31, 10, 22, 16}, {51, 19, 33, 26},
	} {
		a, b := make([]float64, c.n), make([]float64, c.n)
		for i := range a {
			a[i], b[i] = float64(i+1)*3, 3
		}
		rand.Shuffle(c.n, func(i, j int) { a[i], a[j] = a[j], a[i] })
		got := paired(a, b)
		if got == nil || got.Low != c.low || got.High != c.high || got.Ratio != c.ratio || got.Pairs != c.n || got.Coverage < 0.95 || got.Coverage >= 1 {
			t.Errorf("paired(%d) = %+v; want %v … %v around %v, coverage 0.95 or more", c.n, got, c.low, c.high, c.ratio)
		}
	}
}

func TestPairedSaysNothingOfTooFew(t *testing.T) {
	v := []float64{1, 2, 3, 4, 5}
	if got := paired(v, v); got != nil {
		t.Errorf("paired of 5 = %+v, want nil: no interval of 95 %% exists", got)
	}
}

// The interval is checked against what it claims: that about 97 of 100 of them
// hold the true median, for a skewed distribution with outliers.
func TestPairedCoversTheTrueMedian(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	const trials, n = 4000, 31
	held := 0
	for range trials {
		a, b := make([]float64, n), make([]float64, n)
		for i := range a {
			a[i], b[i] = math.Exp(r.NormFloat64()), 1 // median 1
			switch r.IntN(40) {                       // rounds that something disturbed, either way
			case 0:
				a[i] *= 50
			case 1:
				a[i] /= 50
			}
		}
		if p := paired(a, b); p.Low <= 1 && 1 <= p.High {
			held++
		}
	}
	if share := float64(held) / trials; share < 0.95 || share > 0.99 {
		t.Errorf("%.3f of the intervals hold the true median; want about 0.97", share)
	}
}

func TestPercentileAndMedian(t *testing.T) {
	for _, c := range []struct {
		v    []float64
		p    float64
		want float64
	}{{nil, 0.5, 0}, {[]float64{4}, 0.99, 4}, {[]float64{1, 2, 3}, 0.5, 2}, {[]float64{1, 2, 3, 4}, 1, 4}} {
		if got := percentile(c.v, c.p); got != c.want {
			t.Errorf("percentile(%v, %v) = %v, want %v", c.v, c.p, got, c.want)
		}
	}
	v := []float64{3, 1, 2}
	if got := median(v); got != 2 || v[0] != 3 {
		t.Errorf("median(3, 1, 2) = %v and left %v; want 2 and the samples in their order", got, v)
	}
}

func TestRoundsSetValueAndSpread(t *testing.T) {
	var r Result
	r.rounds([]float64{5, 1, 3})
	if r.Value != 3 || r.Spread[0] != 1 || r.Spread[1] != 5 {
		t.Errorf("rounds(5, 1, 3) gives %v, %v; want 3 and 1 … 5", r.Value, r.Spread)
	}
}
