package attack

import (
	"context"
	"slices"
	"strings"
	"time"

	"sigmaos/api"
)

// Rows in which a proc misbehaves while it runs, and exhaustion.
var runRows = []row{
	{id: "P15", title: "ignores signals, forks, leaves its session", check: func(c *check) { killed(c, "P15") }},
	{id: "P16", title: "stops itself", check: func(c *check) { killed(c, "P16") }},
	{id: "R1", title: "thread bomb", check: threads},
	{id: "R2", title: "every kind of memory", check: memory},
	{id: "R4", title: "descriptors", check: descriptors},
	{id: "R6", title: "storm of cold starts", elsewhere: "TestEvictKeepsTheQuota in runtime/binfs"},
	{id: "R7", title: "a hundred spinning threads", check: func(c *check) { storm(c, "R7") }},
	{id: "R8", title: "storm of spawns", elsewhere: "TestPROBES_R8"},
	{id: "R9", title: "flood of output", elsewhere: "TestPROBES_R9_F35"},
	{id: "R10", title: "timers, membarriers, interrupts", check: func(c *check) { storm(c, "R10") }},
	{id: "R11", title: "disk", elsewhere: "TestPROBES_R11 in naming/ux"},
	{id: "R12", title: "network", elsewhere: "TestPROBES_R12 in net/qos"},
	{id: "R13", title: "ports", elsewhere: "TestPROBES_N19"},
	// Last: where it gets through, nothing of that slot means anything any more.
	{id: "P18", title: "what the last proc of a slot left", check: slotForgets},
}

// killed: Kill ends what ignores everything, within a second of its grace.
func killed(c *check, row string) {
	id := c.running(c.s.c, Describe(row))
	c.kill(c.s.c, id, 50*time.Millisecond, 1050*time.Millisecond+c.s.opt.Slack)
	for _, a := range c.said(c.s.c, id) {
		if (a.Try == "fork" || a.Try == "setsid") && a.R != eperm && a.R != enosys || a.Try == "went on" {
			c.errorf("%s: %d (%v)", a.Try, a.R, a.Errno())
		}
	}
	c.result.Attempts++
}

// slotForgets looks, stains, looks again: nothing is different.
func slotForgets(c *check) {
	want := c.row("P18look")
	for _, a := range c.row("P18stain") {
		if strings.HasPrefix(a.Try, "limit of pid 1") && a.R != eperm && a.R != enosys {
			c.errorf("%s: %d", a.Try, a.R)
		}
	}
	got := c.row("P18look")
	for i, w := range want {
		if g := got[i]; g.Try != w.Try || w.Try != "pid" && w.Try != "status" && (g.R != w.R || g.Text != w.Text) {
			c.errorf("before %v, after another proc %v", w, g)
		}
	}
	c.everyLayer(c.find(got, "status").Text)
	if n := c.find(got, "bytes that are not zero").R; n != 0 {
		c.errorf("%d bytes of new memory are not zero", n)
	}
}

func threads(c *check) {
	d := Describe("R1")
	d.Threads = 20
	got := c.run(c.s.c, d)
	if n, r := c.find(got, "threads").R, c.find(got, "then").R; n != 19 || r != -11 {
		c.errorf("with a limit of 20 threads it made %d more, then came %d, want EAGAIN", n, r)
	}
}

// memory: each kind counts against the proc alone, and ends it alone.
func memory(c *check) {
	for _, kind := range []string{"anon", "huge", "tables", "stack", "pipes"} {
		d := Describe("R2", kind)
		d.Memory, d.FDs = 24<<20, 4096
		id := c.spawn(c.s.c, d)
		st := c.await(c.s.c, id, c.s.opt.Longer)
		got := c.said(c.s.c, id)
		refused := st.OK() && len(got) > 1 && got[len(got)-2].Try == "then" && got[len(got)-2].R == enomem // the kernel's own memory may also be refused
		if st.State != api.OOM && !refused || slices.ContainsFunc(got, func(a Attempt) bool { return a.Try == "it had all that" }) {
			c.errorf("%s: %v after %v, want oom", kind, st, got)
		}
		c.result.Attempts++
		for _, f := range c.s.Intact(c.ctx) {
			c.errorf("%s: %s", kind, f)
		}
	}
	for _, a := range append(c.row("R2", "mlock"), c.row("R2", "hugetlb")...) {
		if a.R >= 0 {
			c.errorf("%s was not refused: %d", a.Try, a.R)
		}
	}
	if r := c.find(c.row("R2", "names"), "names").R; r != 0 {
		c.errorf("names that do not exist: %d", r)
	}
}

func descriptors(c *check) {
	d := Describe("R4")
	d.FDs = 64
	const emfile, ebadf = -24, -9
	c.refused(c.run(c.s.c, d), 5, answers{"highest": {63}, "then": {ebadf}, "opened": {emfile}, "pipe": {emfile}, "epoll": {emfile}})
}

// storm: it is counted as the proc's own time, and another realm is served.
func storm(c *check, row string) {
	d := Describe(row)
	d.Threads = 120
	id := c.running(c.s.c, d)
	for _, class := range []api.Class{api.LC, api.BE, api.BE} {
		c.s.beside(c, row, class)
	}
	for end := time.Now().Add(c.s.opt.Longer); ; time.Sleep(50 * time.Millisecond) {
		used, err := c.s.used(c.ctx, id)
		if used > 300*time.Millisecond {
			break
		}
		if err != nil || time.Now().After(end) {
			c.errorf("its CPU time is %v (%v)", used, err)
			break
		}
	}
	c.kill(c.s.c, id, 0, 5*time.Second)
	if w, err := c.s.c.Why(c.ctx, string(id)); err != nil || w.Proc.CPU == 0 {
		c.errorf("its CPU time is %v (%v) at its end", w.Proc.CPU, err)
	}
}

// used is the CPU time of a proc that runs.
func (s *Suite) used(ctx context.Context, id api.ProcID) (time.Duration, error) {
	var t api.Top
	err := s.c.Call(ctx, api.MTop, nil, &t)
	for _, p := range t.Procs {
		if p.ID == id {
			return time.Duration(p.CPU), nil
		}
	}
	return 0, err
}
