package lc

import (
	"fmt"
	"slices"
	"strings"

	"sigmaos/api"
)

// impossible says why no node could ever run w, once all are heard. It is asked
// until it is known that one could; a node that is lost later changes nothing.
func (t *Table) impossible(w *waiting) error {
	if w.judged {
		return nil
	}
	_, w.judged = t.sizes.search(t.weigh(w.MCPU, w.Memory), w.MCPU, w.Memory, func(m *machine) bool {
		return w.Domain == "" || m.place == w.Domain
	})
	if w.judged || !t.Complete() {
		return nil
	}
	return t.tooLarge(w)
}

// doubt lets what waits wait on when m is lost before it said what it has: it may be
// back, and large enough. The first report of a node that joins from then on ends that;
// where none joins, what waits goes on waiting, and Missing says for what.
func (t *Table) doubt(m *machine) {
	if t.unjudged == 0 {
		return
	}
	t.queue.each(func(e *entry[*waiting]) bool {
		if w := e.ref; !w.judged && (w.Domain == "" || m.place == w.Domain) {
			w.judged, w.doubted = true, t.joins
			t.unjudged--
			t.doubted++
		}
		return true
	})
}

// undoubt has what was in doubt when m joined judged as all others are.
func (t *Table) undoubt(m *machine) {
	if t.doubted == 0 {
		return
	}
	t.queue.each(func(e *entry[*waiting]) bool {
		if w := e.ref; w.doubted != 0 && w.doubted < m.joined {
			w.judged, w.doubted = false, 0
			t.unjudged++
			t.doubted--
		}
		return true
	})
}

// judge refuses what can never run, as soon as that is known.
func (t *Table) judge() {
	if t.unjudged == 0 || !t.Complete() {
		return
	}
	var all []*waiting
	t.queue.each(func(e *entry[*waiting]) bool {
		if !e.ref.judged {
			all = append(all, e.ref)
		}
		return true
	})
	for _, w := range all {
		err := t.impossible(w)
		if w.judged {
			t.unjudged--
			continue
		}
		t.drop(w)
		t.out = append(t.out, Decision{ID: w.ID, Epoch: t.cfg.Epoch, Payload: w.Payload, Err: err})
	}
}

// tooLarge words the refusal of w with the largest nodes there are.
func (t *Table) tooLarge(w *waiting) error {
	var cpu, mem *machine
	var labels []string
	t.sizes.each(func(e *entry[*machine]) bool {
		m := e.ref
		if m.Domain != "" && !slices.Contains(labels, m.Domain) && len(labels) < 20 {
			labels = append(labels, m.Domain)
		}
		if w.Domain != "" && m.place != w.Domain {
			return true
		}
		if cpu == nil || m.cpu > cpu.cpu || m.cpu == cpu.cpu && m.mem > cpu.mem {
			cpu = m
		}
		if mem == nil || m.mem > mem.mem || m.mem == mem.mem && m.cpu > mem.cpu {
			mem = m
		}
		return true
	})
	slices.Sort(labels)
	switch in := inDomain(w.Domain); {
	case cpu == nil && len(labels) == 0:
		return api.E(api.NoCapacity, "place", w.ID, "wants a node%s, and no node has a domain; start nodes with --domain", in)
	case cpu == nil:
		return api.E(api.NoCapacity, "place", w.ID, "wants a node%s, and there is none; there are %s", in, strings.Join(labels, ", "))
	case cpu == mem:
		return api.E(api.NoCapacity, "place", w.ID, "needs %d mCPU and %s of memory; the largest node%s, %s, has %d mCPU and %s",
			w.MCPU, size(w.Memory), in, cpu.Name, cpu.cpu, size(cpu.mem))
	default:
		return api.E(api.NoCapacity, "place", w.ID, "needs %d mCPU and %s of memory on one node; the largest nodes%s are %s with %d mCPU and %s, and %s with %d mCPU and %s",
			w.MCPU, size(w.Memory), in, cpu.Name, cpu.cpu, size(cpu.mem), mem.Name, mem.cpu, size(mem.mem))
	}
}

func inDomain(d string) string {
	if d == "" {
		return ""
	}
	return fmt.Sprintf(" in domain %q", d)
}

// size prints whole MiB where that is exact and bytes otherwise, so that two
// figures that differ never look the same.
func size(n int64) string {
	if n >= 1<<20 && n%(1<<20) == 0 {
		return fmt.Sprintf("%d MiB", n>>20)
	}
	return fmt.Sprintf("%d bytes", n)
}
