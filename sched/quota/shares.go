package quota

import (
	"encoding/json"
	"slices"

	"sigmaos/api"
)

// Share is how much of a realm's quota one boot of a node may use for the procs
// that are spawned there.
type Share struct {
	Node uint16 `json:"node"`
	Boot uint32 `json:"boot"`
	Use
}

// Table is the shares of a realm. Their sum is never made larger than the quota,
// and no node uses more than its share: so whatever nodes do at one moment, the
// realm has no more than its quota. It is a value; methods that change it return
// another.
type Table []Share

// tableVersion is that of the stored form.
const tableVersion = 1

type stored struct {
	Version int   `json:"version"`
	Shares  Table `json:"shares"`
}

// Decode reads the stored form; nothing is an empty table.
func Decode(b []byte) (Table, error) {
	if len(b) == 0 {
		return nil, nil
	}
	var s stored
	if err := json.Unmarshal(b, &s); err != nil {
		return nil, api.E(api.Internal, "quota", "", "a table of shares is damaged: %v", err)
	}
	if s.Version != tableVersion {
		return nil, api.E(api.Unsupported, "quota", "", "a table of shares is of version %d; this sigmad knows %d", s.Version, tableVersion)
	}
	return s.Shares, nil
}

// Encode is the stored form.
func (t Table) Encode() ([]byte, error) { return json.Marshal(stored{tableVersion, t}) }

// Bounds says whether q bounds anything that is counted.
func Bounds(q api.Quota) bool { return q.Procs > 0 || q.Memory > 0 || q.MCPU > 0 }

// Within says whether use is at most share in everything that q bounds.
func Within(q api.Quota, use, share Use) bool {
	return (q.Procs <= 0 || use.Procs <= share.Procs) && (q.Memory <= 0 || use.Memory <= share.Memory) && (q.MCPU <= 0 || use.MCPU <= share.MCPU)
}

// Others is the sum of what all but one have.
func (t Table) Others(node uint16, boot uint32) (sum Use) {
	for _, s := range t {
		if s.Node != node || s.Boot != boot {
			sum = sum.Add(s.Use)
		}
	}
	return sum
}

// Without leaves out the shares of those that are gone.
func (t Table) Without(gone func(node uint16, boot uint32) bool) Table {
	return slices.DeleteFunc(slices.Clone(t), func(s Share) bool { return gone(s.Node, s.Boot) })
}

// Set makes a node's share what it says that it uses, whatever others have.
func (t Table) Set(node uint16, boot uint32, use Use) Table {
	t = t.Without(func(n uint16, b uint32) bool { return n == node && b == boot })
	if use == (Use{}) {
		return t
	}
	return append(t, Share{node, boot, use})
}

// ahead is the part of what nobody has that a node gets beyond what it needs, so
// that it does not ask for each proc. It gives that back when another needs it.
const ahead = 8

// Grow gives a node a share that holds need; ok is false, and nothing changes, where
// the quota does not allow that beside what others have.
func (t Table) Grow(q api.Quota, node uint16, boot uint32, need Use) (_ Table, share Use, ok bool) {
	others := t.Others(node, boot)
	more := func(max, others, need int64) int64 {
		if max <= 0 {
			return need
		}
		left := max - others - need
		ok = ok && left >= 0
		return need + left/ahead
	}
	ok = true
	share = Use{
		Procs:  int(more(int64(q.Procs), int64(others.Procs), int64(need.Procs))),
		Memory: more(q.Memory, others.Memory, need.Memory),
		MCPU:   more(q.MCPU, others.MCPU, need.MCPU),
	}
	if !ok {
		return t, Use{}, false
	}
	return t.Set(node, boot, share), share, true
}
