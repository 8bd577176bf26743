package cleanup

import (
	"slices"
	"testing"
)

func TestStack(t *testing.T) {
	var ran []int
	step := func(n int) func() { return func() { ran = append(ran, n) } }
	for name, tt := range map[string]struct {
		do   func(s *Stack)
		want []int
	}{
		"last added first":       {func(s *Stack) { s.Clean() }, []int{3, 2, 1}},
		"a second time nothing":  {func(s *Stack) { s.Clean(); s.Clean() }, []int{3, 2, 1}},
		"released":               {func(s *Stack) { s.Release(); s.Clean() }, nil},
		"added after a release":  {func(s *Stack) { s.Release(); s.Add(step(4)); s.Clean() }, []int{4}},
		"added while it unwinds": {func(s *Stack) { s.Add(func() { s.Add(step(5)) }); s.Clean(); s.Clean() }, []int{3, 2, 1, 5}},
	} {
		ran = nil
		s := Make(step(1))
		s.Add(step(2))
		s.Add(step(3))
		tt.do(s)
		if !slices.Equal(ran, tt.want) {
			t.Errorf("%s: ran %v, want %v", name, ran, tt.want)
		}
	}
}

// The way it is used: a deferred Clean after a panic undoes what was done.
func TestCleanRunsInAPanic(t *testing.T) {
	undone := false
	func() {
		defer func() { recover() }()
		s := Make(func() { undone = true })
		defer s.Clean()
		panic("half way")
	}()
	if !undone {
		t.Error("the set-up that panicked is not undone")
	}
}
