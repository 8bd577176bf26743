package test

import (
	"context"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// sleepers spawns procs that wait for their end, wherever there is room, and returns
// where each of them runs once all do.
func sleepers(t *testing.T, n *Node, count int, d api.ProcDesc) map[api.ProcID]string {
	t.Helper()
	c := n.Client("default")
	ctx := minute(t)
	d.Program, d.Args = n.program("testproc"), []string{"sleep"}
	where := make(map[api.ProcID]string)
	for range count {
		id, err := c.Spawn(ctx, &d)
		if err != nil {
			t.Fatal(err)
		}
		where[id] = ""
	}
	for id := range where {
		if err := c.WaitStart(ctx, id); err != nil {
			t.Fatal(err)
		}
	}
	for _, p := range list(t, c) {
		if _, ours := where[p.ID]; ours {
			where[p.ID] = p.Node
		}
	}
	return where
}

func list(t *testing.T, c *admin.Client) []api.ProcInfo {
	t.Helper()
	procs, err := c.Procs(minute(t), api.ProcFilter{})
	if err != nil {
		t.Fatal(err)
	}
	return procs
}

// tally counts procs by node.
func tally(where map[api.ProcID]string) map[string]int {
	out := make(map[string]int)
	for _, n := range where {
		out[n]++
	}
	return out
}

// A best-effort Spawn on one node runs on whichever has room, and whoever asks, at
// any node, is told the same of it.
func TestPaper34_ProcsRunWhereThereIsRoom(t *testing.T) {
	nodes := StartCluster(t, 3, "--memory", "256MiB") // two of them have not room for all
	where := sleepers(t, nodes[0], 12, api.ProcDesc{Memory: 48 << 20})
	if in := tally(where); len(in) != 3 || in[""] != 0 {
		t.Fatalf("%v, want some on each of three nodes", in)
	}
	ctx := minute(t)
	var away api.ProcID // from n1, its home
	for id, n := range where {
		if n == "n2" {
			away = id
		}
	}
	for i, n := range nodes {
		c := n.Client("default")
		if got := list(t, c); len(got) != len(where) {
			t.Errorf("ps on node %d shows %d procs, want %d", i+1, len(got), len(where))
		}
		w, err := c.Why(ctx, string(away))
		if err != nil || w.Proc.Node != "n2" || w.Proc.State != api.Running || w.Proc.RSS == 0 {
			t.Errorf("why on node %d: %+v, %v", i+1, w.Proc, err)
		}
	}
	// Asked of a node that is neither home nor runner.
	if out, e, code := nodes[2].Ctl("dump", string(away)); code != 0 || !strings.Contains(out, "thread") {
		t.Errorf("dump: %q %q", out, e)
	}
	// One that is killed from a third node.
	for id, n := range where {
		if n != "n3" || id == away {
			continue
		}
		if err := nodes[1].Client("default").Kill(ctx, id, 0); err != nil {
			t.Error(err)
		}
		if st := waitAt(t, nodes[1], id); st.State != api.Killed {
			t.Errorf("killed from another node: %+v", st)
		}
		break
	}
}

// waitAt waits for a proc at any node.
func waitAt(t *testing.T, n *Node, id api.ProcID) api.Status {
	t.Helper()
	st, err := n.Client("default").WaitExit(minute(t), id)
	if err != nil {
		t.Errorf("waiting for %s on %s: %v", id, n.Name, err)
	}
	return st
}

// What a proc wrote is at its home, while it runs and when its node is dead.
func TestLogsOutliveTheNode(t *testing.T) {
	nodes := StartCluster(t, 2)
	c := nodes[0].Client("default")
	ctx := minute(t)
	id, err := c.Spawn(ctx, &api.ProcDesc{Program: nodes[0].program("testproc"), Args: []string{"print", "2000", "30"}, Node: "n2"})
	if err != nil {
		t.Fatal(err)
	}
	st := nodes[0].Await(c, id)
	if st.State != api.Exited {
		t.Fatalf("%+v", st)
	}
	nodes[1].Kill()
	read := func(c *admin.Client) string {
		var out strings.Builder
		if err := c.Logs(ctx, api.LogQuery{Name: string(id), Stream: 1}, func(_ api.LogRecord, b []byte) error { out.Write(b); return nil }); err != nil {
			t.Error(err)
		}
		return out.String()
	}
	if got := strings.Count(read(c), "\n"); got != 2000 {
		t.Errorf("%d of 2000 lines are at home", got)
	}
	nodes[1].Start() // cleans what it left
}

// Latency-critical procs go to the node that they fit best; what fits nowhere waits,
// and why says what each node lacks.
func TestPaper34_LCGetsWhatItReserved(t *testing.T) {
	nodes := StartCluster(t, 3, "--mcpu", "1000")
	where := sleepers(t, nodes[0], 3, api.ProcDesc{Class: api.LC, MCPU: 600, Memory: 16 << 20})
	if in := tally(where); len(in) != 3 {
		t.Errorf("%v, want one on each node", in)
	}
	c := nodes[1].Client("default")
	ctx := minute(t)
	id, err := c.Spawn(ctx, &api.ProcDesc{Program: nodes[1].program("testproc"), Args: []string{"exit", "0"}, Class: api.LC, MCPU: 500})
	if err != nil {
		t.Fatal(err)
	}
	eventually(t, 20*time.Second, "why tells of three nodes", func() (bool, string) {
		w, err := c.Why(ctx, string(id))
		if err != nil {
			return false, err.Error()
		}
		all := strings.Join(w.Nodes, "\n")
		return len(w.Nodes) == 3 && strings.Count(all, "needs 500 mCPU; 1000 in all, 600 reserved") == 3, all
	})
	for other := range where {
		if err := nodes[2].Client("default").Kill(ctx, other, 0); err != nil {
			t.Fatal(err)
		}
		break
	}
	if st := nodes[1].Await(c, id); !st.OK() {
		t.Errorf("when there was room: %+v", st)
	}
	_, err = c.Spawn(ctx, &api.ProcDesc{Program: "/bin/testproc", Class: api.LC, MCPU: 1500})
	if api.KindOf(err) != api.NoCapacity || !strings.Contains(fmt.Sprint(err), "1000 mCPU") {
		t.Errorf("larger than any node: %v", err)
	}
}

// A machine dies with procs that run and procs that start; whoever waits has an
// answer in time, no proc is run again, and the others go on.
func TestFAULTS_F2_ANodeDiesUnderLoad(t *testing.T) {
	running := scaled(40, 200)
	// Two of the nodes have not room for all.
	nodes := StartCluster(t, 3, "--memory", fmt.Sprintf("%dMiB", 4*running*9/20))
	where := sleepers(t, nodes[0], running, api.ProcDesc{Memory: 4 << 20, Threads: 8})
	if in := tally(where); in["n3"] == 0 {
		t.Fatalf("%v, want some on n3", in)
	}
	c := nodes[0].Client("default")
	ctx := minute(t)
	var wg sync.WaitGroup
	var mu sync.Mutex
	answers := make(map[api.ProcID]time.Time)
	statuses := make(map[api.ProcID]api.Status)
	wait := func(id api.ProcID) {
		st, err := c.WaitExit(ctx, id)
		mu.Lock()
		defer mu.Unlock()
		answers[id], statuses[id] = time.Now(), st
		if err != nil {
			st.State = api.State(err.Error())
			statuses[id] = st
		}
	}
	for id := range where {
		wg.Go(func() { wait(id) })
	}
	starting := make(chan struct{}, running/2)
	for range running / 2 {
		wg.Go(func() {
			id, err := c.Spawn(ctx, &api.ProcDesc{Program: "/bin/testproc", Args: []string{"exit", "0"}, Memory: 4 << 20, Threads: 8})
			starting <- struct{}{}
			if err != nil {
				t.Error(err)
				return
			}
			wait(id)
		})
	}
	for range running / 8 { // it dies while they come
		<-starting
	}
	nodes[2].Kill()
	died := time.Now()
	for id, n := range where { // the others are ended, or they would be waited for
		if n != "n3" {
			if err := c.Kill(ctx, id, 0); err != nil {
				t.Error(err)
			}
		}
	}
	wg.Wait()
	count := make(map[api.State]int)
	for id, at := range answers {
		count[statuses[id].State]++
		if d := at.Sub(died); d > 5*time.Second {
			t.Errorf("%s has its answer, %v, after %v", id, statuses[id], d)
		}
		if where[id] == "n3" && statuses[id].State != api.Lost {
			t.Errorf("%s ran on the node that died and is %v", id, statuses[id])
		}
	}
	if len(answers) != running+running/2 || count[api.Lost] < tally(where)["n3"] {
		t.Errorf("%d answers: %v", len(answers), count)
	}
	t.Logf("answers: %v", count)
	if out, e, code := nodes[0].Shell(bin+"/sigmactl", "run", "/bin/testproc", "exit", "3"); code != 3 {
		t.Errorf("after that: %q %q %d", out, e, code)
	}
	nodes[2].Start()
}

// Two jobs, back to back, whose procs are many and short: nothing is stuck, and
// nothing stays reserved.
func TestFAULTS_F28_ExitBurst(t *testing.T) {
	nodes := StartCluster(t, 3)
	count, rounds := scaled(100, 1000), times(3, 50)
	c := nodes[0].Client("default")
	prog := nodes[0].program("testproc")
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Minute)
	defer cancel()
	for round := range rounds {
		for job := range 2 {
			ids := make([]api.ProcID, count)
			for i := range ids {
				var err error
				if ids[i], err = c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Memory: 4 << 20, Threads: 8}); err != nil {
					t.Fatalf("round %d, job %d: %v", round, job, err)
				}
			}
			for _, id := range ids {
				if st, err := c.WaitExit(ctx, id); err != nil || !st.OK() {
					t.Fatalf("round %d, job %d: %s ended %+v, %v", round, job, id, st, err)
				}
			}
		}
	}
	for _, n := range nodes {
		eventually(t, patience, "nothing is held on "+n.Name, func() (bool, string) {
			top := n.top(n.Client("default"))
			b, _ := json.Marshal(top)
			return top.MemBE == 0 && top.MemLC == 0 && top.Reserved == 0 && top.Queued == 0 && top.Running == 0, string(b)
		})
	}
}

