package node

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const mib = 1 << 20

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestRefusals(t *testing.T) {
	tab := New(2000, 1024*mib)
	must(t, tab.AdmitLC("db-1", 1500, 512*mib))
	must(t, tab.AdmitBE("mr-1", 256*mib))
	for _, c := range []struct {
		name  string
		admit func() error
		kind  error
		evict bool
		text  string
	}{
		{"more CPU than the machine", func() error { return tab.AdmitLC("x", 3000, mib) }, ErrNever, false,
			"admit x: needs 3000 mCPU; 2000 in all, 1500 reserved: never fits on this node"},
		{"more CPU than is left", func() error { return tab.AdmitLC("x", 501, mib) }, ErrNotNow, false,
			"admit x: needs 501 mCPU; 2000 in all, 1500 reserved: does not fit on this node now"},
		{"more memory than the machine", func() error { return tab.AdmitLC("x", 1, 1025*mib) }, ErrNever, false,
			"needs 1025 MiB of memory; 1024 MiB in all, 512 MiB reserved by LC, 256 MiB held by BE"},
		{"more memory than LC leaves", func() error { return tab.AdmitLC("x", 1, 513*mib) }, ErrNotNow, false, "513 MiB"},
		{"memory that BE holds", func() error { return tab.AdmitLC("x", 1, 257*mib) }, ErrNotNow, true, "257 MiB"},
		{"BE, more than the machine", func() error { return tab.AdmitBE("x", math.MaxInt64) }, ErrNever, false, "needs 9223372036854775807 bytes"},
		{"BE, memory reserved by LC", func() error { return tab.AdmitBE("x", 256*mib+1) }, ErrNotNow, false, "needs 268435457 bytes"},
		{"known id", func() error { return tab.AdmitBE("db-1", 1) }, ErrBadRequest, false, "admitted already"},
		{"negative", func() error { return tab.AdmitLC("x", -1, 1) }, ErrBadRequest, false, "negative"},
	} {
		t.Run(c.name, func(t *testing.T) {
			before := tab.Snapshot()
			err := c.admit()
			var r *Refusal
			if !errors.As(err, &r) || !errors.Is(err, c.kind) || r.Evict != c.evict || !strings.Contains(err.Error(), c.text) {
				t.Errorf("got %v, want kind %q, evict %v, text %q", err, c.kind, c.evict, c.text)
			}
			if after := tab.Snapshot(); fmt.Sprint(before) != fmt.Sprint(after) {
				t.Errorf("a refusal changed %v to %v", before, after)
			}
		})
	}
}

func TestEvictTakesTheNewestAndSparesTheUnneeded(t *testing.T) {
	tab := New(1000, 100)
	must(t, tab.AdmitBE("old", 40))
	must(t, tab.AdmitBE("big", 50))
	must(t, tab.AdmitBE("tiny", 5))
	if got := tab.Evict(5); got != nil {
		t.Fatalf("Evict(5) with 5 free: %v", got)
	}
	if got := tab.Evict(101); got != nil {
		t.Fatalf("Evict(101) of 100: %v", got)
	}
	got := tab.Evict(55)
	if want := []string{"big"}; !slices.Equal(got, want) {
		t.Fatalf("Evict(55) = %v, want %v", got, want)
	}
	must(t, tab.AdmitLC("lc", 500, 55))
	if err := tab.AdmitBE("late", 1); !errors.Is(err, ErrNotNow) {
		t.Fatalf("memory of a leaving proc given away: %v", err)
	}
	tab.Release("big")
	if tab.Offer() != 0 {
		t.Fatalf("offer %d, want 0", tab.Offer())
	}
	tab.Release("lc")
	if tab.Offer() != 55 {
		t.Fatalf("offer %d, want 55", tab.Offer())
	}
}

