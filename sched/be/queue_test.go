package be

import (
	"fmt"
	"strings"
	"testing"

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
		{Item{ID: "x", Realm: "b", Bytes: -1}, api.Invalid},
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

func ids(items []Item) string {
	var out []string
	for _, it := range items {
		out = append(out, it.ID)
	}
	return strings.Join(out, " ")
}

func TestOneOfferTakesSeveral(t *testing.T) {
	fill := func() *Queue {
		q := New(10)
		push(t, q, "a", 4, "a1", "a2", "a3")
		push(t, q, "b", 2, "b1", "b2")
		push(t, q, "c", 9, "c1")
		return q
	}
	for _, c := range []struct {
		name string
		o    Offer
		n    int
		want string
	}{
		{"by count", Offer{Memory: 100}, 4, "a1 b1 c1 a2"},
		{"by memory", Offer{Memory: 11}, 10, "a1 b1 a2"},
		{"one realm alone is left", Offer{Memory: 100}, 10, "a1 b1 c1 a2 b2 a3"},
		{"a realm once", Offer{Memory: 100, Realm: func(r string, got int) bool { return r != "a" || got < 1 }}, 10, "a1 b1 c1 b2"},
		{"nothing is asked for", Offer{Memory: 100}, 0, ""},
		{"no memory", Offer{Memory: -1}, 3, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if got := ids(fill().PopN(nil, c.o, c.n)); got != c.want {
				t.Errorf("PopN(%d bytes, %d) = %q, want %q", c.o.Memory, c.n, got, c.want)
			}
		})
	}
}

func TestCachedProgramsBreakTiesOnly(t *testing.T) {
	q := New(100)
	for i, it := range []Item{
		{ID: "old", Digest: "x", Came: 1}, {ID: "n1", Digest: "x", Came: 2}, {ID: "n2", Digest: "y", Came: 2}, {ID: "n3", Digest: "y", Came: 2}, {ID: "z1", Digest: "x"}, {ID: "z2", Digest: "y"},
	} {
		it.Realm, it.Memory = "a", 1
		if err := q.Push(it); err != nil {
			t.Fatal(i, err)
		}
	}
	y := func(it Item) bool { return it.Digest == "y" }
	if got, want := popAll(q, Offer{Memory: 100, Cached: y}), "old n2 n3 n1 z1 z2"; got != want {
		t.Errorf("got %q, want %q: ties are of one moment, and 0 is no moment", got, want)
	}
}

func TestGivenBackGoesFirstInItsRealmButNotInTurn(t *testing.T) {
	q := New(2)
	push(t, q, "a", 1, "a1", "a2")
	push(t, q, "b", 1, "b1", "b2")
	it, _ := q.Pop(Offer{Memory: 1})
	push(t, q, "a", 1, "a3") // the realm is full again
	if err := q.PushFront(it); err != nil {
		t.Fatalf("a full realm's proc cannot be given back: %v", err)
	}
	if err := q.PushFront(it); api.KindOf(err) != api.Exists {
		t.Errorf("given back twice: %v", err)
	}
	if got, want := popAll(q, Offer{Memory: 1}), "b1 a1 b2 a2 a3"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if s := q.Stats()[0]; s.Returned != 1 || s.Pushed != 3 || s.Served != 4 {
		t.Errorf("stats %+v", s)
	}
}

func TestBytesOfARealmAreBounded(t *testing.T) {
	q := New(100)
	q.LimitBytes(10)
	add := func(realm, id string, bytes int64) error {
		return q.Push(Item{ID: id, Realm: realm, Bytes: bytes})
	}
	for _, c := range []struct {
		realm, id string
		bytes     int64
		kind      api.Kind
	}{{"a", "a1", 6, ""}, {"a", "a2", 5, api.Busy}, {"a", "a3", 4, ""}, {"b", "b1", 10, ""}} {
		if err := add(c.realm, c.id, c.bytes); api.KindOf(err) != c.kind {
			t.Errorf("push %s of %d bytes: %v, want kind %q", c.id, c.bytes, err, c.kind)
		}
	}
	q.Remove("a1")
	if err := add("a", "a2", 5); err != nil {
		t.Errorf("after one left: %v", err)
	}
}

func TestProcsOfALostHomeAreTakenOut(t *testing.T) {
	q := New(10)
	push(t, q, "a", 1, "x1", "y1", "x2")
	push(t, q, "b", 1, "x3", "y2")
	gone := q.RemoveIf(func(it Item) bool { return it.ID[0] == 'x' })
	if got := popAll(q, Offer{Memory: 1}); len(gone) != 3 || got != "y1 y2" {
		t.Errorf("taken out %q, left %q", ids(gone), got)
	}
}

func TestHintSaysWhenAskingIsInVain(t *testing.T) {
	q := New(1000)
	if h := q.Hint(); h != (Hint{}) {
		t.Errorf("of an empty queue: %+v", h)
	}
	push(t, q, "a", 9, "a1")
	push(t, q, "b", 5, "b1", "b2")
	if h, want := q.Hint(), (Hint{Queued: 3, Realms: 2, Least: 5}); h != want {
		t.Errorf("hint %+v, want %+v", h, want)
	}
	q.Remove("b1")
	q.Remove("b2")
	if h := q.Hint(); h.Least > 9 {
		t.Errorf("hint %+v keeps an offer of 9 away", h)
	}
	q.Pop(Offer{Memory: 8}) // finds nothing, and learns
	if h, want := q.Hint(), (Hint{Queued: 1, Realms: 1, Least: 9}); h != want {
		t.Errorf("hint %+v, want %+v", h, want)
	}
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

// One pull of 16 procs, and their pushes, per 16 rounds.
func BenchmarkPushPopN(b *testing.B) {
	q := New(1 << 20)
	for i := range 10_000 {
		push(b, q, fmt.Sprint("r", i%100), 64, fmt.Sprint("p", i))
	}
	const n = 16
	items := make([]Item, 0, n)
	for i := 0; b.Loop(); i++ {
		if i%n == 0 {
			items = q.PopN(items[:0], Offer{Memory: 64 * n}, n)
		}
		if err := q.Push(items[i%n]); err != nil {
			b.Fatal(err)
		}
	}
}
