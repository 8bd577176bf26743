package test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// ends waits for procs at their home, all at once, and notes when each answer came.
type ends struct {
	wg sync.WaitGroup
	mu sync.Mutex
	at map[api.ProcID]time.Time
	st map[api.ProcID]api.Status
}

func (e *ends) wait(ctx context.Context, c *admin.Client, id api.ProcID) {
	if e.at == nil {
		e.at, e.st = make(map[api.ProcID]time.Time), make(map[api.ProcID]api.Status)
	}
	e.wg.Go(func() {
		st, err := c.WaitExit(ctx, id)
		if err != nil {
			st = api.Status{State: api.State(err.Error())}
		}
		e.mu.Lock()
		defer e.mu.Unlock()
		e.at[id], e.st[id] = time.Now(), st
	})
}

// lost counts the answers that are lost, all of which must have come in time.
func (e *ends) lost(t *testing.T, since time.Time) (n int) {
	t.Helper()
	e.mu.Lock()
	defer e.mu.Unlock()
	for id, st := range e.st {
		if st.State != api.Lost {
			continue
		}
		n++
		if d := e.at[id].Sub(since); d > 5*time.Second {
			t.Errorf("%s is known to be lost after %v", id, d)
		}
	}
	return n
}

// answered waits until so many answers are there.
func (e *ends) answered(t *testing.T, count int) {
	t.Helper()
	eventually(t, scaled(30*time.Second, 3*time.Minute), "all have an answer", func() (bool, string) {
		e.mu.Lock()
		defer e.mu.Unlock()
		return len(e.st) >= count, ""
	})
}

// A sigmad that stands still is given up, once, and learns it when it wakes up: it
// ends what was given up, and what it says about that is not heard.
func TestFAULTS_F5_ANodeStandsStill(t *testing.T) {
	nodes := StartCluster(t, 2)
	c := nodes[0].Client("default")
	ctx := minute(t)
	prog := nodes[0].program("testproc")
	var e ends
	var ids []api.ProcID
	for range 5 {
		ids = append(ids, nodes[1].Running(c, &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Memory: 8 << 20}))
	}
	for _, id := range ids {
		e.wait(ctx, c, id)
	}
	stopped := time.Now()
	hang(t, nodes[1].PID())
	e.answered(t, len(ids))
	time.Sleep(scaled(time.Second, 25*time.Second))
	if err := syscall.Kill(nodes[1].PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if n := e.lost(t, stopped); n != len(ids) {
		t.Errorf("%d of %d are lost: %v", n, len(ids), e.st)
	}
	eventually(t, 20*time.Second, "what was given up is ended", func() (bool, string) {
		conn, err := nodes[1].connect("default")
		if err != nil {
			return false, err.Error()
		}
		defer conn.Close()
		var top api.Top
		err = conn.Call(ctx, api.MTop, nil, &top)
		return err == nil && top.Running == 0 && top.MemBE == 0, "it still runs some"
	})
	for _, id := range ids {
		if st := nodes[0].Await(c, id); st.State != api.Lost {
			t.Errorf("%s was lost and is %+v now", id, st)
		}
	}
	if st := nodes[1].Run(c, &api.ProcDesc{Program: prog, Args: []string{"exit", "4"}}); st.Code != 4 {
		t.Errorf("after that, on that node: %+v", st)
	}
}

