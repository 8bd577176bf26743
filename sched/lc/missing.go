package lc

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Missing says for a waiting request, per node, why it is not there: at most limit
// lines, those nodes first on which it lacks least, and one line that sums up the
// others. ok is false if the id does not wait.
func (t *Table) Missing(id string, limit int) (lines []string, ok bool) {
	w := t.waiting[id]
	if w == nil {
		return nil, false
	}
	type line struct {
		m     *machine
		lacks float64
		text  string
		short string
	}
	var all []line
	allowed := t.allowed(&w.Request)
	for _, m := range t.nodes {
		l := line{m: m, lacks: t.lack(w, m.freeCPU(), m.freeMem())}
		l.text, l.short = t.missingOn(m, w, allowed)
		all = append(all, l)
	}
	slices.SortFunc(all, func(a, b line) int {
		return cmp.Or(cmp.Compare(a.lacks, b.lacks), cmp.Compare(a.m.Number, b.m.Number))
	})
	rest := make(map[string]int)
	for i, l := range all {
		if i < limit {
			lines = append(lines, l.m.Name+": "+l.text)
		} else {
			rest[l.short]++
		}
	}
	switch {
	case len(all) == 0:
		lines = append(lines, "no node of the cluster runs procs")
	case len(rest) > 0:
		lines = append(lines, fmt.Sprintf("%d more nodes: %s", len(all)-limit, tally(rest)))
	}
	return lines, true
}

// missingOn says why w is not on m, and the same in a few words.
func (t *Table) missingOn(m *machine, w *waiting, allowed func(string) bool) (text, short string) {
	cpu := func() string {
		return fmt.Sprintf("needs %d mCPU; %d in all, %d reserved", w.MCPU, m.cpu, m.usedC)
	}
	mem := func() string {
		return fmt.Sprintf("needs %s of memory; %s in all, %s reserved", size(w.Memory), size(m.mem), size(m.usedM))
	}
	switch {
	case !m.heard:
		return "has not reported yet; it counts as full", "not heard"
	case m.silent:
		return "does not answer; it counts as full", "silent"
	case m.Draining:
		return "is draining", "draining"
	case w.Domain != "" && m.place != w.Domain:
		return fmt.Sprintf("is in domain %q; %q is wanted", m.Domain, w.Domain), "in another domain"
	case w.MCPU > m.cpu:
		return cpu(), "too small"
	case w.Memory > m.mem:
		return mem(), "too small"
	case !allowed(m.place):
		if t.unheardIn[m.place] > 0 {
			return "a node of its failure domain has not reported yet, and may hold a proc that this one must be apart from", "in a domain with a node not heard"
		}
		return "its failure domain has a proc that this one must be apart from", "in a domain that is taken"
	case m.stale:
		return "refused what it seemed to have room for; it is asked again after its next report", "refusing"
	case m.claim != nil && m.claim != w:
		return "is kept free for a proc that has waited longer", "kept for others"
	case w.MCPU > m.freeCPU():
		return cpu(), "full"
	case w.Memory > m.freeMem():
		return mem(), "full"
	}
	return "it fits; its turn has not come", "fitting"
}

func tally(n map[string]int) string {
	var parts []string
	for k, v := range n {
		parts = append(parts, fmt.Sprintf("%d %s", v, k))
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
}
