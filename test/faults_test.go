package test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma"
	"sigmaos/sigma/admin"
)

// A proc ends itself at random moments, before and after Started: every waiter
// hears the one status, and there is one record of it.
func TestFAULTS_F1_ProcEndsAtAnyMoment(t *testing.T) {
	h := onHostile(t)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	want := map[string]api.Status{
		"kill": {State: api.Signal, Signal: 9}, "segv": {State: api.Signal, Signal: 11}, "ill": {State: api.Signal, Signal: 4},
		"three": {State: api.Exited, Code: 3}, "zero": {State: api.Exited}, "bye": {State: api.Exited, Message: "finished early"},
	}
	var hows []string
	for how := range want {
		hows = append(hows, how)
	}
	var wg sync.WaitGroup
	bad := make(chan string, 4096)
	for range scaled(240, 5000) {
		how := hows[r.IntN(len(hows))]
		args := []string{how, fmt.Sprint(r.IntN(3000))}
		says := r.IntN(2) == 0
		if says {
			args = append(args, "started")
		}
		d := probe("F1", args...)
		d.Memory = 16 << 20
		id := h.spawn(h.c, d)
		for range 2 {
			wg.Go(func() {
				st, err := h.c.WaitExit(ctx, id)
				if w := want[how]; err != nil || st.State != w.State || st.Code != w.Code || st.Signal != w.Signal || w.Message != "" && st.Message != w.Message {
					bad <- fmt.Sprintf("%v: waitexit %+v %v", args, st, err)
				}
			})
			wg.Go(func() {
				err := h.c.WaitStart(ctx, id)
				var exit *sigma.ExitError
				if says != (err == nil) || err != nil && (!errors.As(err, &exit) || exit.Status.State != want[how].State) {
					bad <- fmt.Sprintf("%v: waitstart %v", args, err)
				}
			})
		}
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Error(b)
	}
	all, err := h.c.Procs(ctx, api.ProcFilter{All: true})
	if err != nil {
		t.Fatal(err)
	}
	seen := make(map[api.ProcID]int)
	for _, p := range all {
		seen[p.ID]++
		if seen[p.ID] > 1 {
			t.Errorf("%s is listed twice", p.ID)
		}
	}
}

// Somebody on the host kills a proc, or the PID 1 of its slot.
func TestFAULTS_F1_KilledFromOutside(t *testing.T) {
	h := onHostile(t)
	for what, want := range map[string]api.State{"proc": api.Signal, "pid 1": api.Lost} {
		d := sleeper(h.sleeper)
		d.Env = []string{"MARK=outside-" + strings.ReplaceAll(what, " ", "")}
		id := h.Running(h.c, d)
		pids := marked(d.Env[0])
		if len(pids) != 1 {
			t.Fatalf("host pids %v", pids)
		}
		pid := pids[0]
		if what == "pid 1" {
			if pid = parentOf(pid); comm(pid) != "slotinit" {
				t.Fatalf("its parent is %s", comm(pid))
			}
		}
		if p, err := os.FindProcess(pid); err != nil || p.Kill() != nil {
			t.Fatal(err)
		}
		if st := h.soon(h.c, id, 5*time.Second); st.State != want {
			t.Errorf("after the %s was killed: %v, want %v", what, st, want)
		}
		if st := h.Run(h.c, &api.ProcDesc{Program: h.sleeper}); !st.OK() {
			t.Errorf("the next proc: %v", st)
		}
	}
}

