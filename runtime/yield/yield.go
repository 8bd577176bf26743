// Package yield decides whether best-effort procs give way to the rest of the
// machine.
//
// What runs beside σOS on a machine, its own daemons and whatever else it is used
// for, has a claim too. To latency-critical procs best-effort ones always give way.
// Whether they give way to the others as well makes no difference to how much they
// get, as long as the others want little; but it makes one to how soon the others run,
// and with them everything that waits for a CPU on which they are. So best-effort procs
// yield while the machine is otherwise quiet. Where something else wants most of it,
// that would leave them nothing at all: then they compete as one group that weighs as
// much as the machine has CPUs.
//
// A [Yielder] looks once a second at the CPU time that was used outside our groups.
// Nodes that share a machine see the same and say the same.
package yield

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
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
	Yield(on bool) error
	// Spent is the CPU time of all groups that are ours.
	Spent() (time.Duration, error)
}

// Yielder looks, and tells the groups. Its owner closes it.
type Yielder struct {
	groups Groups
	log    *slog.Logger
	stop   context.CancelFunc
	wg     sync.WaitGroup
}

// Start begins. Until the first look the groups do not yield.
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
	var p policy
	last, err := y.look()
	for wait := first; err == nil; wait = every {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		var now usage
		if now, err = y.look(); err != nil {
			break
		}
		before := p.yields
		d := now.at.Sub(last.at)
		if p.see(now.others(last), d); p.yields != before {
			err = y.groups.Yield(p.yields)
			y.log.Debug("yield: to the rest of the machine", "yields", p.yields, "others", now.others(last))
		}
		last = now
	}
	y.log.Warn("best-effort procs compete with the rest of the machine, which latency-critical procs may notice", "err", err)
	y.groups.Yield(false)
}

// usage is what was used up to a moment.
type usage struct {
	at        time.Time
	all, ours time.Duration
}

// others is the part of the machine that was used outside our groups since before.
func (u usage) others(before usage) float64 {
	d := u.at.Sub(before.at) * time.Duration(runtime.NumCPU())
	if d <= 0 {
		return 0
	}
	return float64(u.all-before.all-(u.ours-before.ours)) / float64(d)
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

// busy is the time in which the CPUs did something, from /proc/stat: of user, nice,
// system, idle, iowait, irq, softirq and what follows, all but the idle two and what
// follows.
func busy(stat string) (sum time.Duration, err error) {
	line, _, _ := strings.Cut(stat, "\n")
	f := strings.Fields(line)
	if len(f) < 8 || f[0] != "cpu" {
		return 0, fmt.Errorf("yield: /proc/stat begins with %q", line)
	}
	for _, i := range []int{1, 2, 3, 6, 7} {
		n, err := strconv.ParseInt(f[i], 10, 64)
		if err != nil {
			return 0, fmt.Errorf("yield: /proc/stat: %w", err)
		}
		sum += time.Duration(n) * tick
	}
	return sum, nil
}
