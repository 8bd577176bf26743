package quota

import (
	"math/rand/v2"
	"testing"

	"sigmaos/api"
)

// Nodes spawn, end, grow, give back, die and come back in any order: together they
// never use more than the quota, and where there is room one gets it.
func TestSharesNeverExceedTheQuota(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		q := api.Quota{Procs: r.IntN(20), Memory: r.Int64N(3) * 1000, MCPU: r.Int64N(3) * 1000}
		type node struct {
			boot  uint32
			use   Use
			share Use
			procs []Use
		}
		nodes := make([]node, 4)
		var table Table
		sum := func() (u Use) {
			for _, n := range nodes {
				u = u.Add(n.use)
			}
			return u
		}
		full := Use{q.Procs, q.Memory, q.MCPU}
		for range 300 {
			i := r.IntN(len(nodes))
			n := &nodes[i]
			switch r.IntN(10) {
			case 0: // it dies; what it had is free when that is known
				*n = node{boot: n.boot + 1}
			case 1: // it gives back
				n.share = n.use
				table = table.Set(uint16(i), n.boot, n.use)
			case 2, 3, 4:
				if len(n.procs) > 0 {
					n.use = n.use.Sub(n.procs[0])
					n.procs = n.procs[1:]
				}
			default:
				p := Use{Procs: 1, Memory: r.Int64N(300), MCPU: r.Int64N(300)}
				need := n.use.Add(p)
				if !Within(q, need, n.share) {
					table = table.Without(func(at uint16, boot uint32) bool { return nodes[at].boot != boot })
					others := table.Others(uint16(i), n.boot)
					var ok bool
					table, n.share, ok = table.Grow(q, uint16(i), n.boot, need)
					if room := Within(q, need.Add(others), full); ok != room {
						t.Fatalf("quota %+v, others have %+v, need %+v: Grow says %v", q, others, need, ok)
					}
					if !ok {
						n.share = n.use // as a node does that asks all to give back
						table = table.Set(uint16(i), n.boot, n.use)
						continue
					}
				}
				n.use = need
				n.procs = append(n.procs, p)
			}
			if !Within(q, sum(), full) {
				t.Fatalf("quota %+v and in use %+v: %+v, %+v", q, sum(), nodes, table)
			}
		}
	}
}

func TestTableIsStored(t *testing.T) {
	table := Table{}.Set(1, 2, Use{3, 4, 5}).Set(2, 1, Use{1, 1, 1}).Set(2, 1, Use{})
	b, err := table.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := Decode(b)
	if err != nil || len(got) != 1 || got[0] != table[0] {
		t.Errorf("%s is read as %+v, %v", b, got, err)
	}
	if got, err := Decode(nil); got != nil || err != nil {
		t.Errorf("nothing is read as %+v, %v", got, err)
	}
	for name, text := range map[string]string{"damaged": `{"version":`, "of later": `{"version":9}`} {
		if _, err := Decode([]byte(text)); err == nil {
			t.Errorf("a table that is %s is read", name)
		}
	}
}
