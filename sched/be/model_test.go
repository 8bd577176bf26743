package be

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is the queue as one would write it first.
type naive struct {
	limit int
	turn  []string // realms in order of service
	items []Item
}

func (n *naive) of(realm string) (out []Item) {
	for _, it := range n.items {
		if it.Realm == realm {
			out = append(out, it)
		}
	}
	return out
}

func (n *naive) push(it Item) bool {
	for _, o := range n.items {
		if o.ID == it.ID {
			return false
		}
	}
	if len(n.of(it.Realm)) >= n.limit {
		return false
	}
	if len(n.of(it.Realm)) == 0 {
		n.turn = append(n.turn, it.Realm)
	}
	n.items = append(n.items, it)
	return true
}

func (n *naive) pushFront(it Item) bool {
	if slices.ContainsFunc(n.items, func(o Item) bool { return o.ID == it.ID }) {
		return false
	}
	if len(n.of(it.Realm)) == 0 {
		n.turn = append(n.turn, it.Realm)
	}
	n.items = slices.Insert(n.items, 0, it)
	return true
}

func (n *naive) drop(id string) bool {
	i := slices.IndexFunc(n.items, func(it Item) bool { return it.ID == id })
	if i < 0 {
		return false
	}
	realm := n.items[i].Realm
	n.items = slices.Delete(n.items, i, i+1)
	if len(n.of(realm)) == 0 {
		n.turn = slices.DeleteFunc(n.turn, func(r string) bool { return r == realm })
	}
	return true
}

func (n *naive) fitting(realm string, o Offer) *Item {
	window := n.of(realm)
	window = window[:min(len(window), Window)]
	fits := func(it Item) bool { return it.Memory <= o.Memory && o.Fits(it) }
	i := slices.IndexFunc(window, fits)
	if i < 0 {
		return nil
	}
	first := window[i]
	for _, prefers := range []func(Item) bool{o.Near, o.Cached} {
		if prefers == nil || first.Came == 0 {
			continue
		}
		for _, it := range window[i:min(len(window), i+Ties)] {
			if it.Came != first.Came {
				break
			}
			if prefers(it) && fits(it) {
				return &it
			}
		}
	}
	return &first
}

func (n *naive) pop(o Offer) (Item, bool) {
	for _, realm := range n.turn {
		if it := n.fitting(realm, o); it != nil {
			n.drop(it.ID)
			if i := slices.Index(n.turn, realm); i >= 0 {
				n.turn = append(slices.Delete(n.turn, i, i+1), realm)
			}
			return *it, true
		}
	}
	return Item{}, false
}