// A sigmad is killed with procs of its own and of another home. Whoever waits, at
// whichever node, has an error in time, the procs end with their sigmad, and after a
// restart there is nothing of them.
func TestFAULTS_F4_ASigmadIsKilledWithProcsOfTwoHomes(t *testing.T) {
	nodes := StartCluster(t, 3)
	victim := nodes[1]
	prog := nodes[0].program("testproc")
	w := &crowd{t: t, mark: fmt.Sprintf("f4-%d", os.Getpid())}
	type answer struct {
		at  time.Time
		st  api.Status
		err error
	}
	ctx := minute(t)
	var clients []*admin.Client
	for _, n := range nodes {
		clients = append(clients, n.Client("default"))
	}
	var ids []api.ProcID
	for i := range 50 {
		home := clients[i%2] // the victim's own, and those of another
		ids = append(ids, victim.Running(home, &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Memory: 16 << 20, Env: []string{fmt.Sprintf("MARK=%s-%d-", w.mark, i)}}))
	}
	if n := len(w.processes()); n != len(ids) {
		t.Fatalf("%d of %d run", n, len(ids))
	}
	answers := make([]answer, len(ids)*len(nodes))
	var wg sync.WaitGroup
	for i := range answers {
		wg.Go(func() {
			st, err := clients[i%len(nodes)].WaitExit(ctx, ids[i/len(nodes)])
			answers[i] = answer{time.Now(), st, err}
		})
	}
	time.Sleep(200 * time.Millisecond) // they wait
	victim.Kill()
	died := time.Now()
	time.Sleep(time.Second)
	if left := w.processes(); len(left) > 0 {
		t.Errorf("1 s after their sigmad there run %v", left)
	}
	wg.Wait()
	for i, a := range answers {
		if d := a.at.Sub(died); d > noticed {
			t.Errorf("on %s, for a proc of %s: after %v", nodes[i%3].flag("--node"), nodes[i/3%2].flag("--node"), d)
		}
		if a.err == nil && a.st.State != api.Lost || a.err != nil && api.KindOf(a.err) != api.Unavailable {
			t.Errorf("on %s, for a proc of %s: %v, %v", nodes[i%3].flag("--node"), nodes[i/3%2].flag("--node"), a.st, a.err)
		}
	}
	victim.Start()
	for _, n := range nodes {
		n.awaitMembers(3)
	}
	if top := victim.top(victim.Client("default")); top.Running != 0 || top.MemBE != 0 || top.Queued != 0 {
		t.Errorf("after the restart it has %+v", top)
	}
	for _, n := range nodes {
		if procs := list(t, n.Client("default")); len(procs) > 0 {
			t.Errorf("ps on %s shows %+v", n.flag("--node"), procs)
		}
	}
	if st, err := victim.Client("default").WaitExit(ctx, ids[1]); api.KindOf(err) != api.NotFound {
		t.Errorf("a proc of its earlier boot: %v, %v", st, err)
	}
	if st := victim.Run(nodes[0].Client("default"), &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}}); !st.OK() {
		t.Errorf("after the restart, on that node: %v", st)
	}
}

// A node stands still that holds a shard in which procs of another one wait. Those
// have an answer, the ones in other shards run when there is room, new ones are
// taken, and nothing that it does when it wakes up runs for the second time.
func TestFAULTS_F7_AShardStandsStill(t *testing.T) {
	nodes := StartCluster(t, 3, "--roles", "node,lcsched,named", "--memory", "256MiB") // n1 holds no shard
	c := nodes[0].Client("default")
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	prog := nodes[0].program("testproc")
	const count = 40
	for i := range count {
		if err := c.Names().MkdirAll(ctx, fmt.Sprintf("/runs/%d", i), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	hogs := make([]api.ProcID, len(nodes))
	for _, i := range []int{0, 2, 1} {
		d := &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Memory: 200 << 20}
		if i == 1 { // there is room there before it wakes up, and not before it stands still
			d.Args = []string{"nap", "/hog", "8000"}
		}
		hogs[i] = nodes[i].Running(c, d)
	}
	var e ends
	runs := make(map[api.ProcID]string)
	for i := range count {
		dir := fmt.Sprintf("/runs/%d", i)
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"trace", dir, "1"}, Memory: 100 << 20})
		if err != nil {
			t.Fatal(err)
		}
		runs[id] = dir
		e.wait(ctx, c, id)
	}
	stopped := time.Now()
	hang(t, nodes[1].PID())
	eventually(t, 20*time.Second, "some are lost", func() (bool, string) { return e.lost(t, stopped) > 0, "none is" })
	for _, i := range []int{0, 2} {
		if err := c.Kill(ctx, hogs[i], 0); err != nil {
			t.Error(err)
		}
	}
	e.answered(t, count)
	lost := e.lost(t, stopped)
	if lost == 0 || lost == count {
		t.Errorf("%d of %d are lost, want those of one shard of two", lost, count)
	}
	for range 5 {
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Memory: 100 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if st := nodes[0].Await(c, id); !st.OK() {
			t.Errorf("spawned while it stands still: %+v", st)
		}
	}
	time.Sleep(time.Until(stopped.Add(scaled(12*time.Second, 30*time.Second))))
	if err := syscall.Kill(nodes[1].PID(), syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for _, n := range nodes {
		n.awaitMembers(3)
		eventually(t, 20*time.Second, n.Name+" is empty", func() (bool, string) {
			conn, err := n.connect("default")
			if err != nil {
				return false, err.Error()
			}
			defer conn.Close()
			var top api.Top
			err = conn.Call(ctx, api.MTop, nil, &top)
			return err == nil && top.Running == 0 && top.Queued == 0 && top.MemBE == 0, fmt.Sprintf("%+v, %v", top, err)
		})
	}
	for id, dir := range runs {
		st := e.st[id]
		files, err := c.Names().ReadDir(ctx, dir, "", 0)
		if err != nil || len(files) > 1 || len(files) == 0 && st.OK() || st.State != api.Lost && !st.OK() {
			t.Errorf("%s is %v, and was started %d times, %v", id, st, len(files), err)
		}
	}
	if st := nodes[1].Run(c, &api.ProcDesc{Program: prog, Args: []string{"exit", "4"}}); st.Code != 4 {
		t.Errorf("after that, on that node: %+v", st)
	}
}

