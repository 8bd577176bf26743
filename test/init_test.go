package test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
)

// startAll starts nodes of which none runs, in a random order: none of them is
// ready before more than half of the voters are there.
func startAll(t *testing.T, list []*Node) {
	t.Helper()
	for _, i := range rand.Perm(len(list)) {
		list[i].spawn()
	}
	for _, n := range list {
		eventually(t, time.Minute, n.Name+" answers", func() (bool, string) {
			c, err := n.connect("default")
			if err == nil {
				c.Close()
			}
			return err == nil, fmt.Sprintf("%v\n%s", err, n.err)
		})
	}
}

// marks counts the starts of the registered proc.
func marks(t *testing.T, n *Node) int {
	t.Helper()
	var count int
	names := n.Client("default").Names()
	eventually(t, 30*time.Second, "the marks", func() (bool, string) {
		list, err := names.ReadDir(minute(t), "/marks", "", 0)
		count = len(list)
		return err == nil, fmt.Sprint(err)
	})
	return count
}

// What is registered is started once each time the whole system comes back, and
// not when a node does.
func TestFAULTS_F31_RegisteredProcsStartOncePerSystemBoot(t *testing.T) {
	p := startPeers(t, 3)
	p.voters(p.list[0], 1, 2, 3)
	ctx := minute(t)
	names := p.list[0].Client("default").Names()
	if err := names.Mkdir(ctx, "/marks", 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := names.PutFile(ctx, "/state", []byte("kept")); err != nil {
		t.Fatal(err)
	}
	n2 := p.list[1] // it alone has the program
	prog := n2.program("testproc")
	eventually(t, 30*time.Second, "init add", func() (bool, string) {
		_, e, code := n2.Ctl("init", "add", "keeper", "--now", "--", prog, "mark", "/marks")
		return code == 0, e
	})
	if _, e, code := n2.Ctl("init", "add", "later", "--", prog, "mark", "/marks"); code != 0 {
		t.Fatal(e)
	}
	if _, e, code := n2.Ctl("init", "add", "later", "--", prog, "mark", "/marks"); code != 1 || !strings.Contains(e, "of this name") {
		t.Errorf("the same name again: %d, %q", code, e)
	}
	eventually(t, 30*time.Second, "the start at once", func() (bool, string) { n := marks(t, n2); return n == 1, fmt.Sprint(n) })

	// One node that comes back is no boot of the system.
	n2.Kill()
	n2.Start()
	want := 1
	for round := range scaled(2, 10) {
		for _, i := range rand.Perm(3) {
			p.list[i].Kill()
		}
		startAll(t, p.list)
		want += 2
		eventually(t, time.Minute, fmt.Sprintf("round %d: %d starts", round, want), func() (bool, string) {
			n := marks(t, p.list[0])
			var list []api.InitProc
			c := n2.Client("default")
			err := c.Call(minute(t), api.MInitList, nil, &list)
			done := err == nil && !slices.ContainsFunc(list, func(i api.InitProc) bool { return i.State != "started" })
			return n >= want && done, fmt.Sprintf("%d starts; %+v, %v\n%s", n, list, err, n2.err)
		})
		time.Sleep(scaled(3*time.Second, 15*time.Second)) // for one too many
		if n := marks(t, p.list[2]); n != want {
			t.Fatalf("round %d: %d starts, want %d", round, n, want)
		}
		if b, _, err := p.list[2].Client("default").Names().GetFile(minute(t), "/state"); err != nil || string(b) != "kept" {
			t.Errorf("round %d: the named state is %q, %v", round, b, err)
		}
	}
	if _, e, code := n2.Ctl("init", "rm", "keeper"); code != 0 {
		t.Error(e)
	}
	if o, e, code := n2.Ctl("init", "ls", "-o", "json"); code != 0 || strings.Contains(o, `"keeper"`) || !strings.Contains(o, `"later"`) {
		t.Errorf("init ls: %q, %q", o, e)
	}
}
