package mr

import "bytes"

// merge gives the pairs of sorted sources in the order of keys; those of one key
// in the order of sources.
type merge struct {
	heap []*segment
	size int // to read at a time from each
}

// newMerge begins to read the segments, which are in their order.
func newMerge(list []*segment, size int) (*merge, error) {
	m := &merge{size: size}
	for i, s := range list {
		s.order = i
		ok, err := s.next(size)
		if err != nil {
			return nil, err
		}
		if ok {
			m.heap = append(m.heap, s)
		}
	}
	for i := len(m.heap)/2 - 1; i >= 0; i-- {
		m.down(i)
	}
	return m, nil
}

func (s *segment) before(o *segment) bool {
	if s.prefix != o.prefix {
		return s.prefix < o.prefix
	}
	if c := bytes.Compare(s.key, o.key); c != 0 {
		return c < 0
	}
	return s.order < o.order
}

func (m *merge) down(i int) {
	h := m.heap
	for {
		c := 2*i + 1
		if c >= len(h) {
			return
		}
		if c+1 < len(h) && h[c+1].before(h[c]) {
			c++
		}
		if !h[c].before(h[i]) {
			return
		}
		h[i], h[c] = h[c], h[i]
		i = c
	}
}

// top is the source with the next pair; nil at the end.
func (m *merge) top() *segment {
	if len(m.heap) == 0 {
		return nil
	}
	return m.heap[0]
}

// pop goes on behind the next pair.
func (m *merge) pop() error {
	ok, err := m.heap[0].next(m.size)
	if err != nil {
		return err
	}
	if !ok {
		last := len(m.heap) - 1
		m.heap[0] = m.heap[last]
		m.heap = m.heap[:last]
	}
	m.down(0)
	return nil
}

// Values are the values of one key, in the order of splits and as they were
// emitted there, until Reduce returns.
type Values struct {
	m     *merge
	key   []byte
	began bool
	end   bool
	err   error
}

// Next returns the next value, valid until the call after it; false is the end.
func (v *Values) Next() ([]byte, bool) {
	if v.end {
		return nil, false
	}
	if v.began {
		if v.err = v.m.pop(); v.err != nil {
			v.end = true
			return nil, false
		}
	}
	v.began = true
	t := v.m.top()
	if t == nil || !bytes.Equal(t.key, v.key) {
		v.end = true
		return nil, false
	}
	return t.value, true
}

// eachKey calls fn for each key; what fn leaves of the values is skipped.
func (m *merge) eachKey(fn func(key []byte, v *Values) error) error {
	v := new(Values)
	for t := m.top(); t != nil; t = m.top() {
		key := append(v.key[:0], t.key...)
		*v = Values{m: m, key: key}
		if err := fn(key, v); err != nil {
			if v.err != nil {
				err = v.err
			}
			return err
		}
		for !v.end {
			v.Next()
		}
		if v.err != nil {
			return v.err
		}
	}
	return nil
}
