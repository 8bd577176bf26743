// Package cleanup is an undo stack for set-ups of several steps: each step
// adds how to take it back, and success releases them all.
package cleanup

// Stack runs its functions in reverse order unless released.
type Stack struct{ fns []func() }

// Make returns a stack with a first function.
func Make(fn func()) *Stack { return &Stack{fns: []func(){fn}} }

// Add puts fn on the stack.
func (s *Stack) Add(fn func()) { s.fns = append(s.fns, fn) }

// Clean runs everything, last added first; a second call does nothing.
func (s *Stack) Clean() {
	fns := s.fns
	s.fns = nil
	for i := len(fns) - 1; i >= 0; i-- {
		fns[i]()
	}
}

// Release forgets everything: the set-up stands.
func (s *Stack) Release() { s.fns = nil }
