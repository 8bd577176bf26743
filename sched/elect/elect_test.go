package elect

import (
	"math/rand/v2"
	"slices"
	"testing"
)

func members(n int, roles ...string) (out []Member) {
	for i := range n {
		out = append(out, Member{Number: uint16(i + 1), Roles: roles})
	}
	return out
}

func TestEveryNodeComesToTheSameAnswer(t *testing.T) {
	a := members(40, "node", "besched", "named")
	b := slices.Clone(a)
	rand.Shuffle(len(b), func(i, j int) { b[i], b[j] = b[j], b[i] })
	if x, y := Shards(a, 0), Shards(b, 0); !slices.Equal(x, y) || len(x) != MaxShards {
		t.Errorf("shards %v and %v", x, y)
	}
	for _, realm := range []string{"a", "b", "c"} {
		x, ok := One(a, "named", realm)
		y, _ := One(b, "named", realm)
		if !ok || x != y {
			t.Errorf("realm %s: %d and %d", realm, x, y)
		}
	}
}

func TestNobodyHoldsWhatNobodyOffers(t *testing.T) {
	if n, ok := One(members(3, "node"), "lcsched", ""); ok {
		t.Errorf("node %d holds what it does not offer", n)
	}
	if s := Shards(members(3, "node"), 0); len(s) != 0 {
		t.Errorf("shards %v", s)
	}
}

func TestALeavingMemberHoldsOnlyWhatNobodyElseCan(t *testing.T) {
	m := members(2, "lcsched")
	m[0].Leaving = true
	if n, ok := One(m, "lcsched", ""); !ok || n != 2 {
		t.Errorf("holder %d %v, want 2", n, ok)
	}
	m[1].Leaving = true
	if _, ok := One(m, "lcsched", ""); !ok {
		t.Error("while all leave, nobody holds it")
	}
}

// A member that goes moves the places that it held and no others.
func TestAChangeMovesLittle(t *testing.T) {
	m := members(20, "named")
	held := make(map[string]uint16)
	for i := range 1000 {
		place := string(rune('a'+i%26)) + string(rune('a'+i/26))
		held[place], _ = One(m, "named", place)
	}
	count := make(map[uint16]int)
	for _, n := range held {
		count[n]++
	}
	for n, c := range count {
		if c < 15 || c > 100 {
			t.Errorf("member %d holds %d of 1000 places; about 50 are fair", n, c)
		}
	}
	gone := m[7].Number
	rest := slices.Delete(slices.Clone(m), 7, 8)
	for place, before := range held {
		if after, _ := One(rest, "named", place); before != gone && after != before {
			t.Errorf("place %s moved from %d to %d, though %d went", place, before, after, gone)
		}
	}
}
