package attack

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

const (
	eperm  = -int64(syscall.EPERM)
	enosys = -int64(syscall.ENOSYS)
	enoent = -int64(syscall.ENOENT)
	eacces = -int64(syscall.EACCES)
	erofs  = -int64(syscall.EROFS)
	enomem = -int64(syscall.ENOMEM)
)

// check is one row being tried: it runs probes and notes what should not be. Like
// a testing.T it goes on after errorf and ends with fatalf.
type check struct {
	ctx    context.Context
	s      *Suite
	result *Result
}

type abort struct{}

func (c *check) recover() {
	if r := recover(); r != nil && r != (abort{}) {
		panic(r)
	}
}

// enough findings of one row say all.
const enough = 20

func (c *check) errorf(format string, args ...any) {
	if len(c.result.Findings) < enough {
		c.result.Findings = append(c.result.Findings, fmt.Sprintf(format, args...))
	}
}

func (c *check) fatalf(format string, args ...any) {
	c.errorf(format, args...)
	panic(abort{})
}

// spawn starts a probe.
func (c *check) spawn(in *admin.Client, d *api.ProcDesc) api.ProcID {
	id, err := in.Spawn(c.ctx, d)
	if err != nil {
		c.fatalf("spawning %v: %v", d.Args, err)
	}
	return id
}

// running starts a probe and waits for its Started.
func (c *check) running(in *admin.Client, d *api.ProcDesc) api.ProcID {
	ctx, cancel := context.WithTimeout(c.ctx, c.s.opt.Longer)
	defer cancel()
	id := c.spawn(in, d)
	if err := in.WaitStart(ctx, id); err != nil {
		c.fatalf("starting %v: %v", d.Args, err)
	}
	return id
}

// await is the end of a proc; one that does not come within the bound is brought
// about, and noted.
func (c *check) await(in *admin.Client, id api.ProcID, within time.Duration) api.Status {
	ctx, cancel := context.WithTimeout(c.ctx, within)
	defer cancel()
	st, err := in.WaitExit(ctx, id)
	if err == nil {
		return st
	}
	c.errorf("%s has not ended after %v", id, within)
	ctx, cancel = context.WithTimeout(context.WithoutCancel(c.ctx), 10*time.Second)
	defer cancel()
	in.Kill(ctx, id, 0)
	if st, err = in.WaitExit(ctx, id); err != nil {
		c.fatalf("and cannot be killed: %v", err)
	}
	return st
}

// kill ends a proc at once and holds the node to its second for it.
func (c *check) kill(in *admin.Client, id api.ProcID, grace, within time.Duration) {
	if err := in.Kill(c.ctx, id, grace); err != nil {
		c.errorf("killing %s: %v", id, err)
		return
	}
	if st := c.await(in, id, within); st.State != api.Killed {
		c.errorf("%s, killed, came to %v", id, st)
	}
}

// said is what a probe printed. Its attempts are counted.
func (c *check) said(in *admin.Client, id api.ProcID) []Attempt {
	got, err := Lines(c.ctx, in, id, true)
	if err != nil {
		c.fatalf("%v", err)
	}
	for _, a := range got {
		name := a.Try
		if name == "" {
			name = fmt.Sprintf("call %d %v", a.NR, a.Args)
		}
		c.result.Answers[a.Row+" "+name] = a.R
		if name != "end" {
			c.result.Attempts++
		}
	}
	return got
}

// printed waits until a probe that runs has printed an attempt.
func (c *check) printed(in *admin.Client, id api.ProcID, try string) {
	for end := time.Now().Add(c.s.opt.Longer); ; time.Sleep(10 * time.Millisecond) {
		got, err := Lines(c.ctx, in, id, false)
		if err == nil && slices.ContainsFunc(got, func(a Attempt) bool { return a.Try == try }) {
			return
		}
		if time.Now().After(end) || c.ctx.Err() != nil {
			c.fatalf("%s has not come to %q: %v, %v", id, try, got, err)
		}
	}
}

// row runs a row of the probe to its end and returns its attempts. One that does
// not come to its end ends the check.
func (c *check) row(row string, args ...string) []Attempt {
	return c.run(c.s.c, Describe(row, args...))
}

func (c *check) run(in *admin.Client, d *api.ProcDesc) []Attempt {
	id := c.spawn(in, d)
	st := c.await(in, id, c.s.opt.Longer)
	got, err := ToItsEnd(c.said(in, id), st)
	if err != nil {
		c.fatalf("probe %v %v", d.Args[:1], err)
	}
	return got
}

// answers are those of [Refused].
type answers map[string][]int64

func (c *check) refused(got []Attempt, atLeast int, but answers) {
	for _, f := range Refused(got, atLeast, but) {
		c.errorf("%s", f)
	}
}

// find returns the attempt of a name.
func (c *check) find(got []Attempt, try string) Attempt {
	a, err := Find(got, try)
	if err != nil {
		c.fatalf("%v", err)
	}
	return a
}

// dies runs a probe that must end by one of the signals without a word.
func (c *check) dies(d *api.ProcDesc, signals ...int) {
	id := c.spawn(c.s.c, d)
	st := c.await(c.s.c, id, c.s.opt.Longer)
	got := c.said(c.s.c, id)
	c.result.Attempts++
	c.result.Answers[fmt.Sprint(d.Args)] = int64(st.Signal)
	if st.State != api.Signal || !slices.Contains(signals, st.Signal) || len(got) != 0 {
		c.errorf("%v: %v and lines %v, want death by signal %v and none", d.Args, st, got, signals)
	}
}
