package yield

import "time"

const (
	// much is the part of a CPU from which on the others are too many to yield to:
	// the best-effort procs that are on it would get next to nothing.
	much = 0.75
	// little is the part of each CPU below which they have to be for calm. When
	// best-effort procs compete, others that want all of it mostly get more.
	little = 0.4
	calm   = 3 * time.Second
	// Others that look calm only while best-effort procs compete want a CPU again
	// as soon as these yield: within soon of it. Each time that happens, the next
	// try takes twice as long, up to longest; peace while best-effort procs yield
	// makes it short again.
	soon    = 5 * time.Second
	longest = time.Minute
	peace   = time.Minute
)

// policy is whether to yield, by what was seen. The zero value does not.
type policy struct {
	seen   bool
	yields bool
	held   time.Duration // for which that has not changed
	quiet  time.Duration // for which the others have used little, since then
	calm   time.Duration // to wait for; 0 is the constant
}

// see takes whether best-effort procs yield now, which another node may have decided,
// and the part of the busiest CPU that the others used for d, and returns whether to
// yield from now on. The first time decides at once.
func (p *policy) see(yields bool, others float64, d time.Duration) bool {
	p.turn(yields)
	p.held += d
	if p.quiet += d; others > little {
		p.quiet = 0
	}
	next := p.yields
	switch {
	case others > much:
		next = false
	case !p.seen, p.quiet >= max(p.calm, calm):
		next = others <= little
	}
	p.seen = true
	if p.yields && p.quiet >= peace {
		p.calm = calm
	}
	p.turn(next)
	return p.yields
}

// turn is a change, if it is one, of whatever origin.
func (p *policy) turn(yields bool) {
	if yields == p.yields {
		return
	}
	if p.yields && p.held <= soon {
		p.calm = min(2*max(p.calm, calm), longest)
	}
	p.yields, p.held, p.quiet = yields, 0, 0
}