// TestTableAgainstSums runs random requests and recomputes everything from the
// list of procs, which is the naive version of the table.
func TestTableAgainstSums(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		const cpus, mem = 4000, 1000
		tab := New(cpus, mem)
		type proc struct {
			lc, leaving bool
			cpu, mem    int64
		}
		model := map[string]proc{}
		var order []string // of admission
		sums := func() (lcCPU, lcMem, beMem, leaving int64) {
			for _, p := range model {
				switch {
				case p.lc:
					lcCPU += p.cpu
					lcMem += p.mem
				default:
					beMem += p.mem
					if p.leaving {
						leaving += p.mem
					}
				}
			}
			return
		}
		ids := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h"})
		amount := rapid.Int64Range(0, 1100)
		rt.Repeat(map[string]func(*rapid.T){
			"lc": func(rt *rapid.T) {
				id, c, m := ids.Draw(rt, "id"), amount.Draw(rt, "cpu")*4, amount.Draw(rt, "mem")
				lcCPU, lcMem, beMem, leaving := sums()
				_, dup := model[id]
				fits := lcCPU+c <= cpus && lcMem+beMem-leaving+m <= mem
				err := tab.AdmitLC(id, c, m)
				if (err == nil) != (fits && !dup) {
					rt.Fatalf("AdmitLC(%d, %d) = %v", c, m, err)
				}
				if err == nil {
					model[id] = proc{lc: true, cpu: c, mem: m}
					order = append(order, id)
					return
				}
				if never := c > cpus || m > mem; !dup && errors.Is(err, ErrNever) != never {
					rt.Fatalf("AdmitLC(%d, %d): %v, never is %v", c, m, err, never)
				}
				evictable := !dup && lcCPU+c <= cpus && lcMem+m <= mem
				if r := (*Refusal)(nil); !errors.As(err, &r) || r.Evict != evictable {
					rt.Fatalf("AdmitLC(%d, %d): %#v, evictable is %v", c, m, err, evictable)
				}
			},
			"be": func(rt *rapid.T) {
				id, m := ids.Draw(rt, "id"), amount.Draw(rt, "mem")
				_, lcMem, beMem, _ := sums()
				_, dup := model[id]
				err := tab.AdmitBE(id, m)
				if fits := lcMem+beMem+m <= mem; (err == nil) != (!dup && (fits || m == 0)) {
					rt.Fatalf("AdmitBE(%d) = %v", m, err)
				}
				if err == nil {
					model[id] = proc{mem: m}
					order = append(order, id)
				}
			},
			"release": func(rt *rapid.T) {
				id := ids.Draw(rt, "id")
				_, known := model[id]
				if tab.Release(id) != known {
					rt.Fatalf("Release(%s) is %v", id, !known)
				}
				delete(model, id)
				order = slices.DeleteFunc(order, func(o string) bool { return o == id })
			},
			"evict": func(rt *rapid.T) {
				need := amount.Draw(rt, "need")
				_, lcMem, beMem, leaving := sums()
				free := mem - lcMem - (beMem - leaving)
				got := tab.Evict(need)
				if need <= free || lcMem+need > mem {
					if got != nil {
						rt.Fatalf("Evict(%d) = %v in vain", need, got)
					}
					return
				}
				// The newest, walked naively, bound who may be touched.
				suffix, sum := map[string]bool{}, free
				for i := len(order) - 1; i >= 0 && sum < need; i-- {
					if p := model[order[i]]; !p.lc && !p.leaving {
						suffix[order[i]] = true
						sum += p.mem
					}
				}
				sum = free
				for _, id := range got {
					if !suffix[id] {
						rt.Fatalf("Evict(%d) = %v: %s is too old", need, got, id)
					}
					sum += model[id].mem
				}
				if sum < need {
					rt.Fatalf("Evict(%d) = %v frees only %d", need, got, sum)
				}
				for _, id := range got {
					p := model[id]
					if sum-p.mem >= need {
						rt.Fatalf("Evict(%d) = %v: %s is not needed", need, got, id)
					}
					p.leaving = true
					model[id] = p
				}
				if c, _, _, _ := sums(); c <= cpus {
					_, dup := model["lc"]
					if err := tab.AdmitLC("lc", 0, need); err != nil && !dup {
						rt.Fatalf("after Evict(%d): %v", need, err)
					}
					if !dup {
						model["lc"] = proc{lc: true, mem: need}
						order = append(order, "lc")
					}
				}
			},
			"": func(rt *rapid.T) {
				lcCPU, lcMem, beMem, leaving := sums()
				s := tab.Snapshot()
				if s.LCMCPU != lcCPU || s.LCMemory != lcMem || s.BEMemory != beMem || s.Leaving != leaving || s.LC+s.BE != len(model) {
					rt.Fatalf("snapshot %+v, want %d %d %d %d %d", s, lcCPU, lcMem, beMem, leaving, len(model))
				}
				if lcCPU > cpus || lcMem+beMem-leaving > mem {
					rt.Fatalf("overcommitted: %+v", s)
				}
				if want := max(0, mem-lcMem-beMem); tab.Offer() != want {
					rt.Fatalf("offer %d, want %d", tab.Offer(), want)
				}
				for i, p := range s.Procs {
					if p.ID != order[i] {
						rt.Fatalf("proc %d is %s, want %s", i, p.ID, order[i])
					}
				}
			},
		})
	})
}
