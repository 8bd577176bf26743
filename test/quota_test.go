package test

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// A realm has what its record says and no more, and is told which bound it met.
func TestRealmQuotas(t *testing.T) {
	n := StartNode(t, "--mcpu", "4000", "--memory", "2GiB")
	if _, e, code := n.Ctl("realm", "create", "shop", "--procs", "3", "--memory", "200MiB", "--cores", "0.5", "--scratch", "1MiB"); code != 0 {
		t.Fatal(e)
	}
	if o, _, _ := n.Ctl("realm", "ls"); !strings.Contains(o, "200MiB") || !strings.Contains(o, "0.5") {
		t.Errorf("realm ls shows %q", o)
	}
	prog := n.UploadTo("shop", "testproc")
	c := n.Client("shop")
	spawn := func(d api.ProcDesc) (api.ProcID, error) {
		d.Program, d.Args = prog, []string{"sleep"}
		return c.Spawn(minute(t), &d)
	}
	if _, err := spawn(api.ProcDesc{Memory: 201 << 20}); api.KindOf(err) != api.NoCapacity || !strings.Contains(err.Error(), "memory") {
		t.Errorf("a proc larger than the quota: %v", err)
	}
	first, err := spawn(api.ProcDesc{Memory: 150 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := spawn(api.ProcDesc{Memory: 64 << 20}); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "quota of memory") {
		t.Errorf("more memory than is left: %v", err)
	}
	if _, err := spawn(api.ProcDesc{Memory: 8 << 20, Class: api.LC, MCPU: 600}); api.KindOf(err) != api.NoCapacity || !strings.Contains(err.Error(), "cores") {
		t.Errorf("more cores than the quota: %v", err)
	}
	if err := c.Kill(minute(t), first, 0); err != nil {
		t.Fatal(err)
	}
	n.Await(c, first)
	for range 3 {
		if _, err := spawn(api.ProcDesc{Memory: 8 << 20}); err != nil {
			t.Error(err)
		}
	}
	if _, err := spawn(api.ProcDesc{Memory: 8 << 20}); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "quota of procs") {
		t.Errorf("a proc too many: %v", err)
	}
	awaitScratch(t, c.Names(), 1)
	if _, err := c.Names().PutFile(minute(t), "/ux/~local/f", make([]byte, 2<<20)); err == nil || !strings.Contains(err.Error(), "1 MiB") {
		t.Errorf("2 MiB into a scratch of 1 MiB: %v", err)
	}
	for name, realm := range map[string]string{"upper case": "Shop", "64 letters": strings.Repeat("a", 64), "a slash": "a/b", "the one for none": "-"} {
		if _, e, code := n.Ctl("realm", "create", "--", realm); code != 1 || !strings.Contains(e, "1 to 63 of a-z") {
			t.Errorf("%s: %d, %q", name, code, e)
		}
	}
	if _, e, code := n.Ctl("realm", "create", strings.Repeat("a", 63)); code != 0 {
		t.Error(e)
	}
}

// A realm that spawns on three nodes at once has its quota once, not three times; it
// is told which bound it met, what ends on one node makes room on another, and what
// a node had that died can be used elsewhere. Another realm notices nothing.
func TestRealmQuotasAreOfTheWholeCluster(t *testing.T) {
	nodes := StartCluster(t, 3, "--mcpu", "4000", "--memory", "2GiB")
	for _, q := range [][]string{{"shop", "--procs", "10"}, {"ram", "--memory", "200MiB"}, {"cores", "--cores", "1"}, {"other"}} {
		if _, e, code := nodes[0].Ctl(append([]string{"realm", "create"}, q...)...); code != 0 {
			t.Fatal(e)
		}
	}
	prog := ""
	clients := make(map[string][]*admin.Client)
	for _, realm := range []string{"shop", "ram", "cores", "other"} {
		prog = nodes[0].UploadTo(realm, "testproc")
		for _, n := range nodes {
			eventually(t, 10*time.Second, n.Name+" knows the realm", func() (bool, string) {
				c, err := n.connect(realm)
				if err != nil {
					return false, err.Error()
				}
				c.Close()
				return true, ""
			})
			clients[realm] = append(clients[realm], n.Client(realm))
		}
	}
	ctx := minute(t)
	// storm spawns on all nodes at once and returns what was taken, by node.
	storm := func(realm, bound string, each int, d api.ProcDesc) (taken [3][]api.ProcID) {
		t.Helper()
		d.Program, d.Args = prog, []string{"sleep"}
		var wg sync.WaitGroup
		for i, c := range clients[realm] {
			wg.Go(func() {
				for range each {
					d := d
					id, err := c.Spawn(ctx, &d)
					switch {
					case err == nil:
						taken[i] = append(taken[i], id)
					case api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "quota of "+bound):
						t.Errorf("over the quota of %s: %v", bound, err)
					}
				}
			})
		}
		wg.Wait()
		return taken
	}
	total := func(taken [3][]api.ProcID) int { return len(taken[0]) + len(taken[1]) + len(taken[2]) }

	stop := make(chan struct{})
	var beside sync.WaitGroup
	beside.Go(func() {
		for n := 0; ; n++ {
			select {
			case <-stop:
				return
			default:
			}
			id, err := clients["other"][n%2].Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"exit", "0"}, Memory: 16 << 20})
			if err != nil {
				t.Errorf("in another realm: %v", err)
				return
			}
			if st, err := clients["other"][n%2].WaitExit(ctx, id); err != nil || !st.OK() {
				t.Errorf("in another realm: %v, %v", st, err)
			}
		}
	})
	procs := storm("shop", "procs", 20, api.ProcDesc{Memory: 8 << 20})
	if n := total(procs); n != 10 {
		t.Errorf("%d procs of a realm that may have 10", n)
	}
	if n := total(storm("ram", "memory", 10, api.ProcDesc{Memory: 20 << 20})); n != 10 {
		t.Errorf("%d procs of 20 MiB in a realm that may have 200", n)
	}
	if n := total(storm("cores", "cores", 10, api.ProcDesc{Memory: 8 << 20, Class: api.LC, MCPU: 250})); n != 4 {
		t.Errorf("%d procs of 250 mCPU in a realm that may have a core", n)
	}
	close(stop)
	beside.Wait()

	// What ends on one node makes room on the others.
	shop := clients["shop"]
	for i, list := range procs {
		for _, id := range list {
			if err := shop[i].Kill(ctx, id, 0); err != nil {
				t.Error(err)
			}
			nodes[i].Await(shop[i], id)
		}
	}
	one := func(c *admin.Client) (api.ProcID, error) {
		return c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"sleep"}, Memory: 8 << 20})
	}
	for k := range 10 {
		eventually(t, patience, "there is room again", func() (bool, string) {
			_, err := one(shop[2])
			return err == nil, fmt.Sprintf("proc %d: %v", k, err)
		})
	}
	if id, err := one(shop[1]); api.KindOf(err) != api.Busy {
		t.Errorf("an eleventh: %v, %v", id, err)
	}

	// And so does the death of a node that had all of it.
	nodes[2].Kill()
	for k := range 10 {
		eventually(t, 20*time.Second, "there is room after a death", func() (bool, string) {
			_, err := one(shop[k%2])
			return err == nil, fmt.Sprintf("proc %d: %v", k, err)
		})
	}
	nodes[2].Start()
	nodes[2].awaitMembers(3)
	if id, err := one(nodes[2].Client("shop")); api.KindOf(err) != api.Busy || !strings.Contains(err.Error(), "10 of 10") {
		t.Errorf("on the node that came back: %v, %v", id, err)
	}
}
