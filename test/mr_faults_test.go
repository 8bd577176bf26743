package test

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
	"sigmaos/sigma/job"
	"sigmaos/sigma/mr"
	"sigmaos/sigma/tasks"
)

// slowInput is lines that mrtest's slow job takes a while for.
func slowInput(lines int) map[string]string {
	var b strings.Builder
	for i := range lines {
		fmt.Fprintf(&b, "line %d of all\n", i*7919%lines)
	}
	return map[string]string{"a": b.String()}
}

// slowSpec is a job over it, of at least ten maps, on files of a node.
func slowSpec(at, name, out string) []string {
	return []string{"mr", "run", "--detach", "--app", "slow", "--in", at + "/in", "--out", at + "/" + out, "--name", name, "--split", "400", "--parallel", "4"}
}

// startSlow starts the job by a node, on files of n1, and does not wait.
func startSlow(t *testing.T, n *Node, name, out string, more ...string) {
	t.Helper()
	startSlowIn(t, n, "/ux/n1", name, out, more...)
}

func startSlowIn(t *testing.T, n *Node, at, name, out string, more ...string) {
	t.Helper()
	args := append(append(slowSpec(at, name, out), "--program", Proc(t, "mrtest")), more...)
	if _, e, code := n.Ctl(args...); code != 0 {
		t.Fatalf("mr run: %s", e)
	}
}

// ended waits for a job as sigmactl does.
func ended(t *testing.T, n *Node, name string) *mr.Summary {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	var s *mr.Summary
	for {
		c, err := n.connect("default")
		if err == nil {
			s, err = mr.Jobs.Wait(ctx, c.Client, name, nil)
			c.Close()
		}
		if err == nil || ctx.Err() != nil {
			break
		}
		time.Sleep(200 * time.Millisecond) // the node is being started again
	}
	if s == nil || s.State.Phase != job.Done {
		now, err := mr.Jobs.Status(context.Background(), n.Client("default").Client, name)
		t.Fatalf("the job has not ended well: %+v, %v", now, err)
	}
	return s
}

// until waits for a state of a job.
func until(t *testing.T, n *Node, name string, ok func(*mr.State) bool) *mr.State {
	t.Helper()
	c := n.Client("default")
	var s *mr.Summary
	eventually(t, time.Minute, "the job's state", func() (done bool, said string) {
		var err error
		s, err = mr.Jobs.Status(minute(t), c.Client, name)
		if err == nil && s.State.Phase.Final() {
			t.Fatalf("it has ended before: %+v", s.State)
		}
		return err == nil && ok(&s.State), fmt.Sprintf("%+v, %v", s, err)
	})
	return &s.State
}

// killOne ends a random living proc of a kind; false when there is none.
func killOne(c *admin.Client, r *rand.Rand, kind string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	list, err := c.Procs(ctx, api.ProcFilter{})
	var ids []api.ProcID
	for _, p := range list {
		if strings.HasPrefix(string(p.ID), kind+"-") && p.State == api.Running {
			ids = append(ids, p.ID)
		}
	}
	if err != nil || len(ids) == 0 {
		return false
	}
	return c.Kill(ctx, ids[r.IntN(len(ids))], 0) == nil
}

// moments are those of a test, printed so that it can be run again.
func moments(t *testing.T) *rand.Rand {
	s := uint64(time.Now().UnixNano())
	if v := os.Getenv("SIGMA_SEED"); v != "" {
		fmt.Sscan(v, &s)
	}
	t.Logf("SIGMA_SEED=%d", s)
	return rand.New(rand.NewPCG(s, 0))
}

