// Package yield decides whether best-effort procs give way to the rest of the
// machine.
//
// What runs beside σOS on a machine, its own daemons and whatever else it is used
// for, has a claim too. To latency-critical procs best-effort ones always give way.
// Whether they give way to the others as well makes no difference to how much they
// get, as long as the others want little; but it makes one to how soon the others run,
// and with them everything that waits for a CPU on which they are. So best-effort procs
// yield while the machine is otherwise quiet. Where something else wants most of a CPU,
// that would leave those on it nothing at all, and they do not know to leave it: then
// they compete as one group that weighs as much as the machine has CPUs, or as 16 (see
// cgroup.Tree.Yield).
//
// A [Yielder] looks once a second at the CPU time that was used outside our groups,
// on each CPU. What is decided is kept in the groups alone: nodes that share a machine
// take it from there, whoever decided, and one that starts beside others goes on from
// what these have decided.
package yield

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

const (
	first = 200 * time.Millisecond // the first look after the start
	every = time.Second
)

// Groups are the best-effort groups of a machine; see cgroup.Tree.
type Groups interface {
	Yield(decide func(yields bool) bool) error
	// Spent is the CPU time of all groups that are ours, on each CPU.
	Spent() ([]time.Duration, error)
	// Neighbours are the other nodes of the machine.
	Neighbours() int
}

// Yielder looks, and tells the groups. Its owner closes it.
type Yielder struct {
	groups Groups
	log    *slog.Logger
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// Start begins. Until the first look the groups do as they did.
func Start(g Groups, log *slog.Logger) *Yielder {
	ctx, stop := context.WithCancel(context.Background())
	y := &Yielder{groups: g, log: log, stop: stop}
	y.wg.Go(func() { y.run(ctx) })
	return y
}

// Close ends it.
func (y *Yielder) Close() {
	y.stop()
	y.wg.Wait()
}

func (y *Yielder) run(ctx context.Context) {
	p := policy{seen: y.groups.Neighbours() > 0}
	last, err := y.look()
	said := false
	for wait := first; ; wait = every {
		if err != nil {
			if !said {
				y.log.Warn("best-effort procs compete with the rest of the machine until this is mended, which latency-critical procs may notice", "err", err)
			}
			said = true
			y.groups.Yield(func(bool) bool { return false })
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		var now usage
		if now, err = y.look(); err == nil && last.all != nil {
			if err = y.decide(&p, now.others(last), now.at.Sub(last.at)); err == nil {
				said = false
			}
		}
		last = now
	}
}

// decide has the policy decide, and the groups do it; where they cannot, nothing was
// decided.
func (y *Yielder) decide(p *policy, others float64, d time.Duration) error {
	before := *p
	err := y.groups.Yield(func(yields bool) bool {
		next := p.see(yields, others, d)
		if next != yields {
			y.log.Debug("yield: to the rest of the machine", "yields", next, "others", others)
		}
		return next
	})
	if err != nil {
		*p = before
	}
	return err
}

// usage is what was used up to a moment, by the numbers of the CPUs.
type usage struct {
	at   time.Time
	all  map[int]time.Duration // without those that are off; nil where looking failed
	ours []time.Duration
}

// others is the part of a CPU that was used outside our groups since before, on the one
// on which that was most.
func (u usage) others(before usage) (most float64) {
	d := u.at.Sub(before.at)
	if d <= 0 {
		return 0
	}
	for cpu, all := range u.all {
		was, ok := before.all[cpu]
		if !ok || cpu >= min(len(u.ours), len(before.ours)) {
			continue
		}
		used := all - was - (u.ours[cpu] - before.ours[cpu])
		most = max(most, float64(used)/float64(d))
	}
	return most
}

func (y *Yielder) look() (u usage, err error) {
	u.at = time.Now()
	if u.ours, err = y.groups.Spent(); err != nil {
		return u, err
	}
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return u, fmt.Errorf("yield: %w", err)
	}
	u.all, err = busy(string(b))
	return u, err
}

// tick is the unit of /proc/stat: USER_HZ, on all that Linux runs on.
const tick = 10 * time.Millisecond

// busy is the time in which each CPU did something, from /proc/stat: of user, nice,
// system, idle, iowait, irq, softirq and what follows, all but the idle two and what
// follows.
func busy(stat string) (map[int]time.Duration, error) {
	out := make(map[int]time.Duration)
	for line := range strings.Lines(stat) {
		f := strings.Fields(line)
		if len(f) == 0 || !strings.HasPrefix(f[0], "cpu") {
			break // they come first
		}
		if f[0] == "cpu" {
			continue // the sum
		}
		cpu, err := strconv.Atoi(strings.TrimPrefix(f[0], "cpu"))
		if err != nil || len(f) < 8 {
			return nil, fmt.Errorf("yield: /proc/stat has %q", line)
		}
		var sum time.Duration
		for _, i := range []int{1, 2, 3, 6, 7} {
			n, err := strconv.ParseInt(f[i], 10, 64)
			if err != nil {
				return nil, fmt.Errorf("yield: /proc/stat: %w", err)
			}
			sum += time.Duration(n) * tick
		}
		out[cpu] = sum
	}
	if len(out) == 0 {
		return nil, errors.New("yield: /proc/stat has no CPUs")
	}
	return out, nil
}
