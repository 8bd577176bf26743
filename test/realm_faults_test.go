package test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
)

// leftOf are groups, logs, programs and scratch of a realm on a node.
func (n *Node) leftOf(realm string) (left []string) {
	for _, root := range append(hierarchies(), n.Dir) {
		for _, path := range findNamed(root, realm) {
			if root == n.Dir || strings.Contains(path, n.Name) {
				left = append(left, path)
			}
		}
	}
	return left
}

// A realm is removed while procs of it are spawned on every node, run on others,
// talk across nodes and are waited for. Soon nothing of it is anywhere.
func TestFAULTS_F34_ARealmOfThreeNodesIsRemovedUnderLoad(t *testing.T) {
	nodes := StartCluster(t, 3)
	ctx, cancel := context.WithTimeout(context.Background(), scaled(3*time.Minute, 20*time.Minute))
	defer cancel()
	for round := range times(2, 20) {
		made, err := nodes[0].Client("-").CreateRealm(ctx, api.Realm{Name: "doomed", Quota: api.Quota{Procs: 500}})
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		mark := &crowd{t: t, mark: fmt.Sprintf("f34-%d-%d", os.Getpid(), round)}
		var waits, spawners sync.WaitGroup
		stop := make(chan struct{})
		halt := sync.OnceFunc(func() { close(stop) })
		defer func() { halt(); cancel(); spawners.Wait(); waits.Wait() }() // of a round that fails
		for _, n := range nodes {
			eventually(t, 10*time.Second, n.Name+" knows the realm", func() (bool, string) {
				c, err := n.connect("doomed")
				if err != nil {
					return false, err.Error()
				}
				c.Close()
				return true, ""
			})
		}
		first := nodes[0].Client("doomed")
		nodes[0].put(first, "testproc")
		_, eps := nodes[1].serving(nodes[1].Client("doomed"), "serve")
		nodes[2].talking(nodes[2].Client("doomed"), eps[0], 20, 60)
		awaitScratch(t, first.Names(), 3)
		if _, err := first.Names().PutFile(ctx, "/kept", []byte("x")); err != nil {
			t.Fatal(err)
		}
		for i, n := range nodes {
			c := n.Client("doomed")
			if _, err := c.Names().PutFile(ctx, "/ux/~local/f", []byte("x")); err != nil {
				t.Fatal(err)
			}
			spawners.Go(func() {
				for k := 0; ; k++ {
					select {
					case <-stop:
						return
					case <-time.After(5 * time.Millisecond):
					}
					d := &api.ProcDesc{Program: "/bin/testproc", Args: []string{"exit", "0"}, Memory: 16 << 20, Env: []string{fmt.Sprintf("MARK=%s-%d-%d-", mark.mark, i, k)}}
					if k%4 == 0 {
						d.Args = []string{"sleep"}
					}
					id, err := c.Spawn(ctx, d)
					if err != nil {
						if kind := api.KindOf(err); kind != api.NotFound && kind != api.Busy {
							t.Errorf("round %d: spawn in a realm that goes: %v", round, err)
						}
						continue
					}
					waits.Go(func() {
						st, err := c.WaitExit(ctx, id)
						// Where a node hears of it before the one that runs the proc, the
						// program may be gone first.
						gone := st.State == api.Signal && strings.Contains(st.Message, "bytes could not be had")
						if ctx.Err() != nil || err == nil && !st.OK() && !gone && st.State != api.Killed && st.State != api.Lost && st.State != api.Refused {
							t.Errorf("round %d: a proc of the realm: %v, %v", round, st, err)
						}
					})
				}
			})
		}
		time.Sleep(time.Duration(300+rand.IntN(500)) * time.Millisecond)
		if err := nodes[rand.IntN(3)].Client("-").RemoveRealm(ctx, "doomed"); err != nil {
			t.Fatalf("round %d: realm rm: %v", round, err)
		}
		for _, n := range nodes {
			eventually(t, 10*time.Second, n.Name+" has forgotten the realm", func() (bool, string) {
				c, err := n.connect("doomed")
				if err == nil {
					c.Close()
				}
				return api.KindOf(err) == api.NotFound, fmt.Sprint(err)
			})
		}
		halt()
		spawners.Wait()
		ended := make(chan struct{})
		go func() { waits.Wait(); close(ended) }()
		select {
		case <-ended:
		case <-time.After(30 * time.Second):
			t.Fatalf("round %d: waits for procs of the removed realm do not end", round)
		}
		eventually(t, 20*time.Second, fmt.Sprintf("round %d: nothing of the realm is anywhere", round), func() (bool, string) {
			var left []string
			for m := range mark.processes() {
				left = append(left, "a process of "+m)
			}
			for _, n := range nodes {
				left = append(left, n.leftOf(made.ID)...)
				if top := n.top(n.Client("default")); top.Running != 0 || top.Queued != 0 || top.MemBE != 0 || top.MemLC != 0 {
					left = append(left, fmt.Sprintf("on %s: %+v", n.flag("--node"), top))
				}
				if _, err := n.Client("default").Dial(minute(t), eps[0]); err == nil {
					left = append(left, "an endpoint, seen from "+n.flag("--node"))
				}
			}
			return len(left) == 0, strings.Join(left, "\n")
		})
	}
}