// A mapper, a reducer or a coordinator is killed at a random moment, again and
// again: the output is byte for byte that of a job that was left alone.
func TestFAULTS_F32_KilledAtARandomMoment(t *testing.T) {
	n := StartNode(t, "--node", "n1")
	r := moments(t)
	putFiles(t, n, "/ux/n1/in", slowInput(250))
	startSlow(t, n, "alone", "alone")
	ended(t, n, "alone")
	want := parts(t, n, "/ux/n1/alone")
	c := n.Client("default")
	for round := range scaled(1, 20) {
		for _, kind := range []string{"mr-map", "mr-reduce", "mr-coord"} {
			name := fmt.Sprintf("%s-%d", kind, round)
			out, more := "/ux/n1/out-"+name, []string(nil)
			if kind == "mr-reduce" { // with files that cannot be renamed
				out = "/s3/~any/out/" + name
				more = []string{"--out", out, "--intermediate", "/s3/~any"}
			}
			startSlow(t, n, name, "out-"+name, more...)
			killed, done := 0, make(chan struct{})
			var wg sync.WaitGroup
			wg.Go(func() {
				for killed < 5 {
					select {
					case <-done:
						return
					case <-time.After(time.Duration(r.IntN(200)) * time.Millisecond):
					}
					if killOne(c, r, kind) {
						killed++
					}
				}
			})
			s := ended(t, n, name)
			close(done)
			wg.Wait()
			if got := parts(t, n, out); killed == 0 || !maps.Equal(got, want) {
				t.Errorf("%s, %d killed: %d parts, the same as without: %v; %+v", kind, killed, len(got), maps.Equal(got, want), s.State)
			}
			st := &s.State
			if again := map[string]int{"mr-map": st.Maps.Returned, "mr-reduce": st.Reduces.Returned, "mr-coord": st.Terms + 3}[kind]; again == 0 {
				t.Errorf("%s: %d were killed, and nothing was done again: %+v", kind, killed, st)
			}
			if st.Maps.Failures+st.Reduces.Failures > 0 {
				t.Errorf("%s: a kill counts as a failure of the function: %+v", kind, st)
			}
			assertNothingOf(t, n, *s)
		}
	}
}

// The coordinator that leads is killed: another goes on, and does no finished map
// again.
func TestFAULTS_F32_TheNextCoordinatorGoesOn(t *testing.T) {
	n := StartNode(t, "--node", "n1")
	putFiles(t, n, "/ux/n1/in", slowInput(250))
	startSlow(t, n, "job", "out")
	c := n.Client("default")
	st := until(t, n, "job", func(st *mr.State) bool { return st.Maps.Done >= 3 })
	done := finished(t, c, "job")
	killLeader(t, c, "/mr/job")
	s := ended(t, n, "job")
	if s.State.Terms <= st.Terms {
		t.Errorf("%d leaders in all, %d before the kill", s.State.Terms, st.Terms)
	}
	kept(t, s, done)
	assertNothingOf(t, n, *s)
}

// killLeader ends the coordinator that leads the job in dir.
func killLeader(t *testing.T, c *admin.Client, dir string) {
	t.Helper()
	leader, _, err := c.Names().GetFile(minute(t), dir+"/leader")
	if err != nil {
		t.Fatal(err)
	}
	procs, err := c.Procs(minute(t), api.ProcFilter{})
	killed := 0
	for _, p := range procs {
		if strings.HasPrefix(string(leader), strings.Join(p.Args, ".")+".") && err == nil {
			err = c.Kill(minute(t), p.ID, 0)
			killed++
		}
	}
	if err != nil || killed != 1 {
		t.Fatalf("%d procs are the leader %q, %v", killed, leader, err)
	}
}

// A leader that is lost while it cleans up has decided how the job ends; the next
// one only goes on with that.
func TestFAULTS_F32_LostWhileCleaningUp(t *testing.T) {
	n := StartNode(t, "--node", "n1")
	putFiles(t, n, "/ux/n1/in", slowInput(20))
	names := n.Client("default").Names()
	for i, failed := range []string{"", "as it was"} {
		name := fmt.Sprint("job", i)
		startSlow(t, n, name, "out-"+name)
		s := ended(t, n, name)
		want := parts(t, n, "/ux/n1/out-"+name)
		s.State.Phase, s.State.Error = job.Ending, failed
		b, err := json.Marshal(s.State)
		if err == nil {
			_, err = names.PutFile(minute(t), "/mr/"+name+"/state", b)
		}
		if err != nil {
			t.Fatal(err)
		}
		assertNothingOf(t, n, *s)
		o, e, code := n.Ctl("mr", "resume", name, "-o", "json")
		if err := json.Unmarshal([]byte(o), s); err != nil {
			t.Fatalf("mr resume: %d, %s", code, e)
		}
		if ok := failed == ""; ok != (code == 0) || ok != (s.State.Phase == job.Done) || s.State.Error != failed {
			t.Errorf("resumed: status %d, %+v", code, s.State)
		}
		if got := parts(t, n, "/ux/n1/out-"+name); len(got) == 0 || !maps.Equal(got, want) {
			t.Errorf("the output has changed: %q, it was %q", got, want)
		}
	}
}

