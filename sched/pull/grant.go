package pull

import "sigmaos/sched/be"

// Grant takes out of q what a node is to get for an ask, and appends it to dst:
// what fits its slots, realms in turn, and then, for realms that have less than an
// equal part of its cores, what fills that up. Of o, what else must hold for a proc
// and what is preferred counts: the rest the ask says.
//
// The part is rounded up. With two cores and three realms each may have one proc
// there, and the kernel gives each two thirds of a core. Where no other node is idle,
// ahead lets each realm have one proc more, which takes over when one ends, so that
// the realm loses nothing while the next one is fetched.
func Grant(dst []be.Item, q *be.Queue, a Ask, o be.Offer, ahead bool) []be.Item {
	from := len(dst)
	o.Memory = a.Memory
	dst = q.PopN(dst, o, min(a.Slots, a.Max))
	extra := min(a.Extra, a.Max-(len(dst)-from))
	if extra <= 0 || a.Cores <= 0 || q.Len() == 0 {
		return dst
	}
	var given map[string]int
	if len(dst) > from {
		given = make(map[string]int)
	}
	for _, it := range dst[from:] {
		o.Memory -= it.Memory
		given[it.Realm]++
	}
	realms := q.Hint().Realms
	for r := range a.Active {
		if q.Waiting(r) == 0 {
			realms++
		}
	}
	for r := range given {
		if q.Waiting(r) == 0 && a.Active[r] == 0 {
			realms++
		}
	}
	most := part(a.Cores, realms)
	if ahead {
		most++
	}
	o.Realm = func(r string, got int) bool { return a.Active[r]+given[r]+got < most }
	return q.PopN(dst, o, extra)
}
