package memfs

import "slices"

// names is an ordered set: sorted pieces of bounded length, so that a name more
// costs the same in a directory of ten and of a hundred thousand.
type names struct {
	pieces [][]string // none is empty
}

const pieceMax = 512

// piece is the index of the first piece whose last name is not below name.
func (s *names) piece(name string) int {
	i, _ := slices.BinarySearchFunc(s.pieces, name, func(p []string, name string) int {
		if p[len(p)-1] < name {
			return -1
		}
		return 1
	})
	return i
}

// insert adds a name that is not there.
func (s *names) insert(name string) {
	if len(s.pieces) == 0 {
		s.pieces = append(s.pieces, []string{name})
		return
	}
	i := min(s.piece(name), len(s.pieces)-1)
	p := s.pieces[i]
	j, _ := slices.BinarySearch(p, name)
	p = slices.Insert(p, j, name)
	s.pieces[i] = p
	if len(p) > pieceMax {
		half := slices.Clone(p[pieceMax/2:])
		clear(p[pieceMax/2:])
		s.pieces[i] = p[:pieceMax/2]
		s.pieces = slices.Insert(s.pieces, i+1, half)
	}
}

// remove takes a name away that is there.
func (s *names) remove(name string) {
	i := s.piece(name)
	p := s.pieces[i]
	j, _ := slices.BinarySearch(p, name)
	if p = slices.Delete(p, j, j+1); len(p) == 0 {
		s.pieces = slices.Delete(s.pieces, i, i+1)
		return
	}
	s.pieces[i] = p
}

// after returns up to max names behind name.
func (s *names) after(name string, max int) (out []string) {
	for i := s.piece(name); i < len(s.pieces) && len(out) < max; i++ {
		p := s.pieces[i]
		j := 0
		if p[0] <= name {
			var found bool
			if j, found = slices.BinarySearch(p, name); found {
				j++
			}
		}
		out = append(out, p[j:min(len(p), j+max-len(out))]...)
	}
	return out
}
