// Package elect says who holds which role: a pure function of the members that
// are alive and of what each offers. Every node computes it from gossip and comes
// to the same answer as soon as gossip has; while two nodes see different
// members, two may hold one role for a moment. Where that would harm, what the
// holder does is fenced by an epoch in etcd.
//
// Holders are chosen by rendezvous: every pair of a role's place and a member has
// a weight, and the heaviest member holds the place. A member that comes or goes
// moves only the places that it gains or held.
package elect

import (
	"cmp"
	"hash/fnv"
	"slices"
	"strconv"
)

// Member is a node as gossip knows it.
type Member struct {
	Number  uint16
	Roles   []string // it offers
	Leaving bool     // it holds nothing new
}

// MaxShards is how many shards of the best-effort queue there are by default,
// where so many nodes offer one.
const MaxShards = 8

// Shards returns the members that hold a shard of the best-effort queue, in
// order of number: up to max (0: MaxShards) of those that offer besched.
func Shards(members []Member, max int) []uint16 {
	if max == 0 {
		max = MaxShards
	}
	type candidate struct {
		weight uint64
		number uint16
	}
	var all []candidate
	for _, n := range offering(members, "besched") {
		all = append(all, candidate{weight("besched", n), n})
	}
	slices.SortFunc(all, func(a, b candidate) int {
		return cmp.Or(-cmp.Compare(a.weight, b.weight), cmp.Compare(a.number, b.number))
	})
	var list []uint16
	for _, c := range all[:min(max, len(all))] {
		list = append(list, c.number)
	}
	slices.Sort(list)
	return list
}

// One returns who holds a role that one node at a time holds; ok is false when
// nobody offers it. place tells several holders of one role apart: the realm whose
// names are served.
func One(members []Member, role, place string) (number uint16, ok bool) {
	var best uint64
	for _, n := range offering(members, role) {
		if w := weight(role+" "+place, n); !ok || w > best || w == best && n < number {
			number, best, ok = n, w, true
		}
	}
	return number, ok
}

// offering lists the members that offer role; those that leave only when nobody
// else does.
func offering(members []Member, role string) (out []uint16) {
	var leaving []uint16
	for _, m := range members {
		switch {
		case !slices.Contains(m.Roles, role):
		case m.Leaving:
			leaving = append(leaving, m.Number)
		default:
			out = append(out, m.Number)
		}
	}
	if len(out) == 0 {
		return leaving
	}
	return out
}

func weight(place string, member uint16) uint64 {
	h := fnv.New64a()
	h.Write([]byte(place))
	h.Write([]byte(strconv.Itoa(int(member))))
	// FNV's high bits hardly change with the last bytes; mix them.
	x := h.Sum64()
	x ^= x >> 33
	x *= 0xff51afd7ed558ccd
	x ^= x >> 33
	x *= 0xc4ceb9fe1a85ec53
	return x ^ x>>33
}