func TestQueueAgainstNaive(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		limit := rapid.SampledFrom([]int{3, 2 * Window}).Draw(rt, "limit")
		q, n := New(limit), &naive{limit: limit}
		realms := rapid.SampledFrom([]string{"a", "b", "c", "d"})
		ids := rapid.IntRange(0, 400)
		memory := rapid.Int64Range(0, 8)
		all := []string{"a", "b", "c", "d"}
		// served counts, per pair of realms, services of one since the other
		// lacked fitting work or was served.
		served := map[[2]string]int{}
		offer := func(rt *rapid.T, odd bool) Offer {
			o := Offer{Memory: memory.Draw(rt, "offer"), Fits: func(it Item) bool { return !odd || it.ID[len(it.ID)-1]%2 == 1 }}
			if rapid.Bool().Draw(rt, "cached") {
				o.Cached = func(it Item) bool { return it.Digest == "1" }
			}
			if rapid.Bool().Draw(rt, "near") {
				o.Near = func(it Item) bool { return it.Near.Has(7) }
			}
			return o
		}
		reset := func(r string) { // it comes anew: nothing counts from before
			for _, a := range all {
				served[[2]string{a, r}] = 0
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(rt *rapid.T) {
				r := realms.Draw(rt, "realm")
				m := memory.Draw(rt, "memory")
				if len(n.of(r)) == 0 {
					reset(r)
				}
				came := rapid.Int64Range(0, 2).Draw(rt, "came")
				for i := range rapid.IntRange(1, 80).Draw(rt, "n") {
					it := Item{ID: fmt.Sprint(ids.Draw(rt, "id")), Realm: r, Memory: m, Came: came, Digest: fmt.Sprint(i % 3)}
					if i%5 == 4 {
						it.Near = Nodes{3, 7}
					}
					if err := q.Push(it); (err == nil) != n.push(it) {
						rt.Fatalf("Push(%+v) = %v", it, err)
					}
				}
			},
			"pop": func(rt *rapid.T) {
				odd := rapid.Bool().Draw(rt, "odd")
				o := offer(rt, odd)
				if h := q.Hint(); o.Memory < h.Least {
					defer func(before int) {
						if q.Len() != before {
							rt.Fatalf("%+v, but an offer of %d got something", h, o.Memory)
						}
					}(q.Len())
				}
				fitting := map[string]bool{}
				for _, r := range all {
					fitting[r] = n.fitting(r, o) != nil
				}
				got, ok := q.Pop(o)
				want, wantOK := n.pop(o)
				if got != want || ok != wantOK {
					rt.Fatalf("Pop = %v %v, want %v %v", got, ok, want, wantOK)
				}
				for _, a := range all {
					for _, b := range all {
						switch pair := [2]string{a, b}; {
						case !fitting[b] || got.Realm == b:
							served[pair] = 0
						case ok && got.Realm == a && a != b:
							if served[pair]++; served[pair] > 1 {
								rt.Fatalf("%s was served twice while %s had fitting work", a, b)
							}
						}
					}
				}
			},
			// What one PopN gives is what as many Pops give, with the memory that
			// is left. What it takes is not counted in served: that holds for Pop.
			"popN": func(rt *rapid.T) {
				o := offer(rt, false)
				o.Memory *= 4
				limit := rapid.IntRange(1, 3).Draw(rt, "of a realm")
				count := rapid.IntRange(0, 12).Draw(rt, "n")
				got := map[string]int{}
				var want []Item
				left := o
				left.Fits = func(it Item) bool { return got[it.Realm] < limit }
				for len(want) < count {
					it, ok := n.pop(left)
					if !ok {
						break
					}
					left.Memory -= it.Memory
					got[it.Realm]++
					want = append(want, it)
				}
				o.Realm = func(r string, n int) bool { return n < limit }
				if have := q.PopN(nil, o, count); !slices.Equal(have, want) {
					rt.Fatalf("PopN(%d) = %v, want %v", count, have, want)
				}
				clear(served)
			},
			"pushFront": func(rt *rapid.T) {
				r := realms.Draw(rt, "realm")
				if len(n.of(r)) == 0 {
					reset(r)
				}
				it := Item{ID: fmt.Sprint(ids.Draw(rt, "id")), Realm: r, Memory: memory.Draw(rt, "memory")}
				if err := q.PushFront(it); (err == nil) != n.pushFront(it) {
					rt.Fatalf("PushFront(%+v) = %v", it, err)
				}
			},
			"removeIf": func(rt *rapid.T) {
				k := rapid.IntRange(0, 9).Draw(rt, "digit")
				gone := func(it Item) bool { return it.ID[len(it.ID)-1] == byte('0'+k) }
				var want []string
				for _, it := range slices.Clone(n.items) {
					if gone(it) {
						n.drop(it.ID)
						want = append(want, it.ID)
					}
				}
				var got []string
				for _, it := range q.RemoveIf(gone) {
					got = append(got, it.ID)
				}
				slices.Sort(want)
				slices.Sort(got)
				if !slices.Equal(got, want) {
					rt.Fatalf("RemoveIf: %v, want %v", got, want)
				}
			},
			"remove": func(rt *rapid.T) {
				id := fmt.Sprint(ids.Draw(rt, "id"))
				if got, want := q.Remove(id), n.drop(id); got != want {
					rt.Fatalf("Remove(%s) = %v, want %v", id, got, want)
				}
			},
			"removeRealm": func(rt *rapid.T) {
				r := realms.Draw(rt, "realm")
				if rapid.IntRange(0, 3).Draw(rt, "often") > 0 {
					return
				}
				want := n.of(r)
				for _, it := range want {
					n.drop(it.ID)
				}
				if got := q.RemoveRealm(r); !slices.Equal(got, want) {
					rt.Fatalf("RemoveRealm(%s) = %v, want %v", r, got, want)
				}
			},
			"": func(rt *rapid.T) {
				if h := q.Hint(); q.Len() != len(n.items) || h.Queued != q.Len() || h.Realms != len(n.turn) {
					rt.Fatalf("Len %d, hint %+v, want %d of %d realms", q.Len(), h, len(n.items), len(n.turn))
				}
				for _, r := range all { // a bound that is too high would keep nodes away
					of := n.of(r)
					for _, it := range of[:min(len(of), Window)] {
						if h := q.Hint(); it.Memory < h.Least {
							rt.Fatalf("hint %+v, but %+v waits", h, it)
						}
					}
				}
				for _, s := range q.Stats() {
					var sum int64
					for _, it := range n.of(s.Realm) {
						sum += it.Memory
					}
					if s.Queued != len(n.of(s.Realm)) || s.Memory != sum {
						rt.Fatalf("stats %+v, want %d procs, %d bytes", s, len(n.of(s.Realm)), sum)
					}
				}
			},
		})
	})
}
