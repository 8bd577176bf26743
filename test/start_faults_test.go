package test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

// A sigmad dies at a step of the start of procs whose home, queue and node are three
// machines. Whoever waits has an error in time, on the node that died nothing is
// left of what had half started, and nothing runs twice.
func TestFAULTS_F3_ANodeDiesAtEveryStepOfAStartElsewhere(t *testing.T) {
	needRoot(t)
	exe := withFailpoints(t)
	const home, runner, queue = 0, 1, 2
	all := StartClusterAs(t, 3, func(i int, n *Node) {
		n.bin = exe
		// Only the runner has room for what is spawned.
		n.args = append(n.args, [][]string{
			home: {"--roles", "node,named", "--memory", "32MiB"}, runner: {"--roles", "node"}, queue: {"--roles", "node,besched,lcsched", "--memory", "32MiB"},
		}[i]...)
	}, "--memory", "1GiB", "--mcpu", "2000")
	prog := all[home].program("testproc")
	if err := all[home].Client("default").Names().MkdirAll(minute(t), "/notes", 0o777); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		who   int
		point string
	}{
		{runner, "taken=1"}, {runner, "taken=5"}, {runner, "placed=4"}, {runner, "begin=4"}, {runner, "sent=4"}, {runner, "started=3"}, {runner, "ended=1"},
		{runner, "slot-group=2"}, {runner, "slot-pid1=2"}, {runner, "slot-configured=2"}, {runner, "slot-ready=2"},
		{queue, "queued=4"}, {queue, "granted=1"}, {queue, "decided=1"}, {home, "submitted=5"},
	} {
		t.Run(tt.point, func(t *testing.T) {
			var nodes [3]*Node
			for i, n := range all {
				nodes[i] = n.For(t)
			}
			victim := nodes[tt.who]
			victim.Stop()
			victim.env = []string{"SIGMA_FAILPOINT=" + tt.point}
			victim.Start()
			for _, n := range nodes {
				n.awaitMembers(3)
			}
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			defer cancel()
			w := &crowd{t: t, mark: fmt.Sprintf("f3-%d-%s", os.Getpid(), tt.point), c: nodes[home].Client("default")}
			stop := make(chan struct{})
			var watch sync.WaitGroup
			watch.Go(func() { w.once(stop) })
			halt := sync.OnceFunc(func() { close(stop) })
			defer func() { halt(); cancel(); watch.Wait(); w.wg.Wait() }() // where it fails
			w.start(ctx, 8, func(i int) api.ProcDesc {
				d := api.ProcDesc{Program: prog, Args: []string{"nap", fmt.Sprintf("/notes/%s-%d", w.mark, i), []string{"3600000", "50"}[i%2]}, Memory: 48 << 20}
				if i%4 >= 2 {
					d.Class, d.MCPU = api.LC, 50
				}
				return d
			})
			select {
			case <-victim.done:
			case <-time.After(30 * time.Second):
				t.Fatalf("%s never came by %s", victim.Name, tt.point)
			}
			died := time.Now()
			victim.cmd = nil
			if tt.who == runner {
				time.Sleep(time.Second)
				if left := w.processes(); len(left) > 0 {
					t.Errorf("1 s after its sigmad's death there run %v", left)
				}
			}
			// Whoever has no answer by then waits for a proc that runs, or that has a
			// place in the queue until there is room again.
			eventually(t, noticed, "all have an answer but who waits for what runs or is queued", func() (bool, string) {
				if tt.who == home {
					running := w.processes()
					return len(w.open()) == 0 && len(running) == 0, fmt.Sprintf("%v; there run %v", w.open(), running)
				}
				stuck := w.stuck(ctx, tt.who == runner)
				return len(stuck) == 0, strings.Join(stuck, "\n")
			})
			victim.env = nil
			victim.Start()
			for _, n := range nodes {
				n.awaitMembers(3)
			}
			ended := make(chan struct{})
			go func() { w.wg.Wait(); close(ended) }()
			eventually(t, 20*time.Second, "all have an answer", func() (bool, string) {
				running := w.processes()
				for _, p := range w.open() {
					if running[p.env] > 0 { // one that sleeps
						w.c.Kill(ctx, p.id, 0)
					}
				}
				select {
				case <-ended:
					return true, ""
				case <-time.After(200 * time.Millisecond):
					return false, fmt.Sprint(w.open())
				}
			})
			for _, n := range nodes {
				eventually(t, 10*time.Second, n.Name+" holds nothing", func() (bool, string) {
					top := n.top(n.Client("default"))
					return top.Running == 0 && top.Queued == 0 && top.MemBE == 0 && top.MemLC == 0 && top.Reserved == 0, fmt.Sprintf("%+v", top)
				})
			}
			if left := w.processes(); len(left) > 0 {
				t.Errorf("of what has ended there run %v", left)
			}
			halt()
			watch.Wait()
			lost := w.answers(died)
			t.Logf("%d of %d lost", lost, len(w.list))
			if tt.who == home { // who spawned them is gone, and so are they
				return
			}
			// Spawned again they run, once it is known everywhere who is there.
			round := 0
			eventually(t, 20*time.Second, "spawned again they run", func() (bool, string) {
				round++
				again := &crowd{t: t, mark: fmt.Sprintf("%s-again%d", w.mark, round), c: w.c}
				again.start(ctx, 4, func(i int) api.ProcDesc {
					d := api.ProcDesc{Program: prog, Args: []string{"nap", fmt.Sprintf("/notes/%s-%d", again.mark, i), "1"}, Memory: 48 << 20}
					if i%2 == 1 {
						d.Class, d.MCPU = api.LC, 50
					}
					return d
				})
				again.wg.Wait()
				good := !slices.ContainsFunc(again.list, func(p *waited) bool { return p.err != nil || !p.st.OK() })
				return good && len(again.list) == 4, fmt.Sprint(again.list)
			})
		})
	}
}
