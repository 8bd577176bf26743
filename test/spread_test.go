package test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

// Latency-critical procs run in the failure domain that they name, those of one
// group in different ones, and away from those that they want to be apart from;
// what has no such place waits, and says why, until there is one.
func TestPaper34_FailureDomains(t *testing.T) {
	// Two machines in one rack, one in another, one that has no domain.
	nodes := StartClusterAs(t, 4, func(i int, n *Node) {
		n.args = append(n.args, "--domain", []string{"rack1", "rack1", "rack2", ""}[i])
	}, "--mcpu", "2000")
	domain := map[string]string{"n1": "rack1", "n2": "rack1", "n3": "rack2", "n4": "n4"}
	c := nodes[0].Client("default")
	ctx := minute(t)
	prog := nodes[0].program("testproc")
	spawn := func(d api.ProcDesc) api.ProcID {
		t.Helper()
		d.Program, d.Args, d.Class, d.Memory = prog, []string{"sleep"}, api.LC, 16<<20
		if d.MCPU == 0 {
			d.MCPU = 100
		}
		id, err := c.Spawn(ctx, &d)
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	in := func(id api.ProcID) string {
		t.Helper()
		if err := c.WaitStart(ctx, id); err != nil {
			t.Fatal(err)
		}
		return domain[nodes[0].info(c, id).Node]
	}
	waits := func(id api.ProcID, why string) {
		t.Helper()
		eventually(t, 20*time.Second, "why says "+why, func() (bool, string) {
			w, err := c.Why(ctx, string(id))
			if err != nil {
				return false, err.Error()
			}
			all := strings.Join(w.Nodes, "\n")
			return w.Proc.State == api.Queued && strings.Contains(all, why), fmt.Sprintf("%v: %s", w.Proc.State, all)
		})
	}
	end := func(id api.ProcID) {
		t.Helper()
		if err := c.Kill(ctx, id, 0); err != nil {
			t.Fatal(err)
		}
		nodes[0].Await(c, id)
	}

	for range 4 {
		if d := in(spawn(api.ProcDesc{Domain: "rack2"})); d != "rack2" {
			t.Errorf("one for rack2 runs in %s", d)
		}
	}
	if st := nodes[0].Await(c, spawn(api.ProcDesc{Domain: "rack9"})); st.State != api.Refused || !strings.Contains(st.Message, "there are rack1, rack2") {
		t.Errorf("one for a domain that is not there: %v", st)
	}

	const taken = "its failure domain has a proc that this one must be apart from"

	// A group of three has a domain each, whatever fits better; a fourth waits.
	var group []api.ProcID
	seen := make(map[string]int)
	for range 3 {
		id := spawn(api.ProcDesc{Group: "replicas"})
		group = append(group, id)
		seen[in(id)]++
	}
	if len(seen) != 3 {
		t.Errorf("three of a group run in the domains %v", seen)
	}
	fourth := spawn(api.ProcDesc{Group: "replicas"})
	waits(fourth, taken)
	if d := in(spawn(api.ProcDesc{Group: "others"})); d == "" {
		t.Error("one of another group has no domain")
	}
	gone := in(group[1])
	end(group[1])
	if d := in(fourth); d != gone {
		t.Errorf("the fourth runs in %s; %s was free", d, gone)
	}

	// Apart from two in two domains there is the third; apart from three, nothing.
	in1, in2 := spawn(api.ProcDesc{Domain: "rack1"}), spawn(api.ProcDesc{Domain: "rack2"})
	in(in1)
	in(in2)
	apart := spawn(api.ProcDesc{Apart: []string{string(in1), string(in2)}})
	if d := in(apart); d != "n4" {
		t.Errorf("one apart from rack1 and rack2 runs in %s", d)
	}
	last := spawn(api.ProcDesc{Apart: []string{string(in1), string(in2), string(apart)}})
	waits(last, taken)
	end(in1)
	if d := in(last); d != "rack1" {
		t.Errorf("when the one in rack1 had ended it ran in %s", d)
	}
	// The command line asks for the same.
	out, e, code := nodes[0].Shell(bin+"/sigmactl", "spawn", "--class", "LC", "--mcpu", "100", "--domain", "rack2", "--apart", string(in2), prog, "exit", "0")
	if code != 0 {
		t.Fatal(e)
	}
	beside := api.ProcID(strings.TrimSpace(out))
	waits(beside, taken)
	end(in2)
	if st := nodes[0].Await(c, beside); !st.OK() {
		t.Errorf("when nothing was in its way it was %v", st)
	}
}