// Two jobs, back to back, whose procs all run on three nodes, and end in one moment.
func TestFAULTS_F28_JobsThatEndInOneMoment(t *testing.T) {
	nodes := StartCluster(t, 3)
	count, rounds := scaled(100, 1000), times(2, 50)
	c := nodes[0].Client("default")
	nodes[0].program("probe")
	ctx, cancel := context.WithTimeout(context.Background(), time.Hour)
	defer cancel()
	start := time.Duration(count) * 20 * time.Millisecond // that it takes until all run; later, measured
	for job, again := 0, 0; job < 2*rounds; job++ {
		begin := time.Now()
		at := monotonic() + int64(start) + int64(time.Second)
		ids := make([]api.ProcID, count)
		for i := range ids {
			var err error
			if ids[i], err = c.Spawn(ctx, &api.ProcDesc{Program: "/bin/probe", Args: []string{"F28", fmt.Sprint(at)}, Memory: 4 << 20, Threads: 8}); err != nil {
				t.Fatalf("job %d: %v", job, err)
			}
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		var took time.Duration
		late, bad := 0, 0
		var first, last time.Time
		for _, id := range ids {
			wg.Go(func() {
				err := c.WaitStart(ctx, id)
				ran := monotonic() < at
				mu.Lock()
				if took = max(took, time.Since(begin)); !ran || err != nil {
					late++
				}
				mu.Unlock()
				st, err := c.WaitExit(ctx, id)
				mu.Lock()
				defer mu.Unlock()
				if last = time.Now(); first.IsZero() {
					first = last
				}
				if err != nil || !st.OK() || st.Message != "finished early" {
					if bad++; bad < 5 {
						t.Errorf("job %d: %s ended %v, %v", job, id, st, err)
					}
				}
			})
		}
		wg.Wait()
		if bad > 0 {
			t.Fatalf("job %d: %d of %d are not as they should be", job, bad, count)
		}
		t.Logf("job %d: all ran after %v (%d late), all ends known within %v", job, took.Round(time.Millisecond), late, last.Sub(first).Round(time.Millisecond))
		if start = took * 3 / 2; late > count/2 { // it does not count: they did not end in one moment
			job--
			if again++; again > 2*rounds {
				t.Fatalf("%d jobs were not started in the time that others took", again)
			}
		}
	}
	for _, n := range nodes {
		eventually(t, patience, "nothing is held on "+n.Name, func() (bool, string) {
			top := n.top(n.Client("default"))
			b, _ := json.Marshal(top)
			return top.MemBE == 0 && top.MemLC == 0 && top.Reserved == 0 && top.Queued == 0 && top.Running == 0, string(b)
		})
	}
}

// A node that drains is given nothing new, its latency-critical procs are asked to
// end and told why, and drain returns when it is empty.
func TestDrain(t *testing.T) {
	nodes := StartCluster(t, 2, "--memory", "256MiB")
	c := nodes[0].Client("default")
	ctx := minute(t)
	graceful := nodes[1].Running(c, &api.ProcDesc{Program: nodes[0].program("testproc"), Args: []string{"graceful"}, Class: api.LC, MCPU: 100})
	worker := nodes[1].Running(c, &api.ProcDesc{Program: "/bin/testproc", Args: []string{"sleep"}})
	done := make(chan string, 1)
	go func() {
		out, e, code := nodes[0].Ctl("node", "drain", "n2", "--grace", "20s")
		done <- fmt.Sprint(out, e, code)
	}()
	if st := nodes[0].Await(c, graceful); st.State != api.Exited {
		t.Errorf("the LC proc was asked: %+v", st)
	}
	eventually(t, 10*time.Second, "node ls says so", func() (bool, string) {
		out, _, _ := nodes[0].Ctl("node", "ls")
		return strings.Contains(out, "draining"), out
	})
	for n := range tally(sleepers(t, nodes[0], 6, api.ProcDesc{Memory: 4 << 20})) {
		if n != "n1" {
			t.Errorf("something new runs on %s", n)
		}
	}
	select {
	case s := <-done:
		t.Fatalf("drain returned while a proc ran there: %s", s)
	default:
	}
	if err := c.Kill(ctx, worker, 0); err != nil {
		t.Fatal(err)
	}
	if s := <-done; !strings.HasSuffix(s, " 0") && !strings.Contains(s, "is empty") {
		t.Errorf("drain: %s", s)
	}
	if out, _, _ := nodes[0].Ctl("events", "-A", "--since", "5m"); !strings.Contains(out, "drained") {
		t.Errorf("the event log does not tell of it: %s", out)
	}
	if _, e, code := nodes[0].Ctl("node", "undrain", "n2"); code != 0 {
		t.Error(e)
	}
	// More than n1 has room for.
	if in := tally(sleepers(t, nodes[0], 8, api.ProcDesc{Memory: 48 << 20})); in["n2"] == 0 {
		t.Errorf("%v after undrain", in)
	}
}

// A best-effort proc that names a node runs there where that has room, and elsewhere
// where it has not; why tells what came of it.
func TestPaper34_ProcsRunNearTheNodesThatTheyName(t *testing.T) {
	nodes := StartCluster(t, 3, "--memory", "512MiB")
	c := nodes[0].Client("default")
	ctx := minute(t)
	d := api.ProcDesc{Program: nodes[0].program("testproc"), Args: []string{"exit", "0"}, Near: []string{"n3"}}
	// Who is spawned at a node that is idle runs there, if it names no other. A node that
	// is slow to answer, on a machine that is busy, is not waited for: so not each of them.
	near := 0
	var last api.ProcID
	for i := 0; i < 60 && near < 5; i++ {
		id, err := c.Spawn(ctx, &d)
		if err != nil {
			t.Fatal(err)
		}
		if st := nodes[0].Await(c, id); st.State != api.Exited || st.Code != 0 {
			t.Fatalf("%+v", st)
		}
		if nodes[0].info(c, id).Node == "n3" {
			near, last = near+1, id
		}
	}
	if near < 5 {
		t.Fatalf("%d of 60 procs ran on the node that they named", near)
	}
	if out, _, code := nodes[0].Shell(filepath.Join(bin, "sigmactl"), "why", string(last)); code != 0 || !strings.Contains(out, "near     on n3, as it had better") {
		t.Errorf("why: %d\n%s", code, out)
	}
	// A node without memory for it, and one that is not there.
	hold := sleepers(t, nodes[2], 1, api.ProcDesc{Memory: 400 << 20, Node: "n3"})
	out, errText, code := nodes[0].Shell(filepath.Join(bin, "sigmactl"), "run", "--memory", "200MiB", "--near", "n3,nobody", d.Program, "exit", "7")
	if code != 7 {
		t.Errorf("near a node that is full: %d\n%s%s", code, out, errText)
	}
	for id := range hold {
		c.Kill(ctx, id, 0)
	}
}