// A job that is removed while it runs ends, with all its procs.
func TestMapReduceRemoved(t *testing.T) {
	n := StartNode(t, "--node", "n1")
	putFiles(t, n, "/ux/n1/in", slowInput(2000))
	startSlow(t, n, "job", "out")
	until(t, n, "job", func(st *mr.State) bool { return st.Maps.Done >= 1 })
	if _, e, code := n.Ctl("mr", "rm", "job"); code != 0 {
		t.Fatal(e)
	}
	eventually(t, 15*time.Second, "its procs end", func() (bool, string) {
		o, e, _ := n.Ctl("ps", "-o", "json")
		return !strings.Contains(o, "mr-"), o + e
	})
	if o, e, code := n.Ctl("mr", "status", "job"); code != 1 || !strings.Contains(e, "no such job") {
		t.Errorf("status: %d, %s%s", code, o, e)
	}
	if list, err := n.Client("default").InitList(minute(t)); err != nil || len(list) > 0 {
		t.Errorf("still registered: %+v, %v", list, err)
	}
}

// finished are the maps that are done, by id, with the attempts that they took.
func finished(t *testing.T, c *admin.Client, job string) map[string]tasks.Task {
	t.Helper()
	ctx := minute(t)
	list, err := c.Names().ReadDir(ctx, "/mr/"+job+"/maps", "", 0)
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]tasks.Task)
	for _, i := range list {
		b, _, err := c.Names().GetFile(ctx, "/mr/"+job+"/maps/"+i.Name())
		var x tasks.Task
		if err == nil {
			err = json.Unmarshal(b, &x)
		}
		if err != nil {
			t.Fatal(err)
		}
		out[x.ID] = x
	}
	return out
}

// kept fails when a job has done a map again that was finished: before are its maps
// at an earlier moment.
func kept(t *testing.T, s *mr.Summary, before map[string]tasks.Task) {
	t.Helper()
	given, done := 0, 0
	for _, x := range before {
		given += x.Attempt
		if x.State == tasks.Done {
			done++
		}
	}
	m := s.State.Maps
	// Each map that was not done may have been given out once more by the leader of
	// that moment, before it ended, and by its successor.
	if most := given + 2*(len(before)-done) + m.Copies + m.Returned; done == 0 || m.Attempts > most || s.State.Redone > 0 {
		t.Errorf("%d of %d maps were finished with %d attempts in all; in the end it is %d attempts (at most %d), %d redone", done, len(before), given, m.Attempts, most, s.State.Redone)
	}
}

// An attempt that hangs does not hold the job: a copy of it is faster, and where
// there is nothing to compare it with, it is ended after its time.
func TestMapReduceHungAttempt(t *testing.T) {
	n := StartNode(t, "--node", "n1")
	putFiles(t, n, "/ux/n1/in", slowInput(100))
	for name, tt := range map[string]struct {
		args []string
		ok   func(mr.State) bool
	}{
		"a copy is faster":  {[]string{"--split", "200"}, func(s mr.State) bool { return s.Maps.Copies > 0 && s.Maps.Failures == 0 }},
		"its time runs out": {[]string{"--task-limit", "2s"}, func(s mr.State) bool { return s.Maps.Total == 1 && s.Maps.Failures == 1 }},
	} {
		mark := "/" + strings.ReplaceAll(name, " ", "-")
		args := append([]string{"--program", Proc(t, "mrtest"), "--app", "hang", "--in", "/ux/n1/in", "--out", "/ux/n1" + mark}, tt.args...)
		s, code := mrRun(t, n, append(args, "--", mark)...)
		if code != 0 || !tt.ok(s.State) {
			t.Errorf("%s: status %d, %+v", name, code, s.State)
		}
		if got := sorted(parts(t, n, "/ux/n1"+mark)); strings.Count(got, "\t1\n") != 100 {
			t.Errorf("%s: %d lines, want 100", name, strings.Count(got, "\n"))
		}
		assertNothingOf(t, n, s)
	}
}

