package mr

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// A table's order is that of a plain stable sort, whatever the keys are.
func TestSortIsThatOfComparing(t *testing.T) {
	rng := rand.New(rand.NewPCG(1, 2))
	of := func(alphabet string, most int) func() []byte {
		return func() []byte {
			b := make([]byte, rng.IntN(most+1))
			for i := range b {
				b[i] = alphabet[rng.IntN(len(alphabet))]
			}
			return b
		}
	}
	long := bytes.Repeat([]byte("the same again "), 40)
	for name, key := range map[string]func() []byte{
		"one key":           func() []byte { return []byte("word") },
		"a long one":        func() []byte { return long },
		"words":             of("etaoin", 4),
		"longer words":      of("et", 20),
		"zeros":             of("\x00", 20),
		"zeros and ones":    of("\x00\x01", 12),
		"any bytes":         of("\x00\x01a\x7f\x80\xff", 10),
		"equal beginnings":  func() []byte { return append(slices.Clone(long[:rng.IntN(len(long))]), of("ab\x00", 9)()...) },
		"around eight":      func() []byte { return append([]byte("eightch"), of("\x00a", 3)()...) },
		"around two eights": func() []byte { return append([]byte("sixteencharacte"), of("\x00a", 3)()...) },
	} {
		for _, bins := range []int{1, 3} {
			for _, n := range []int{0, 1, few, few + 1, 5000} {
				tab := newTable(bins, 64<<20, nil)
				for i := range n {
					if err := tab.add(key(), fmt.Append(nil, i)); err != nil {
						t.Fatal(err)
					}
				}
				want := make([]uint32, n)
				for i := range want {
					want[i] = uint32(i)
				}
				slices.SortStableFunc(want, func(a, b uint32) int {
					p, q := &tab.pairs[a], &tab.pairs[b]
					return cmp.Or(cmp.Compare(p.bin, q.bin), bytes.Compare(tab.key(p), tab.key(q)))
				})
				for i, it := range tab.sort() {
					if it.at != want[i] {
						t.Errorf("%s, %d keys in %d bins: the pair at %d is %q, want %q", name, n, bins, i, tab.key(&tab.pairs[it.at]), tab.key(&tab.pairs[want[i]]))
						break
					}
				}
				tab.close()
			}
		}
	}
}

// Words of a text, as word count has them without its combiner.
func BenchmarkSort(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	words := rand.NewZipf(rng, 1.1, 4, 50_000)
	tab := newTable(4, 64<<20, nil)
	defer tab.close()
	for range 400_000 {
		w := words.Uint64()
		tab.add(fmt.Appendf(nil, "%.*s%d", w%5, "theses", w), []byte("12345678"))
	}
	for b.Loop() {
		tab.sort()
	}
}