func TestFAULTS_F4_KilledSigmadLeavesNoProc(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	n.Upload("probe")
	prog := n.Upload("testproc")
	// 50 that run, some of which ignore everything, and 50 that are starting.
	var waits sync.WaitGroup
	var ids []api.ProcID
	for i := range 50 {
		d := sleeper(prog)
		if i%5 == 0 {
			d = probe("P15")
			d.Memory = 16 << 20
		}
		ids = append(ids, n.Running(c, d))
	}
	for range 50 {
		id, err := c.Spawn(context.Background(), sleeper(prog))
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	lost := make(chan error, len(ids))
	for _, id := range ids {
		waits.Go(func() {
			_, err := c.WaitExit(context.Background(), id)
			lost <- err
		})
	}
	n.Kill()
	time.Sleep(time.Second)
	for _, l := range n.left() {
		if strings.HasPrefix(l, "process") || strings.HasPrefix(l, "a mount") {
			t.Errorf("1 s after kill -9: %s", l)
		}
	}
	waits.Wait() // bounded by the test's own time: the connection is gone
	close(lost)
	for err := range lost {
		if api.KindOf(err) != api.Unavailable {
			t.Errorf("a waiter heard %v, want kind %q", err, api.Unavailable)
		}
	}
	n.Start() // cleans; Stop and AssertNothingLeft follow
	c = n.Client("default")
	if _, err := c.WaitExit(context.Background(), ids[0]); api.KindOf(err) != api.NotFound {
		t.Errorf("a proc of the earlier boot: %v", err)
	}
	if st := n.Run(c, &api.ProcDesc{Program: prog}); !st.OK() {
		t.Errorf("after the restart: %v", st)
	}
}

func TestFAULTS_F23_OutOfMemoryDiesAlone(t *testing.T) {
	h := onHostile(t)
	st := h.Run(h.c, &api.ProcDesc{Program: h.sleeper, Args: []string{"mem", "200"}, Memory: 32 << 20})
	if st.State != api.OOM || !strings.Contains(st.Message, "32 MiB") {
		t.Errorf("a proc that needs 200 MiB under a limit of 32: %+v", st)
	}
	// Just below its limit it lives.
	if st := h.Run(h.c, &api.ProcDesc{Program: h.sleeper, Args: []string{"mem", "24"}, Memory: 48 << 20}); !st.OK() {
		t.Errorf("a proc that needs 24 MiB under a limit of 48: %+v", st)
	}
}

func TestFAULTS_F25_ThreadBombsLeaveTheRestAlone(t *testing.T) {
	h := onHostile(t)
	var ids []api.ProcID
	for range 4 {
		d := probe("R1")
		d.Threads = 240
		ids = append(ids, h.spawn(h.c, d))
	}
	for range 20 {
		if st := h.Run(h.other, &api.ProcDesc{Program: h.sleeper, Memory: 16 << 20}); !st.OK() {
			t.Errorf("beside thread bombs: %v", st)
		}
	}
	if _, e, code := h.Ctl("doctor"); code > 1 {
		t.Errorf("a process of the host: status %d, %s", code, e)
	}
	for _, id := range ids {
		h.Await(h.c, id)
		got := h.lines(h.c, id)
		if n, r := find(t, got, "threads").R, find(t, got, "then").R; n != 239 || r != -11 {
			t.Errorf("a bomb under a limit of 240 made %d threads more, then came %d", n, r)
		}
	}
}

// A thousand procs through the queue, twice, back to back: every one has its
// status and its data, and nothing is reserved afterwards.
func TestFAULTS_F28_ExitBurstLosesNothing(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	prog := n.Upload("hello-raw")
	for round := range 2 {
		burst(t, c, 1000, func() *api.ProcDesc {
			return &api.ProcDesc{Program: prog, Args: []string{"-q"}, Memory: 4 << 20}
		}, func(st api.Status) bool { return st.OK() && len(st.Data) > 0 })
		n.nothingReserved(c, round)
	}
}

// Procs that leave at one moment: all run, then all end within 100 ms.
func TestFAULTS_F28_ExitsAtOneMomentLoseNothing(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	n.Upload("probe")
	count := scaled(200, 1000)
	for round := range 2 {
		at := monotonic() + int64(time.Duration(count)*scaled(15*time.Millisecond, 20*time.Millisecond))
		running := make(chan int, 1)
		go func() {
			time.Sleep(time.Duration(at-monotonic()) - 100*time.Millisecond)
			running <- n.top(c).Running
		}()
		burst(t, c, count, func() *api.ProcDesc {
			d := probe("F28", fmt.Sprint(at))
			d.Memory = 4 << 20
			return d
		}, func(st api.Status) bool { return st.OK() && st.Message == "finished early" })
		if k := <-running; k != count {
			t.Logf("round %d: %d of %d ran at that moment", round, k, count)
		}
		n.nothingReserved(c, round)
	}
}

func burst(t *testing.T, c *admin.Client, count int, desc func() *api.ProcDesc, good func(api.Status) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	bad := make(chan string, count)
	for range count {
		id, err := c.Spawn(ctx, desc())
		if err != nil {
			t.Fatal(err)
		}
		wg.Go(func() {
			if st, err := c.WaitExit(ctx, id); err != nil || !good(st) {
				bad <- fmt.Sprintf("%s: %v %v", id, st, err)
			}
		})
	}
	wg.Wait()
	close(bad)
	for b := range bad {
		t.Errorf("a proc of the burst: %s", b)
	}
}

// nothingReserved waits a second at most until no proc holds anything.
func (n *Node) nothingReserved(c *admin.Client, round int) {
	n.t.Helper()
	eventually(n.t, time.Second, fmt.Sprintf("round %d: reservations go", round), func() (bool, string) {
		t := n.top(c)
		return t.MemBE == 0 && t.MemLC == 0 && t.Reserved == 0 && t.Running == 0 && t.Queued == 0, fmt.Sprintf("%+v", t)
	})
}

// A realm is removed while procs of it run, start, wait and are waited for.
func TestFAULTS_F34_RealmRemovedUnderLoad(t *testing.T) {
	h := onHostile(t)
	ctx := context.Background()
	for round := range scaled(3, 30) {
		made, err := h.c.CreateRealm(ctx, api.Realm{Name: "doomed"})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		c := h.Client("doomed")
		prog := h.UploadTo("doomed", "testproc")
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() {
				for i := range 400 {
					d := &api.ProcDesc{Program: prog, Memory: 16 << 20}
					if i%3 == 0 {
						d = sleeper(prog)
					}
					id, err := c.Spawn(ctx, d)
					if err != nil {
						if k := api.KindOf(err); k != api.NotFound {
							t.Errorf("spawn in a realm that goes: %v", err)
						}
						return
					}
					if i%3 != 0 {
						if st, err := c.WaitExit(ctx, id); err == nil && !st.OK() && st.State != api.Killed {
							t.Errorf("a proc of the realm: %v", st)
						}
					}
				}
			})
		}
		time.Sleep(time.Duration(50+rand.IntN(200)) * time.Millisecond)
		if err := h.c.RemoveRealm(ctx, "doomed"); err != nil {
			t.Errorf("realm rm: %v", err)
		}
		wg.Wait()
		if _, err := h.connect("doomed"); api.KindOf(err) != api.NotFound {
			t.Errorf("the removed realm: %v", err)
		}
		h.goneFromDisk(t, made.ID)
	}
}