// The node that ran all is killed between maps and reduces, and does not come back:
// its intermediate files are gone, their maps are done again elsewhere.
func TestFAULTS_F32_LostIntermediateFilesAreMadeAgain(t *testing.T) {
	nodes := StartCluster(t, 2)
	n1, n2 := nodes[0], nodes[1]
	putFiles(t, n1, "/ux/n1/in", slowInput(250))
	n1.program("mrtest")
	startSlow(t, n2, "job", "out")
	until(t, n1, "job", func(st *mr.State) bool { return st.Phase == mr.Reducing })
	n2.Kill()
	s := ended(t, n1, "job")
	if s.State.Redone == 0 || s.State.Maps.Done != s.State.Maps.Total {
		t.Errorf("no map was done again: %+v", s.State)
	}
	got := sorted(parts(t, n1, "/ux/n1/out"))
	if strings.Count(got, "\t1\n") != 250 {
		t.Errorf("%d lines, want 250", strings.Count(got, "\n"))
	}
	n2.Start()
}

// All machines go down in the middle of a job. When they are back, initd starts its
// coordinators, and it goes on where it was.
func TestFAULTS_F31_AJobGoesOnAfterAllMachinesWereDown(t *testing.T) {
	p := startPeers(t, 3)
	p.voters(p.list[0], 1, 2, 3)
	n := p.list[0]
	putFiles(t, n, "/ux/n1/in", slowInput(250))
	eventually(t, 30*time.Second, "mr run", func() (bool, string) {
		_, e, code := n.Ctl(append(slowSpec("/ux/n1", "job", "out"), "--program", Proc(t, "mrtest"))...)
		return code == 0, e
	})
	until(t, n, "job", func(st *mr.State) bool { return st.Maps.Done >= 3 })
	before := finished(t, n.Client("default"), "job")
	for _, x := range p.list {
		x.Kill()
	}
	startAll(t, p.list)
	c := p.list[2].Client("default")
	var s *mr.Summary
	eventually(t, 2*time.Minute, "the job ends by itself", func() (bool, string) {
		var err error
		s, err = mr.Jobs.Status(minute(t), c.Client, "job")
		return err == nil && s.State.Phase.Final(), fmt.Sprintf("%+v, %v\n%s", s, err, n.err)
	})
	if s.State.Phase != job.Done {
		t.Fatalf("%+v", s.State)
	}
	kept(t, s, before)
	if got := sorted(parts(t, n, "/ux/n1/out")); strings.Count(got, "\t1\n") != 250 {
		t.Errorf("%d lines, want 250", strings.Count(got, "\n"))
	}
	assertNothingOf(t, p.list[1], *s)
}

// Everything at once: procs of all kinds and whole nodes are killed while the job
// runs, one each second (and a node is started again at once).
func TestFAULTS_F32_EverythingIsKilled(t *testing.T) {
	p := startPeers(t, 3)
	p.voters(p.list[0], 1, 2, 3)
	n := p.list[0]
	r := moments(t)
	putFiles(t, n, "/ux/n1/in", slowInput(scaled(300, 3000)))
	for _, x := range p.list {
		x.program("mrtest")
	}
	startSlow(t, n, "job", "out")
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-done:
				return
			case <-time.After(time.Second):
			}
			at := p.list[r.IntN(3)]
			if i%3 == 2 && i < scaled(7, 60) {
				at.Kill()
				at.spawn()
				continue
			}
			if c, err := at.connect("default"); err == nil {
				killOne(c, r, []string{"mr-map", "mr-reduce", "mr-coord"}[r.IntN(3)])
				c.Close()
			}
		}
	})
	s := ended(t, n, "job")
	close(done)
	wg.Wait()
	eventually(t, time.Minute, "all nodes answer", func() (bool, string) {
		for _, x := range p.list {
			c, err := x.connect("default")
			if err != nil {
				return false, err.Error()
			}
			c.Close()
		}
		return true, ""
	})
	if got := sorted(parts(t, n, "/ux/n1/out")); strings.Count(got, "\t1\n") != scaled(300, 3000) {
		t.Errorf("%d lines, want %d: %+v", strings.Count(got, "\n"), scaled(300, 3000), s.State)
	}
}
