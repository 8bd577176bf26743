package yield

import "time"

const (
	// much is the part of the machine from which on the others are too many to
	// yield to.
	much = 0.75
	// little is the part below which they have to be for calm. When best-effort
	// procs compete, others that want all of it still get more.
	little = 0.4
	calm   = 3 * time.Second
)

// policy is whether to yield, by what was seen. The zero value does not.
type policy struct {
	seen   bool
	yields bool
	quiet  time.Duration // for which the others have used little
}

// see takes the part of the machine that the others used for d. The first time
// decides at once.
func (p *policy) see(others float64, d time.Duration) {
	if p.quiet += d; others > little {
		p.quiet = 0
	}
	switch {
	case others > much:
		p.yields = false
	case !p.seen, p.quiet >= calm:
		p.yields = others <= little
	}
	p.seen = true
}
