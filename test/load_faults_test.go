package test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"sigmaos/api"
)

// Best-effort procs burn every core of both nodes: neither is taken for dead by
// the other, and what runs on one is waited for from there without a break.
func TestFAULTS_F37_HeartbeatsGoOnWhileCoresAreBusy(t *testing.T) {
	nodes := StartCluster(t, 2)
	var waits []chan error
	for _, n := range nodes {
		c := n.Client("default")
		n.put(c, "probe")
		d := probe("R7")
		d.Threads = 120
		n.Running(c, d)
		id := n.Running(c, sleeper(n.put(c, "testproc")))
		heard := make(chan error, 1)
		go func() {
			_, err := c.WaitExit(minute(t), id)
			heard <- err
		}()
		waits = append(waits, heard)
	}
	looks := 0
	for end := time.Now().Add(scaled(8*time.Second, 50*time.Second)); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		for i, n := range nodes {
			var list []api.NodeInfo
			if err := n.Client("-").Call(minute(t), api.MNodes, nil, &list); err != nil {
				t.Fatalf("node ls on n%d: %v", i+1, err)
			}
			if len(list) != 2 {
				t.Fatalf("n%d knows %+v while the cores are busy", i+1, list)
			}
			looks++
			select {
			case err := <-waits[i]:
				t.Fatalf("the wait for a proc of n%d ended: %v", i+1, err)
			default:
			}
		}
	}
	t.Logf("%d looks", looks)
}

// A realm goes with what its procs listen on and talk over; one that has its name
// afterwards has none of it.
func TestFAULTS_F34_RealmsConnectionsAndNamesGo(t *testing.T) {
	n := StartNode(t)
	ctx := context.Background()
	for round := range scaled(2, 20) {
		c := n.realm("doomed")
		outside := n.Client("default")
		server, eps := n.serving(c, "serve")
		talker := n.talking(c, eps[0], 50, 60)
		if _, err := c.Names().PutFile(ctx, "/kept", []byte("x")); err != nil {
			t.Fatal(err)
		}
		ended := make(chan string, 2)
		for _, id := range []api.ProcID{server, talker} {
			go func() {
				st, err := c.WaitExit(minute(t), id)
				ended <- fmt.Sprint(st.State, " ", api.KindOf(err))
			}()
		}
		if list := n.endpoints(c); len(list) != 1 {
			t.Fatalf("round %d: endpoints %+v", round, list)
		}
		if err := n.Client("-").RemoveRealm(ctx, "doomed"); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		for range 2 {
			t.Log("a wait of the realm that went:", <-ended)
		}
		if _, err := outside.Dial(minute(t), eps[0]); err == nil {
			t.Errorf("round %d: its endpoint is there for another realm", round)
		}
		again := n.realm("doomed")
		if _, err := again.Dial(minute(t), eps[0]); err == nil {
			t.Errorf("round %d: its endpoint is there for a realm of the same name", round)
		}
		if list := n.endpoints(again); len(list) != 0 {
			t.Errorf("round %d: endpoints %+v are left", round, list)
		}
		if _, _, err := again.Names().GetFile(ctx, "/kept"); api.KindOf(err) != api.NotFound {
			t.Errorf("round %d: its file: %v", round, err)
		}
		if top := n.top(outside); top.Running != 0 {
			t.Errorf("round %d: %+v runs on", round, top.Procs)
		}
		if err := n.Client("-").RemoveRealm(ctx, "doomed"); err != nil {
			t.Fatal(err)
		}
	}
}
