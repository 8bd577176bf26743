// Package quota says whether a realm may have one more proc: pure arithmetic on
// its record's bounds and what it has.
//
// Each node counts the procs that are spawned there. Where there are several, each
// may use a [Share] of the quota, which it asks for and gives back; a [Table] of all
// shares is changed in one place, one after the other.
package quota

import (
	"fmt"

	"sigmaos/api"
)

// Use is what a realm's procs have, queued and running.
type Use struct {
	Procs  int   `json:"procs,omitempty"`
	Memory int64 `json:"memory,omitempty"` // bytes: the sum of their limits
	MCPU   int64 `json:"mcpu,omitempty"`   // reserved by LC procs
}

// Of is what one proc takes. Its descriptor is normalized.
func Of(d *api.ProcDesc) Use { return Use{Procs: 1, Memory: d.Memory, MCPU: d.MCPU} }

// Add and Sub return the sum and the difference.
func (u Use) Add(o Use) Use { return Use{u.Procs + o.Procs, u.Memory + o.Memory, u.MCPU + o.MCPU} }

// Sub is for what a proc that ended had.
func (u Use) Sub(o Use) Use { return Use{u.Procs - o.Procs, u.Memory - o.Memory, u.MCPU - o.MCPU} }

// Admit is an error, which says which bound it is, where the realm may not have
// the proc: NoCapacity for one that it may never have, Busy for one that it may
// have when others have ended.
func Admit(q api.Quota, have Use, d *api.ProcDesc) error {
	more := Of(d)
	for _, b := range []struct {
		name             string
		max, have, wants int64
		show             func(int64) string
	}{
		{"procs", int64(q.Procs), int64(have.Procs), int64(more.Procs), func(n int64) string { return fmt.Sprint(n) }},
		{"memory", q.Memory, have.Memory, more.Memory, mib},
		{"cores", q.MCPU, have.MCPU, more.MCPU, cores},
	} {
		switch {
		case b.max <= 0 || b.wants == 0 || b.wants <= b.max-b.have: // no sum, which could overflow
		case b.wants > b.max:
			return api.E(api.NoCapacity, "spawn", d.Program, "it wants %s of %s, and the realm's quota is %s in all; ask for less, or the operator for a larger quota", b.show(b.wants), b.name, b.show(b.max))
		default:
			return api.E(api.Busy, "spawn", d.Program, "the realm's quota of %s is used up (%s of %s; this proc wants %s); wait for some procs to end", b.name, b.show(b.have), b.show(b.max), b.show(b.wants))
		}
	}
	return nil
}

func mib(n int64) string { return fmt.Sprintf("%.4g MiB", float64(n)/(1<<20)) }

func cores(n int64) string { return fmt.Sprintf("%.4g", float64(n)/1000) }
