package sim

import "time"

// local is what a message to the own node takes.
const local = 5 * time.Microsecond

// send carries a message. Between two nodes messages keep their order, as on a
// stream, but one may be lost with the link, or come twice. sent is false if it is
// lost: then both ends notice in time, and the homes of the procs that it was about
// ask after them. What comes to a dead machine is lost too; of that gossip tells.
func (w *world) send(from, to *inst, do func(), about ...*proc) (sent bool) {
	if from == to {
		w.after(local, func() {
			if !to.dead {
				do()
			}
		})
		return true
	}
	if !w.quiet && w.cfg.Loss > 0 && w.rng.Float64() < w.cfg.Loss {
		w.stats.dropped++
		w.worry(about)
		for _, p := range about {
			w.after(w.between(100*time.Millisecond, time.Second), func() { p.home.ask(p) })
		}
		return false
	}
	link := [2]uint16{from.number, to.number}
	at := max(w.now+w.between(w.cfg.Delay, 4*w.cfg.Delay), w.links[link]+1)
	arrive := func() {
		if to.dead {
			w.worry(about)
			return
		}
		do()
	}
	w.at(at, arrive)
	if w.cfg.Double > 0 && w.rng.Float64() < w.cfg.Double {
		at++
		w.at(at, arrive)
	}
	w.links[link] = at
	return true
}

// worry notes that something is wrong with procs from now on.
func (w *world) worry(about []*proc) {
	for _, p := range about {
		if p.final == alive && p.trouble == 0 {
			p.trouble = w.now
		}
	}
}
