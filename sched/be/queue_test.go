package be

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"sigmaos/api"
)

func push(t testing.TB, q *Queue, realm string, memory int64, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := q.Push(Item{ID: id, Realm: realm, Memory: memory}); err != nil {
			t.Fatal(err)
		}
	}
}

// popAll pops with one offer until nothing fits.
func popAll(q *Queue, o Offer) string {
	var ids []string
	for it, ok := q.Pop(o); ok; it, ok = q.Pop(o) {
		ids = append(ids, it.ID)
	}
	return strings.Join(ids, " ")
}

func TestRealmsAreServedInTurn(t *testing.T) {
	q := New(10)
	push(t, q, "a", 1, "a1", "a2", "a3", "a4")
	push(t, q, "b", 1, "b1", "b2")
	push(t, q, "c", 1, "c1")
	if got, want := popAll(q, Offer{Memory: 1}), "a1 b1 c1 a2 b2 a3 a4"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestOrderIsKeptAmongWhatFits(t *testing.T) {
	q := New(10)
	push(t, q, "a", 100, "big")
	push(t, q, "a", 1, "s1", "s2")
	push(t, q, "b", 1, "b1")
	noB := func(it Item) bool { return it.ID != "s1" }
	if got, want := popAll(q, Offer{Memory: 50, Fits: noB}), "s2 b1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := popAll(q, Offer{Memory: 100}), "big s1"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPushErrors(t *testing.T) {
	q := New(2)
	push(t, q, "a", 1, "a1", "a2")
	for _, c := range []struct {
		item Item
		kind api.Kind
	}{
		{Item{ID: "a3", Realm: "a"}, api.Busy},
		{Item{ID: "a1", Realm: "b"}, api.Exists},
		{Item{ID: "", Realm: "b"}, api.Invalid},
		{Item{ID: "x", Realm: ""}, api.Invalid},
		{Item{ID: "x", Realm: "b", Memory: -1}, api.Invalid},
	} {
		if err := q.Push(c.item); api.KindOf(err) != c.kind {
			t.Errorf("Push(%+v) = %v, want kind %q", c.item, err, c.kind)
		}
	}
	if err := q.Push(Item{ID: "b1", Realm: "b"}); err != nil {
		t.Errorf("a full realm kept another one out: %v", err)
	}
	if s := q.Stats(); s[0].Refused != 1 || s[0].Queued != 2 || s[0].Memory != 2 || s[1].Pushed != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestNothingFitsIsBounded counts how much is looked at.
func TestNothingFitsIsBounded(t *testing.T) {
	q := New(100_000)
	for i := range 10_000 {
		push(t, q, fmt.Sprint("r", i%10), 10, fmt.Sprint("p", i))
	}
	looked := 0
	o := Offer{Memory: 10, Fits: func(Item) bool { looked++; return false }}
	if _, ok := q.Pop(o); ok || looked != 10*Window {
		t.Errorf("popped %v, looked at %d, want %d", ok, looked, 10*Window)
	}
	for _, r := range q.realms {
		if r.floor != 10 {
			t.Errorf("floor of %s is %d", r.name, r.floor)
		}
	}
	push(t, q, "r0", 1, "behind") // behind the window: no help
	if it, ok := q.Pop(Offer{Memory: 9}); ok {
		t.Errorf("popped %v", it)
	}
}

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
	for _, it := range window[:min(len(window), Window)] {
		if it.Memory <= o.Memory && o.Fits(it) {
			return &it
		}
	}
	return nil
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
		// served counts, per pair of realms, services of one since the other
		// lacked fitting work or was served.
		served := map[[2]string]int{}
		all := []string{"a", "b", "c", "d"}
		rt.Repeat(map[string]func(*rapid.T){
			"push": func(rt *rapid.T) {
				r := realms.Draw(rt, "realm")
				m := memory.Draw(rt, "memory")
				if len(n.of(r)) == 0 { // it comes anew: nothing counts from before
					for _, a := range all {
						served[[2]string{a, r}] = 0
					}
				}
				for range rapid.IntRange(1, 80).Draw(rt, "n") {
					it := Item{ID: fmt.Sprint(ids.Draw(rt, "id")), Realm: r, Memory: m}
					if err := q.Push(it); (err == nil) != n.push(it) {
						rt.Fatalf("Push(%+v) = %v", it, err)
					}
				}
			},
			"pop": func(rt *rapid.T) {
				odd := rapid.Bool().Draw(rt, "odd")
				o := Offer{Memory: memory.Draw(rt, "offer"), Fits: func(it Item) bool { return !odd || it.ID[len(it.ID)-1]%2 == 1 }}
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
				if q.Len() != len(n.items) {
					rt.Fatalf("Len %d, want %d", q.Len(), len(n.items))
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

func BenchmarkPushPop(b *testing.B) {
	q := New(1 << 20)
	for i := range 10_000 {
		push(b, q, fmt.Sprint("r", i%100), 64, fmt.Sprint("p", i))
	}
	for b.Loop() {
		it, _ := q.Pop(Offer{Memory: 64})
		if err := q.Push(it); err != nil {
			b.Fatal(err)
		}
	}
}