// goneFromDisk fails for groups, logs and programs of a realm.
func (h *hostile) goneFromDisk(t *testing.T, realm string) {
	t.Helper()
	var left []string
	for _, root := range append(hierarchies(), h.Dir) {
		left = append(left, findNamed(root, realm)...)
	}
	if len(left) > 0 {
		t.Errorf("of realm %s are left %q", realm, left)
	}
}

// Busy cores do not keep the node from serving: its own work has weight, and
// the busy are in the idle class.
func TestFAULTS_F37_NodeServesWhileCoresAreBusy(t *testing.T) {
	h := onHostile(t)
	var ids []api.ProcID
	for range 4 {
		d := probe("R7")
		d.Threads = 120
		ids = append(ids, h.Running(h.c, d))
	}
	worst := make(map[string]time.Duration)
	note := func(what string, begin time.Time) { worst[what] = max(worst[what], time.Since(begin)) }
	for range scaled(40, 1000) {
		begin := time.Now()
		h.top(h.other)
		note("an answer", begin)
		for _, class := range []api.Class{api.LC, api.BE} {
			begin := time.Now()
			if st := h.Run(h.other, &api.ProcDesc{Program: h.sleeper, Class: class, MCPU: map[api.Class]int64{api.LC: 500}[class], Memory: 16 << 20}); !st.OK() {
				t.Errorf("a %v proc: %v", class, st)
			}
			note(fmt.Sprintf("a proc of class %v", class), begin)
		}
	}
	t.Log("worst:", worst)
	for what, bound := range map[string]time.Duration{"an answer": time.Second, "a proc of class LC": 2 * time.Second, "a proc of class BE": 5 * time.Second} {
		if worst[what] > bound {
			t.Errorf("%s took up to %v beside 400 spinning threads, want %v", what, worst[what], bound)
		}
	}
	for _, id := range ids {
		h.c.Kill(context.Background(), id, 0)
		h.soon(h.c, id, 5*time.Second)
	}
}