// A node dies that holds a shard in which procs of another one wait. Those have an
// answer, the ones in other shards run when there is room, and new ones are taken.
func TestFAULTS_F6_AShardIsLost(t *testing.T) {
	// n1 holds no shard, so that what is spawned there waits elsewhere.
	nodes := StartCluster(t, 3, "--roles", "node,lcsched,named", "--memory", "256MiB")
	c := nodes[0].Client("default")
	ctx, cancel := context.WithTimeout(context.Background(), scaled(time.Minute, 5*time.Minute))
	defer cancel()
	prog := nodes[0].program("testproc")
	var hogs []api.ProcID
	for _, n := range nodes {
		hogs = append(hogs, n.Running(c, &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Memory: 200 << 20}))
	}
	var e ends
	count := scaled(40, 10_000)
	for range count {
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Memory: 100 << 20})
		if err != nil {
			t.Fatal(err)
		}
		e.wait(ctx, c, id)
	}
	nodes[1].Kill()
	died := time.Now()
	eventually(t, 20*time.Second, "some are lost", func() (bool, string) { return e.lost(t, died) > 0, "none is" })
	for _, id := range hogs {
		if err := c.Kill(ctx, id, 0); err != nil {
			t.Error(err)
		}
	}
	e.answered(t, count)
	lost := e.lost(t, died)
	for id, st := range e.st {
		if st.State != api.Lost && !st.OK() {
			t.Errorf("%s is %+v", id, st)
		}
	}
	if lost == 0 || lost == count {
		t.Errorf("%d of %d are lost, want those of one shard of two", lost, count)
	}
	for range 5 {
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Memory: 100 << 20})
		if err != nil {
			t.Fatal(err)
		}
		if st := nodes[0].Await(c, id); !st.OK() {
			t.Errorf("spawned again: %+v", st)
		}
	}
	nodes[1].Start() // cleans what it left
}

