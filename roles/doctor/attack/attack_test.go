package attack

import (
	"testing"

	"sigmaos/internal/embedtest"
)

// The embedded probe is what its source gives, where the compilers are those that
// made it.
func TestEmbeddedProbeIsWhatItsSourceGives(t *testing.T) { embedtest.Same(t, "probe", "probe") }

// Every row has a name of its own and is either tried or says where it is.
func TestRowsAreTriedOrSayWhere(t *testing.T) {
	seen := make(map[string]bool)
	for _, r := range rows {
		if seen[r.id] || r.title == "" || (r.check == nil) != (r.elsewhere != "") {
			t.Errorf("row %q, %q: tried %v, elsewhere %q", r.id, r.title, r.check != nil, r.elsewhere)
		}
		seen[r.id] = true
	}
}

// A test that cannot fail is none: answers that are not refusals are findings.
func TestFindings(t *testing.T) {
	try := func(fn func(*check)) []string {
		r := Result{Answers: make(map[string]int64)}
		c := &check{result: &r}
		func() {
			defer c.recover()
			fn(c)
		}()
		return r.Findings
	}
	yes := []Attempt{{Row: "S1", Try: "socket", R: 5}}
	no := []Attempt{{Row: "S1", Try: "socket", R: eperm}}
	for name, tt := range map[string]struct {
		fn   func(*check)
		want int
	}{
		"refused":      {func(c *check) { c.refused(no, 1, nil) }, 0},
		"got through":  {func(c *check) { c.refused(yes, 1, nil) }, 1},
		"too few":      {func(c *check) { c.refused(no, 2, nil) }, 1},
		"listed":       {func(c *check) { c.refused(yes, 1, answers{"so": {5}, "s": {4}}) }, 0},
		"not longest":  {func(c *check) { c.refused(yes, 1, answers{"so": {4}, "s": {5}}) }, 1},
		"a descriptor": {func(c *check) { c.kinds([]Attempt{{R: 9}}, "not found") }, 1},
		"another kind": {func(c *check) { c.kinds([]Attempt{{R: 3, Text: "\x01\x01\x00\x00x"}}, "not found") }, 1},
		"no status":    {func(c *check) { c.everyLayer("Seccomp:\t0\n") }, 14},
	} {
		if got := try(tt.fn); len(got) != tt.want {
			t.Errorf("%s: %d findings %q, want %d", name, len(got), got, tt.want)
		}
	}
}
