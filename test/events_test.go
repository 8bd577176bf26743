package test

import (
	"context"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

// What happened in a realm is told from every node, in order, and to nobody
// else.
func TestEventsOfAllNodes(t *testing.T) {
	nodes := StartCluster(t, 2)
	if _, e, code := nodes[0].Ctl("realm", "create", "shop"); code != 0 {
		t.Fatal(e)
	}
	var ids []api.ProcID
	for _, n := range nodes {
		eventually(t, 20*time.Second, "the realm on "+n.Name, func() (bool, string) {
			c, err := n.connect("shop")
			if err == nil {
				c.Close()
			}
			return err == nil, ""
		})
		prog := n.UploadTo("shop", "testproc")
		c := n.Client("shop")
		id := n.Running(c, &api.ProcDesc{Program: prog, Args: []string{"sleep"}})
		if err := c.Kill(minute(t), id, 0); err != nil {
			t.Fatal(err)
		}
		n.Await(c, id)
		ids = append(ids, id)
	}
	read := func(n *Node, args ...string) (list []api.Event) {
		t.Helper()
		o, e, code := n.Ctl(append(args, "events", "-o", "json")...)
		if code != 0 || e != "" {
			t.Fatalf("events: %d, %q", code, e)
		}
		d := json.NewDecoder(strings.NewReader(o))
		for d.More() {
			var ev api.Event
			if err := d.Decode(&ev); err != nil {
				t.Fatal(err)
			}
			list = append(list, ev)
		}
		return list
	}
	for _, n := range nodes {
		list := read(n, "--realm", "shop")
		for i, id := range ids {
			var got []string
			for _, e := range list {
				if e.Proc == id {
					got = append(got, e.Kind)
					if want := nodes[i].flag("--node"); e.Node != want || e.Realm != "shop" || e.User != "operator" && e.Kind != api.EventEnded {
						t.Errorf("%+v; want it on %s, in shop, by the operator", e, want)
					}
				}
			}
			if s := strings.Join(got, " "); s != "spawned killed ended" {
				t.Errorf("%s tells of %s: %q", n.Name, id.Short(), s)
			}
		}
		if list[0].Kind != api.EventCreated || !strings.Contains(list[0].Detail, "shop") {
			t.Errorf("the first event is %+v; want that the realm was created", list[0])
		}
		for _, e := range read(n, "--realm", "default") {
			if e.Realm != "default" {
				t.Errorf("the default realm is told %+v", e)
			}
		}
	}

	// -f goes on.
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "sigmactl"), "--context", nodes[0].socket(), "--realm", "shop", "events", "-f", "-o", "json", "--since", "1m")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	c := nodes[1].Client("shop")
	id, err := c.Spawn(ctx, &api.ProcDesc{Program: "/bin/testproc"})
	if err != nil {
		t.Fatal(err)
	}
	for d := json.NewDecoder(out); ; {
		var ev api.Event
		if err := d.Decode(&ev); err != nil {
			t.Fatalf("events -f ended before it told of %s: %v", id, err)
		}
		if ev.Proc == id && ev.Kind == api.EventEnded {
			break
		}
	}
	cancel()
	cmd.Wait()
}