// lcsched dies. The next one knows what is reserved before it places anything, and
// what runs elsewhere is not touched.
func TestFAULTS_F8_LCSchedIsLost(t *testing.T) {
	// n1, which has etcd's only peer, is never lcsched.
	nodes := StartCluster(t, 3, "--roles", "node,besched,named", "--mcpu", "1000", "--log-level", "info")
	c := nodes[0].Client("default")
	ctx := minute(t)
	prog := nodes[0].program("testproc")
	var running []api.ProcID // one on each
	for _, n := range nodes {
		running = append(running, n.Running(c, &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Class: api.LC, MCPU: 600, Memory: 8 << 20}))
	}
	var holder int
	eventually(t, patience, "one of n2 and n3 says that it is lcsched", func() (bool, string) {
		second, third := nodes[1].isLCSched(), nodes[2].isLCSched()
		if holder = 1; third {
			holder = 2
		}
		return second != third, fmt.Sprintf("n2: %v, n3: %v", second, third)
	})
	nodes[holder].Kill()
	if st := nodes[0].Await(c, running[holder]); st.State != api.Lost {
		t.Errorf("what ran there is %+v", st)
	}
	var id api.ProcID
	spawn := func() {
		var err error
		if id, err = c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Class: api.LC, MCPU: 500, Memory: 8 << 20}); err != nil {
			t.Fatal(err)
		}
	}
	spawn()
	eventually(t, 20*time.Second, "the next lcsched knows of both reservations", func() (bool, string) {
		w, err := c.Why(ctx, string(id))
		if err != nil {
			return false, err.Error()
		}
		if st := w.Proc.Status; st != nil {
			if st.State != api.Lost { // it went to the one that is dead
				t.Fatalf("it has no room, and is %+v", st)
			}
			spawn()
			return false, "lost"
		}
		all := strings.Join(w.Nodes, "\n")
		return strings.Count(all, "1000 in all, 600 reserved") == 2, all
	})
	for i, r := range running {
		if w, err := c.Why(ctx, string(r)); i != holder && (err != nil || w.Proc.State != api.Running) {
			t.Errorf("%s, which ran elsewhere, is %v, %v", r, w.Proc.State, err)
		}
	}
	nodes[holder].Start()
	if st := nodes[0].Await(c, id); !st.OK() {
		t.Errorf("when there was room again: %+v", st)
	}
	for i, r := range running {
		if i != holder {
			c.Kill(ctx, r, 0)
		}
	}
	for _, n := range nodes {
		eventually(t, 10*time.Second, "nothing stays reserved on "+n.Name, func() (bool, string) {
			return n.top(n.Client("default")).Reserved == 0, ""
		})
	}
}

// A sigmad that dies is missed at once where its machine says so: a killed process's
// connections are reset, and new ones are refused. What gossip says later is not waited for.
func TestFAULTS_F8_TheNextLCSchedDoesNotWaitForGossip(t *testing.T) {
	// n1, which has etcd's only peer, is never lcsched.
	nodes := StartCluster(t, 3, "--roles", "node,besched,named", "--log-level", "info")
	c := nodes[0].Client("default")
	ctx := minute(t)
	prog := nodes[0].program("testproc")
	var holder, other *Node
	eventually(t, time.Minute, "one of n2 and n3 is lcsched", func() (bool, string) {
		for i, n := range nodes[1:] {
			if n.isLCSched() {
				holder, other = n, nodes[2-i]
			}
		}
		return holder != nil, "nobody"
	})
	there := nodes[0].Running(c, &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Class: api.LC, MCPU: 100, Memory: 8 << 20, Domain: holder.flag("--domain")})
	holder.Kill()
	begin := time.Now()
	if st := nodes[0].Await(c, there); st.State != api.Lost {
		t.Errorf("what ran there is %+v", st)
	}
	eventually(t, 45*time.Second, "the other one places procs", func() (bool, string) {
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Class: api.LC, MCPU: 100, Memory: 8 << 20})
		if err != nil {
			return false, err.Error()
		}
		st := nodes[0].Await(c, id)
		return st.OK(), fmt.Sprintf("%+v", st)
	})
	t.Logf("placed again after %v", time.Since(begin).Round(10*time.Millisecond))
	// What it wrote comes here by a way of its own, perhaps after what it did.
	eventually(t, patience, "the other one says that it is lcsched", func() (bool, string) { return other.isLCSched(), other.err.String() })
	log := other.err.String()
	missed, began := strings.Index(log, "no sigmad is there"), strings.LastIndex(log, "this node is lcsched")
	if missed < 0 || missed > began {
		t.Errorf("want the other one to miss it, and then to be lcsched, in\n%s", log)
	}
	holder.Start()
	eventually(t, time.Minute, "the one that died is there again", func() (bool, string) {
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Class: api.LC, MCPU: 100, Memory: 8 << 20, Domain: holder.flag("--domain")})
		if err != nil {
			return false, err.Error()
		}
		st := nodes[0].Await(c, id)
		return st.OK(), fmt.Sprintf("%+v", st)
	})
}
