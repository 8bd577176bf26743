package lc

// index keeps entries in order and finds the first that has enough of two
// amounts. Entries lie in blocks, and each block knows the most of either amount
// in it, so that a search skips blocks: with 10,000 entries it looks at some
// hundred summaries that lie side by side, and at few entries. An insertion moves
// half a block. Trees were no faster at these sizes, and are longer.
type index[T any] struct {
	sums   []summary
	blocks [][]entry[T]
	n      int
	spare  []entry[T] // an empty block: an index of few entries is often empty
}

// pos is the place of an entry: by key, then by tie.
type pos struct {
	key float64
	tie uint64
}

func (p pos) less(q pos) bool { return p.key < q.key || p.key == q.key && p.tie < q.tie }

type entry[T any] struct {
	pos
	a, b int64 // the amounts
	ref  T
}

type summary struct {
	first pos
	a, b  int64 // the most in the block
}

const (
	blockMax = 64
	blockMin = 16
)

// block is the one that p lies in, or would.
func (x *index[T]) block(p pos) int {
	lo, hi := 0, len(x.sums)
	for lo < hi {
		if i := int(uint(lo+hi) >> 1); p.less(x.sums[i].first) {
			hi = i
		} else {
			lo = i + 1
		}
	}
	return max(0, lo-1)
}

// place is where p lies in a block, or would.
func place[T any](b []entry[T], p pos) int {
	lo, hi := 0, len(b)
	for lo < hi {
		if i := int(uint(lo+hi) >> 1); b[i].pos.less(p) {
			lo = i + 1
		} else {
			hi = i
		}
	}
	return lo
}

func (x *index[T]) insert(e entry[T]) {
	x.n++
	if len(x.blocks) == 0 {
		x.blocks = append(x.blocks, x.newBlock())
		x.sums = append(x.sums, summary{})
	}
	i := x.block(e.pos)
	b := x.blocks[i]
	at := place(b, e.pos)
	b = append(b, entry[T]{})
	copy(b[at+1:], b[at:])
	b[at] = e
	x.blocks[i] = b
	if len(b) == blockMax {
		x.split(i)
		return
	}
	s := &x.sums[i]
	if len(b) == 1 {
		s.a, s.b = e.a, e.b
	}
	s.first, s.a, s.b = b[0].pos, max(s.a, e.a), max(s.b, e.b)
}

// remove takes out the entry at p, which must be there.
func (x *index[T]) remove(p pos) {
	i := x.block(p)
	b := x.blocks[i]
	at := place(b, p)
	e := b[at]
	copy(b[at:], b[at+1:])
	b[len(b)-1] = entry[T]{}
	b = b[:len(b)-1]
	x.blocks[i] = b
	x.n--
	if len(b) < blockMin && x.join(i) {
		return
	}
	if s := &x.sums[i]; at == 0 || e.a == s.a || e.b == s.b {
		*s = summarize(b)
	}
}

func (x *index[T]) split(i int) {
	b := x.blocks[i]
	half := append(x.newBlock(), b[blockMax/2:]...)
	clear(b[blockMax/2:])
	x.blocks[i] = b[:blockMax/2]
	x.blocks = append(x.blocks, nil)
	copy(x.blocks[i+2:], x.blocks[i+1:])
	x.blocks[i+1] = half
	x.sums = append(x.sums, summary{})
	copy(x.sums[i+2:], x.sums[i+1:])
	x.sums[i], x.sums[i+1] = summarize(x.blocks[i]), summarize(half)
}

// join puts the small block i together with a neighbour if both fit well into
// one, and drops it if it is empty.
func (x *index[T]) join(i int) bool {
	switch {
	case i+1 < len(x.blocks) && len(x.blocks[i])+len(x.blocks[i+1]) <= blockMax*3/4:
	case i > 0 && len(x.blocks[i])+len(x.blocks[i-1]) <= blockMax*3/4:
		i--
	case len(x.blocks[i]) == 0:
		x.drop(i)
		return true
	default:
		return false
	}
	x.blocks[i] = append(x.blocks[i], x.blocks[i+1]...)
	x.sums[i] = summarize(x.blocks[i])
	x.drop(i + 1)
	return true
}

func (x *index[T]) newBlock() []entry[T] {
	if b := x.spare; b != nil {
		x.spare = nil
		return b
	}
	return make([]entry[T], 0, blockMax)
}

func (x *index[T]) drop(i int) {
	clear(x.blocks[i])
	x.spare = x.blocks[i][:0]
	x.blocks = append(x.blocks[:i], x.blocks[i+1:]...)
	x.sums = append(x.sums[:i], x.sums[i+1:]...)
}

func summarize[T any](b []entry[T]) summary {
	if len(b) == 0 {
		return summary{}
	}
	s := summary{first: b[0].pos, a: b[0].a, b: b[0].b}
	for i := range b {
		s.a, s.b = max(s.a, b[i].a), max(s.b, b[i].b)
	}
	return s
}

// search returns the first entry from key on that has a and b at least, and for
// which ok, if there is one, holds.
func (x *index[T]) search(key float64, a, b int64, ok func(T) bool) (ref T, found bool) {
	for i := x.block(pos{key: key}); i < len(x.sums); i++ {
		if s := &x.sums[i]; s.a < a || s.b < b {
			continue
		}
		for j := range x.blocks[i] {
			e := &x.blocks[i][j]
			if e.a >= a && e.b >= b && e.key >= key && (ok == nil || ok(e.ref)) {
				return e.ref, true
			}
		}
	}
	return ref, false
}

// each visits all entries in order until f says no.
func (x *index[T]) each(f func(e *entry[T]) bool) {
	for _, b := range x.blocks {
		for j := range b {
			if !f(&b[j]) {
				return
			}
		}
	}
}
