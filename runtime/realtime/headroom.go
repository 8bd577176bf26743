package realtime

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	goruntime "runtime"
	"time"

	"sigmaos/runtime/cgroup"
)

const (
	// idle is the part of a virtual machine that best-effort procs leave alone.
	idle = 0.03
	// worth is what latency-critical procs use of a CPU where that is worth it: with
	// little to do they have done it soon after a moment in which the machine stood still.
	worth = 0.1
	// follow is how fast a change of what others use is followed, and step the least
	// one, in CPUs, for which the limit is set anew: each time costs the kernel a
	// look at all CPUs.
	follow = 30 * time.Millisecond
	step   = 0.04
	// floor of the limit, in CPUs: the kernel takes no less in such short periods.
	floor = 0.1
)

// headroom keeps best-effort procs from using all of a virtual machine's CPU time.
//
// Its host may give it so much in 100 ms, for instance, and what the host does for it
// counts, too: if all its CPUs are busy that ends a few ms early, and a CPU stands still
// for the rest, with whoever is on it. The guest sees no more of that than that its clock
// has moved on. With CPUs busy for 98 % that was seen, with 96 % it was not.
//
// The limit is on best-effort procs alone, since others are not to be kept from what they
// need: so it is what latency-critical procs and sigmad leave, and follows what they use.
// What other programs of the machine use is not looked at: beside a busy one it is all
// used up as before.
type headroom struct {
	limit func(cpus float64) error // nil where there is nothing to do
	cpus  float64
	at    time.Time
	used  time.Duration
	slots time.Duration
	rate  float64 // what latency-critical procs and sigmad use, CPUs
	busy  float64 // and the procs of that
	set   float64 // the limit; 0 is none, below 0 not known
}

func newHeadroom(tree *cgroup.Tree) headroom {
	h := headroom{cpus: float64(goruntime.NumCPU()), set: -1}
	if virtual() {
		h.limit = tree.LimitBestEffort
	}
	return h
}

// virtual reports whether this is a virtual machine, as the CPU says.
func virtual() bool {
	info, err := os.ReadFile("/proc/cpuinfo")
	return err == nil && bytes.Contains(info, []byte(" hypervisor"))
}

// look follows what latency-critical procs and sigmad have used so far, and of that the
// procs.
func (h *headroom) look(now time.Time, used, slots time.Duration) error {
	in, first := now.Sub(h.at), h.at.IsZero()
	a, b := float64(used-h.used)/float64(in), float64(slots-h.slots)/float64(in)
	h.at, h.used, h.slots = now, used, slots
	if h.limit == nil || first || in <= 0 {
		return nil
	}
	h.rate += weight(in, follow) * (a - h.rate)
	h.busy += weight(in, quiet) * (b - h.busy)
	if h.busy < worth/2 || h.busy < worth && h.set <= 0 {
		return h.to(0)
	}
	want := max(floor, h.cpus*(1-idle)-h.rate)
	if d := want - h.set; h.set > 0 && -step < d && d < step {
		return nil
	}
	return h.to(want)
}

// to sets a limit, or takes it off.
func (h *headroom) to(cpus float64) error {
	if h.set == cpus {
		return nil
	}
	limit := cpus
	if cpus == 0 {
		limit = cgroup.Unlimited
	}
	err := h.limit(limit)
	if err == nil {
		h.set = cpus
	}
	if errors.Is(err, fs.ErrNotExist) { // a kernel without CFS_BANDWIDTH
		h.limit = nil
	}
	return err
}

// weight of what a time has brought in an average over another.
func weight(in, over time.Duration) float64 { return float64(in) / float64(in+over) }

// lift forgets. Whoever gives the real-time time back takes the limit off.
func (h *headroom) lift() {
	h.at, h.rate, h.busy, h.set = time.Time{}, 0, 0, -1
}
