package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/roles/doctor/attack"
	"sigmaos/sigma/admin"
)

// hostile is the node on which the rows of PROBES.md are tried. What they must not
// reach is set out by the suite.
type hostile struct {
	*Node
	c, other *admin.Client
	sleeper  string
	suite    *attack.Suite // the rows that `doctor --attack` has, and the canaries
}

var shared struct {
	once sync.Once
	h    *hostile
	err  error
}

// onHostile returns the shared node for t; at t's end the canaries must be as
// they were.
func onHostile(t *testing.T) *hostile {
	t.Helper()
	needRoot(t)
	Proc(t, "probe")
	shared.once.Do(func() {
		defer func() {
			if r := recover(); r != nil {
				shared.err = fmt.Errorf("%v", r)
			}
		}()
		shared.h = startHostile()
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	h := *shared.h
	h.Node = h.Node.For(t)
	t.Cleanup(func() { h.intact(t) })
	return &h
}

// late reports for the shared node, which belongs to no test.
type late struct{ failed *bool }

func (late) Helper()                    {}
func (late) Logf(f string, args ...any) { fmt.Fprintf(os.Stderr, f+"\n", args...) }
func (l late) Errorf(f string, args ...any) {
	*l.failed = true
	fmt.Fprintf(os.Stderr, "the shared node: "+f+"\n", args...)
}
func (l late) Fatalf(f string, args ...any) { panic(fmt.Sprintf("the shared node: "+f, args...)) }

func startHostile() *hostile {
	dir, err := os.MkdirTemp("", "sigma-hostile")
	if err != nil {
		panic(err)
	}
	h := &hostile{Node: newNode(late{new(bool)}, dir)}
	h.Start()
	h.c = h.Client("default")
	if _, err := h.c.CreateRealm(context.Background(), api.Realm{Name: "other"}); err != nil {
		panic(err)
	}
	h.other = h.Client("other")
	h.sleeper = h.Upload("testproc")
	h.UploadTo("other", "testproc")
	h.Upload("probe")
	h.UploadTo("other", "probe")
	if h.suite, err = attack.New(context.Background(), h.c, attack.Options{Slack: scaled(time.Second, time.Millisecond)}); err != nil {
		panic(err)
	}
	return h
}

// holds runs a row of the suite.
func (h *hostile) holds(row string) {
	h.t.Helper()
	got := h.suite.Try(context.Background(), row)
	if got.State == api.AttackNotTried {
		h.t.(*testing.T).Skip("the row means nothing on this architecture")
	}
	for _, f := range got.Findings {
		h.t.Errorf("%s: %s", row, f)
	}
	if got.Attempts == 0 {
		h.t.Errorf("%s: nothing was tried", row)
	}
}

// stopShared ends the shared node if there is one, and looks for leftovers.
func stopShared() bool {
	if shared.h == nil {
		return true
	}
	if err := shared.h.suite.Close(context.Background()); err != nil {
		shared.h.t.Errorf("the suite: %v", err)
	}
	shared.h.c.Close()
	shared.h.other.Close()
	shared.h.Stop()
	shared.h.AssertNothingLeft()
	os.RemoveAll(shared.h.Dir)
	return !*shared.h.t.(late).failed
}

// sleeper is a proc that says Started and stays.
func sleeper(program string) *api.ProcDesc {
	return &api.ProcDesc{Program: program, Args: []string{"sleep"}, Memory: 16 << 20}
}

// info is one living or ended proc.
func (n *Node) info(c *admin.Client, id api.ProcID) api.ProcInfo {
	n.t.Helper()
	w, err := c.Why(context.Background(), string(id))
	if err != nil {
		n.t.Fatalf("why %s: %v", id, err)
	}
	return w.Proc
}

// intact fails t where a canary is not what it was.
func (h *hostile) intact(t *testing.T) {
	t.Helper()
	for _, f := range h.suite.Intact(context.Background()) {
		t.Error(f)
	}
	select {
	case <-h.done:
		t.Fatalf("sigmad ended: %s", h.err)
	default:
	}
}

// attempt is one line of the probe.
type attempt = attack.Attempt

// probe describes a run of the probe for a row.
func probe(row string, args ...string) *api.ProcDesc {
	return attack.Describe(row, args...)
}

// spawn starts a probe and returns its id.
func (h *hostile) spawn(c *admin.Client, d *api.ProcDesc) api.ProcID {
	h.t.Helper()
	id, err := c.Spawn(context.Background(), d)
	if err != nil {
		h.t.Fatalf("spawning %v: %v", d.Args, err)
	}
	return id
}

// lines is what a probe has printed by its end.
func (h *hostile) lines(c *admin.Client, id api.ProcID) []attempt {
	h.t.Helper()
	got, err := attack.Lines(context.Background(), c, id, true)
	if err != nil {
		h.t.Fatalf("%v", err)
	}
	return got
}

// row runs a row to its end and returns its attempts. One that does not come
// to its end is a failure.
func (h *hostile) row(row string, args ...string) []attempt {
	h.t.Helper()
	return h.rowAs(h.c, probe(row, args...))
}

func (h *hostile) rowAs(c *admin.Client, d *api.ProcDesc) []attempt {
	h.t.Helper()
	id := h.spawn(c, d)
	st := h.Await(c, id)
	got, err := attack.ToItsEnd(h.lines(c, id), st)
	if err != nil {
		h.t.Fatalf("probe %v %v", d.Args, err)
	}
	return got
}

// find returns the attempt of a name.
func find(t *testing.T, got []attempt, try string) attempt {
	t.Helper()
	a, err := attack.Find(got, try)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// amd64Only skips rows that are about conventions of one architecture.
func amd64Only(t *testing.T) {
	t.Helper()
	if runtime.GOARCH != "amd64" {
		t.Skip("the row is about amd64")
	}
}

// soon waits for a proc's end and fails when it takes longer than a bound that
// was promised.
func (h *hostile) soon(c *admin.Client, id api.ProcID, within time.Duration) api.Status {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	st, err := c.WaitExit(ctx, id)
	if err != nil {
		h.t.Fatalf("%s has not ended after %v: %v", id, within, err)
	}
	return st
}

// marked finds the host pids of procs that were spawned with this environment
// entry.
func marked(entry string) (pids []int) {
	all, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, file := range all {
		b, err := os.ReadFile(file)
		if err == nil && slices.Contains(strings.Split(string(b), "\x00"), entry) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			pids = append(pids, pid)
		}
	}
	return pids
}
