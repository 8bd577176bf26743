package sim

import (
	"fmt"
	"time"
)

// loads starts what the realms spawn.
func (w *world) loads() {
	for i := range w.cfg.Realms {
		r := &w.cfg.Realms[i]
		w.at(r.From, func() {
			if r.Backlog > 0 {
				for range r.Backlog {
					w.spawnOne(i)
				}
				return
			}
			w.arrive(i)
		})
	}
}

func (w *world) spawns(r *Realm) bool { return !w.quiet && w.now >= r.From && w.now < r.To }

// arrive spawns one burst and plans the next.
func (w *world) arrive(i int) {
	r := &w.cfg.Realms[i]
	if !w.spawns(r) {
		return
	}
	for range r.Burst {
		w.spawnOne(i)
	}
	w.after(w.exponential(time.Duration(float64(time.Second)*float64(r.Burst)/r.Rate)), func() { w.arrive(i) })
}

// refill replaces an ended proc of a realm that keeps a backlog.
func (w *world) refill(p *proc) {
	if p.load.Backlog > 0 && w.spawns(p.load) {
		w.after(w.between(0, time.Millisecond), func() { w.spawnOne(p.realm) })
	}
}

func (w *world) spawnOne(i int) {
	r := &w.cfg.Realms[i]
	n := w.someone()
	if n == nil || !w.spawns(r) {
		return
	}
	w.spawned++
	p := &proc{id: fmt.Sprint("p", w.spawned), realm: i, load: r, memory: r.Memory, work: r.Work, sleep: r.Sleep}
	if r.LC {
		p.mcpu = r.MCPU
	}
	if r.Random {
		p.memory += w.rng.Int64N(r.Memory)
		p.work, p.sleep = w.exponential(r.Work), w.exponential(r.Sleep)
		if r.LC {
			p.mcpu = r.MCPU/2 + w.rng.Int64N(r.MCPU)
		}
	}
	if r.Spread {
		w.spread++
		p.group = fmt.Sprint("g", w.spread/3)
	}
	p.program = r.Name
	if r.Programs > 1 {
		p.program = fmt.Sprint(r.Name, w.rng.IntN(r.Programs))
	}
	if r.Near {
		p.near[0] = uint16(1 + w.rng.IntN(w.cfg.Nodes)) // it may be dead
	}
	w.stats.spawned(p)
	n.spawn(p)
}

// deaths kills machines as the Config wants.
func (w *world) deaths() {
	if w.cfg.DeathRate > 0 {
		w.after(w.exponential(time.Duration(float64(time.Second)/w.cfg.DeathRate)), func() {
			if n := w.someone(); n != nil && !w.quiet {
				w.kill(n)
				w.deaths()
			}
		})
	}
}

// killLC kills the machine that has lcsched, by gossip's latest word.
func (w *world) killLC() {
	if w.cfg.KillLC <= 0 {
		return
	}
	w.after(w.cfg.KillLC, func() {
		if w.quiet {
			return
		}
		if n := w.cur[w.versions[len(w.versions)-1].lcsched]; n != nil {
			w.kill(n)
		}
		w.killLC()
	})
}
