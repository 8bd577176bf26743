package lc

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// TestIndexAgainstASortedList does the same to an index and to a plain list.
func TestIndexAgainstASortedList(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var x index[int]
		var list []entry[int]
		cmp := func(a, b entry[int]) int {
			switch {
			case a.pos.less(b.pos):
				return -1
			case b.pos.less(a.pos):
				return 1
			}
			return 0
		}
		next := 0
		amount := rapid.Int64Range(0, 20)
		rt.Repeat(map[string]func(*rapid.T){
			"insert": func(rt *rapid.T) {
				for range rapid.IntRange(1, 150).Draw(rt, "n") {
					next++
					e := entry[int]{pos{float64(rapid.IntRange(0, 30).Draw(rt, "key")), uint64(next)}, amount.Draw(rt, "a"), amount.Draw(rt, "b"), next}
					x.insert(e)
					list = append(list, e)
				}
				slices.SortFunc(list, cmp)
			},
			"remove": func(rt *rapid.T) {
				for range min(len(list), rapid.IntRange(1, 150).Draw(rt, "n")) {
					i := rapid.IntRange(0, len(list)-1).Draw(rt, "i")
					x.remove(list[i].pos)
					list = slices.Delete(list, i, i+1)
				}
			},
			"search": func(rt *rapid.T) {
				key, a, b := rapid.IntRange(0, 31).Draw(rt, "key"), amount.Draw(rt, "a"), amount.Draw(rt, "b")
				odd := rapid.Bool().Draw(rt, "odd")
				ok := func(ref int) bool { return !odd || ref%2 == 1 }
				want := slices.IndexFunc(list, func(e entry[int]) bool { return e.key >= float64(key) && e.a >= a && e.b >= b && ok(e.ref) })
				got, found := x.search(float64(key), a, b, ok)
				if found != (want >= 0) || found && got != list[want].ref {
					rt.Fatalf("search(%d, %d, %d) = %d %v, want entry %d of the list", key, a, b, got, found, want)
				}
			},
			"": func(rt *rapid.T) {
				var all []entry[int]
				x.each(func(e *entry[int]) bool { all = append(all, *e); return true })
				if !slices.Equal(all, list) || x.n != len(list) {
					rt.Fatalf("%d entries (n %d) differ from the list's %d", len(all), x.n, len(list))
				}
				for i, b := range x.blocks {
					if len(b) == 0 || len(b) >= blockMax || x.sums[i] != summarize(b) {
						rt.Fatalf("block %d of %d entries: summary %+v, want %+v", i, len(b), x.sums[i], summarize(b))
					}
				}
			},
		})
	})
}

func BenchmarkIndex(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			var x index[int]
			key := make([]float64, n)
			r := uint64(1)
			for i := range n {
				r = r*6364136223846793005 + 1442695040888963407
				key[i] = float64(r >> 40)
				x.insert(entry[int]{pos{key[i], uint64(i)}, int64(key[i]), int64(r & 0xffffff), i})
			}
			for b.Loop() {
				r = r*6364136223846793005 + 1442695040888963407
				i := int(r>>33) % n
				x.remove(pos{key[i], uint64(i)})
				key[i] = float64(r >> 40)
				x.insert(entry[int]{pos{key[i], uint64(i)}, int64(key[i]), int64(r & 0xffffff), i})
				x.search(key[i], int64(key[i]), 1<<20, nil)
			}
		})
	}
}
