package mr

import (
	"bytes"
	"encoding/binary"

	"sigmaos/api"
)

// table holds the pairs that Map emits until it is full: one for each key where
// the job combines, all of them otherwise. Keys and values are in one arena.
type table struct {
	bins     uint32
	limit    int // bytes that it may hold
	pairSize int // of those, for each pair beside its key and value
	fold     func(acc, value []byte) []byte

	arena []byte
	pairs []pair
	index []uint32 // with fold: a hash table of places in pairs, plus one

	items, aside []item // to sort

	free []func()
}

type pair struct {
	key, value uint32 // where they are in the arena
	keyLen     uint32
	valueLen   uint32
	valueCap   uint32
	bin        uint32
	hash       uint32
}

const (
	pairSize = 28
	itemSize = 2 * 16 // per pair
	foldSize = 8      // per pair with fold, at the worst load
)

func newTable(bins, limit int, fold func(acc, value []byte) []byte) *table {
	t := &table{bins: uint32(bins), limit: min(limit, 1<<31), fold: fold, free: make([]func(), 5), pairSize: pairSize + itemSize}
	if fold != nil {
		t.pairSize += foldSize
	}
	most := t.limit/t.pairSize + 1
	t.arena, t.free[0] = mapped[byte](t.limit + maxPair)
	t.pairs, t.free[1] = mapped[pair](most)
	t.index, t.free[2] = mapped[uint32](4 * most)
	t.items, t.free[3] = mapped[item](most)
	t.aside, t.free[4] = mapped[item](most)
	if fold != nil {
		t.rehash(1024)
	}
	return t
}

// close gives the table's memory back.
func (t *table) close() {
	for _, free := range t.free {
		free()
	}
	*t = table{}
}

// hashOf is FNV-1a with its bits mixed: it is the same in every proc, as bins are.
func hashOf(key []byte) uint64 {
	h := uint64(14695981039346656037)
	for _, b := range key {
		h = (h ^ uint64(b)) * 1099511628211
	}
	h ^= h >> 32
	h *= 0xd6e8feb86659fd93
	return h ^ h>>32
}

func prefixOf(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}

// size is how much it holds.
func (t *table) size() int { return len(t.arena) + len(t.pairs)*t.pairSize }

// full says that the table should be emptied before the next pair.
func (t *table) full() bool { return t.size() >= t.limit }

func (t *table) key(p *pair) []byte { return t.arena[p.key : p.key+p.keyLen] }
func (t *table) val(p *pair) []byte {
	return t.arena[p.value : p.value+p.valueLen : p.value+p.valueCap]
}

// add takes a pair.
func (t *table) add(key, value []byte) error {
	if len(key)+len(value) > maxPair {
		return api.E(api.TooLarge, "emit", "", "a key of %d bytes with a value of %d; at most %d together", len(key), len(value), maxPair)
	}
	h := hashOf(key)
	if t.fold == nil {
		t.push(key, value, h)
		return nil
	}
	mask := uint32(len(t.index) - 1)
	i := uint32(h) & mask
	for ; t.index[i] != 0; i = (i + 1) & mask {
		p := &t.pairs[t.index[i]-1]
		if p.hash == uint32(h) && bytes.Equal(t.key(p), key) {
			return t.combine(p, value)
		}
	}
	t.push(key, value, h)
	t.index[i] = uint32(len(t.pairs))
	if len(t.pairs)*2 > len(t.index) {
		t.rehash(len(t.index) * 2)
	}
	return nil
}

func (t *table) push(key, value []byte, h uint64) {
	p := pair{hash: uint32(h), bin: uint32(h>>32) % t.bins}
	p.key, p.keyLen = t.put(key)
	p.value, p.valueLen = t.put(value)
	p.valueCap = p.valueLen
	t.pairs = append(t.pairs, p)
}

func (t *table) put(b []byte) (at, n uint32) {
	at = uint32(len(t.arena))
	t.arena = append(t.arena, b...)
	return at, uint32(len(b))
}

// combine folds a value into a pair: in its place, or, when it grew, behind all
// others with some room to grow.
func (t *table) combine(p *pair, value []byte) error {
	v := t.fold(t.val(p), value)
	n := uint32(len(v))
	switch {
	case n <= p.valueCap:
		copy(t.arena[p.value:], v)
	case int(p.keyLen)+len(v) > maxPair:
		return api.E(api.TooLarge, "combine", "", "a value of %d bytes; at most %d with its key", len(v), maxPair)
	default:
		p.value, _ = t.put(v)
		p.valueCap = n + n/2
		t.arena = append(t.arena, make([]byte, n/2)...)
	}
	p.valueLen = n
	return nil
}

func (t *table) rehash(n int) {
	if n > cap(t.index) {
		t.index = make([]uint32, n)
	}
	t.index = t.index[:n]
	clear(t.index)
	mask := uint32(n - 1)
	for k := range t.pairs {
		i := t.pairs[k].hash & mask
		for t.index[i] != 0 {
			i = (i + 1) & mask
		}
		t.index[i] = uint32(k + 1)
	}
}

// reset empties the table, and keeps its memory.
func (t *table) reset() {
	t.arena, t.pairs = t.arena[:0], t.pairs[:0]
	clear(t.index)
}
