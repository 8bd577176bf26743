package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"sigmaos/api"
)

// isLCSched reports by its log whether a node is lcsched, as it sees it.
func (n *Node) isLCSched() bool {
	log := n.err.String()
	return strings.Count(log, "this node is lcsched") > strings.Count(log, "is not lcsched any more")
}

// reserved checks what holds at every moment on nodes of so many mCPU, as far as
// they answer.
func reserved(t *testing.T, nodes []*Node, mcpu int64) {
	for _, n := range nodes {
		c, err := n.connect("default")
		if err != nil {
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		var top api.Top
		err = c.Call(ctx, api.MTop, nil, &top)
		cancel()
		c.Close()
		if err != nil {
			continue
		}
		var held int64
		for _, p := range top.Procs {
			held += p.MCPU
		}
		if top.Reserved > mcpu || held > mcpu || top.MemLC+top.MemBE > top.Memory {
			t.Errorf("%s has promised more than its %d mCPU: %+v", n.flag("--node"), mcpu, top)
		}
	}
}

// lcsched is killed again and again while procs that reserve come and go. No node
// ever promises more than it has, and what was promised is free in the end.
func TestFAULTS_F8_LCSchedIsKilledAgainAndAgain(t *testing.T) {
	const mcpu = 1000
	// n1, the home of all procs, is never lcsched.
	nodes := StartCluster(t, 3, "--roles", "node,besched,named", "--mcpu", fmt.Sprint(mcpu), "--log-level", "info", "--notice-ms", "1000")
	c := nodes[0].Client("default")
	prog := nodes[0].program("testproc")
	var (
		stop       = make(chan struct{})
		wg         sync.WaitGroup
		pause      sync.RWMutex // held by whoever has a proc; to be alone is to have none
		good, lost atomic.Int64
		began      [2]atomic.Int64 // successes of spawns, by the round they were of, even and odd
		round      atomic.Int64
	)
	once := func(r *rand.Rand) {
		pause.RLock()
		defer pause.RUnlock()
		at := round.Load()
		ctx, cancel := context.WithTimeout(context.Background(), waitBound)
		defer cancel()
		d := api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Class: api.LC, MCPU: 100 + r.Int64N(600), Memory: 16 << 20}
		id, err := c.Spawn(ctx, &d)
		if err != nil {
			t.Errorf("spawn: %v", err)
			return
		}
		switch st, err := c.WaitExit(ctx, id); {
		case err != nil:
			t.Errorf("waiting for %s: %v", id, err)
		case st.OK():
			good.Add(1)
			began[at%2].Add(1)
		case st.State == api.Lost, st.State == api.Refused && strings.Contains(st.Message, "lcsched"):
			lost.Add(1)
		default:
			t.Errorf("%s is %v", id, st)
		}
	}
	for k := range 4 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(*seed, uint64(k)))
			for {
				select {
				case <-stop:
					return
				default:
					once(r)
				}
			}
		})
	}
	wg.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(50 * time.Millisecond):
				reserved(t, nodes, mcpu)
			}
		}
	})
	defer wg.Wait()
	defer close(stop)
	free := func() {
		pause.Lock()
		defer pause.Unlock()
		for _, n := range nodes {
			eventually(t, 20*time.Second, "nothing stays reserved on "+n.flag("--node"), func() (bool, string) {
				top := n.top(n.Client("default"))
				return top.Reserved == 0 && top.MemLC == 0 && top.MemBE == 0, fmt.Sprintf("%+v", top)
			})
		}
	}
	count, begin := times(3, 1000), time.Now()
	for k := range count {
		var holder *Node
		eventually(t, 30*time.Second, fmt.Sprintf("round %d: somebody is lcsched", k), func() (bool, string) {
			for _, n := range nodes[1:] {
				if n.isLCSched() {
					holder = n
				}
			}
			return holder != nil, "nobody"
		})
		time.Sleep(time.Duration(rand.IntN(100)) * time.Millisecond)
		holder.Kill()
		began[(k+1)%2].Store(0)
		round.Store(int64(k + 1))
		holder.Start()
		eventually(t, waitBound, fmt.Sprintf("round %d: placing goes on", k), func() (bool, string) {
			return began[(k+1)%2].Load() > 0, fmt.Sprintf("%d good, %d lost", good.Load(), lost.Load())
		})
		if t.Failed() {
			return
		}
		if k%10 == 9 || k == count-1 {
			free()
			t.Logf("%d rounds in %v: %d procs ran, %d were lost", k+1, time.Since(begin).Round(time.Second), good.Load(), lost.Load())
		}
	}
	if good.Load() == 0 {
		t.Error("no proc ran: nothing was tested")
	}
}
