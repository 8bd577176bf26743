package mr

import (
	"bytes"
	"cmp"
	"slices"
)

// item stands for a pair while a table is sorted.
type item struct {
	prefix uint64 // eight bytes of the key, those that are looked at
	at     uint32 // of the pair, which is also the order in which they came
}

const (
	few     = 32 // items that are compared with each other
	deepest = 64 // bytes of equal keys, from where on the others are, too
)

// sort is the order of the pairs: by bins, keys, and as they came. It is valid until
// the next pair.
//
// Words repeat, and comparing them is what a sort by comparison does most. So it
// distributes them, a byte at a time from the first, which leaves pairs in the order
// in which they came where keys are equal.
func (t *table) sort() []item {
	n := len(t.pairs)
	if n > cap(t.items) {
		t.items, t.aside = make([]item, n), make([]item, n)
	}
	t.items, t.aside = t.items[:n], t.aside[:n]
	ends := make([]int, t.bins+1)
	for i := range t.pairs {
		ends[t.pairs[i].bin+1]++
	}
	for b := range t.bins {
		ends[b+1] += ends[b]
	}
	for i := range t.pairs {
		p := &t.pairs[i]
		t.items[ends[p.bin]] = item{prefixOf(t.key(p)), uint32(i)}
		ends[p.bin]++
	}
	from := 0
	for _, end := range ends[:t.bins] {
		t.byBytes(t.items[from:end], t.aside[from:end], 0, 56)
		from = end
	}
	return t.items
}

// byBytes sorts items whose keys are equal up to depth, and in their prefixes, which
// begin there, above the byte at shift. aside is room for as many.
func (t *table) byBytes(list, aside []item, depth, shift int) {
	if len(list) <= few || depth > deepest {
		slices.SortFunc(list, t.compare)
		return
	}
	if shift < 0 {
		t.byRest(list, aside, depth+8)
		return
	}
	var ends [256]int
	for i := range list {
		ends[byte(list[i].prefix>>shift)]++
	}
	if ends[byte(list[0].prefix>>shift)] == len(list) {
		t.byBytes(list, aside, depth, shift-8)
		return
	}
	sum := 0
	for b, n := range ends {
		ends[b] = sum
		sum += n
	}
	for _, it := range list {
		b := byte(it.prefix >> shift)
		aside[ends[b]] = it
		ends[b]++
	}
	copy(list, aside)
	from := 0
	for _, end := range ends {
		if end-from > 1 {
			t.byBytes(list[from:end], aside[from:end], depth, shift-8)
		}
		from = end
	}
}

// byRest sorts items whose keys are equal up to depth, as far as they are so long:
// what a short one lacks counts as zeros, so the shorter is before the longer.
func (t *table) byRest(list, aside []item, depth int) {
	short, long, even := 0, 0, true
	first := t.pairs[list[0].at].keyLen
	for _, it := range list {
		p := &t.pairs[it.at]
		if int(p.keyLen) > depth {
			it.prefix = prefixOf(t.key(p)[depth:])
			aside[long] = it
			long++
			continue
		}
		even = even && p.keyLen == first
		list[short] = it
		short++
	}
	copy(list[short:], aside[:long])
	if short > 0 && !even {
		slices.SortFunc(list[:short], t.compare)
	}
	if long > 1 {
		t.byBytes(list[short:], aside[short:], depth, 56)
	}
}

func (t *table) compare(a, b item) int {
	if a.prefix != b.prefix {
		return cmp.Compare(a.prefix, b.prefix)
	}
	if c := bytes.Compare(t.key(&t.pairs[a.at]), t.key(&t.pairs[b.at])); c != 0 {
		return c
	}
	return cmp.Compare(a.at, b.at)
}
