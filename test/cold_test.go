package test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/binfs"
)

// cachedFiles are what the node keeps of programs that came from elsewhere.
func (n *Node) cachedFiles() []string {
	list, _ := filepath.Glob(filepath.Join(n.Dir, "data", "bin", "*", "cache", "s1-*"))
	var out []string
	for _, f := range list {
		if !strings.HasSuffix(f, ".tree") {
			out = append(out, f)
		}
	}
	return out
}

func (n *Node) howStarted(id api.ProcID) api.ColdStart {
	n.t.Helper()
	var y api.Why
	if err := n.Client("default").Call(context.Background(), api.MWhy, api.Ref{Name: string(id)}, &y); err != nil {
		n.t.Fatalf("why: %v", err)
	}
	if y.Start == nil {
		n.t.Fatalf("why says nothing of the start: %+v", y)
	}
	return *y.Start
}

// A program that only another node has starts here by its name: cold once, warm
// from then on, from the disk after a restart, and again from the other node
// where the disk has damaged it.
func TestPaper33_ProgramFromAnotherNode(t *testing.T) {
	nodes := StartCluster(t, 2)
	has, lacks := nodes[0], nodes[1]
	path := has.program("hello")
	run := func(n *Node) api.ProcID {
		t.Helper()
		c := n.Client("default")
		var id api.ProcID
		eventually(t, 20*time.Second, "the other node says what "+path+" is", func() (bool, string) {
			var err error
			id, err = c.Spawn(context.Background(), n.bound(&api.ProcDesc{Program: path}))
			return err == nil, fmt.Sprint(err)
		})
		if st := n.Await(c, id); st.State != api.Exited || st.Code != 0 {
			t.Fatalf("the proc on %s ended %+v, want exited 0", n.Name, st)
		}
		return id
	}
	first := lacks.howStarted(run(lacks))
	if first.Warm || first.From != "n1" || first.Bytes == 0 {
		t.Errorf("first start: %+v, want a cold one with bytes from n1", first)
	}
	t.Logf("cold: %+v", first)
	if second := lacks.howStarted(run(lacks)); !second.Warm {
		t.Errorf("second start: %+v, want a warm one", second)
	}
	if out := lacks.ctl(t, "ps", "-a", "-o", "wide"); !strings.Contains(out, " from n1, ") || !strings.Contains(out, " warm ") {
		t.Errorf("ps shows neither the cold nor the warm start:\n%s", out)
	}
	files := lacks.cachedFiles()
	if len(files) != 1 {
		t.Fatalf("the disk keeps %v, want one program", files)
	}

	lacks.Stop()
	lacks.Start()
	lacks.awaitMembers(2)
	// What the kernel reads ahead differs a little from start to start.
	if again := lacks.howStarted(run(lacks)); again.Warm || again.Bytes > first.Bytes/2 {
		t.Errorf("start after a restart fetched %+v, want what the disk has not: the first was %+v", again, first)
	}

	lacks.Stop()
	b, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(b); i += 100 {
		b[i] ^= 1
	}
	if err := os.WriteFile(files[0], b, 0o600); err != nil {
		t.Fatal(err)
	}
	lacks.Start()
	lacks.awaitMembers(2)
	if healed := lacks.howStarted(run(lacks)); healed.Warm || healed.From != "n1" {
		t.Errorf("start from a damaged disk: %+v, want the bytes from n1 again", healed)
	}
}

// FAULTS F20: what a node gives is verified. A damaged program is refused with a
// reason, it is never exec'ed, and another realm's starts go on.
func TestFAULTS_F20_DamagedProgramIsNeverExeced(t *testing.T) {
	nodes := StartCluster(t, 2)
	has, lacks := nodes[0], nodes[1]
	path := has.program("hello")
	stored, _ := filepath.Glob(filepath.Join(has.Dir, "data", "bin", "*", "s1-*"))
	for _, f := range stored {
		if _, err := binfs.ParseDigest(filepath.Base(f)); err != nil {
			continue
		}
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		b[len(b)/2] ^= 1
		b[0] ^= 1
		if err := os.WriteFile(f, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c := lacks.Client("default")
	id, err := c.Spawn(context.Background(), lacks.bound(&api.ProcDesc{Program: path}))
	if err != nil {
		t.Fatal(err)
	}
	if st := lacks.Await(c, id); st.State != api.Refused || !strings.Contains(st.Message, "bytes could not be had") {
		t.Errorf("a damaged program ended %+v, want refused for its bytes", st)
	}
	if _, e, code := lacks.Ctl("realm", "create", "other"); code != 0 {
		t.Fatalf("realm create: %s", e)
	}
	other := lacks.UploadTo("other", "hello")
	oc := lacks.Client("other")
	if st := lacks.Run(oc, &api.ProcDesc{Program: other}); st.State != api.Exited {
		t.Errorf("another realm's proc ended %+v, want exited", st)
	}
}

// Many procs that wait for one program cost what one costs.
func TestColdStormFetchesEachChunkOnce(t *testing.T) {
	nodes := StartCluster(t, 2)
	has, lacks := nodes[0], nodes[1]
	path := has.program("testproc")
	info, err := os.Stat(Proc(t, "testproc"))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	ids := make([]api.ProcID, 12)
	for i := range ids {
		wg.Go(func() {
			c, err := lacks.connect("default")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			if ids[i], err = c.Spawn(context.Background(), lacks.bound(&api.ProcDesc{Program: path, Args: []string{"exit", "0"}})); err != nil {
				t.Errorf("spawn: %v", err)
			}
		})
	}
	wg.Wait()
	c := lacks.Client("default")
	var cold api.ColdStart
	for _, id := range ids {
		lacks.Await(c, id)
		if h := lacks.howStarted(id); !h.Warm {
			cold = h
		}
	}
	if cold.Bytes == 0 || cold.Bytes > info.Size() {
		t.Errorf("%d bytes were fetched of a program of %d, want each once at most", cold.Bytes, info.Size())
	}
}

// The bench of cold starts runs, and what it calls cold was fetched from the
// other node.
func TestBenchCold(t *testing.T) {
	if !scaled(false, true) {
		t.Skip("SIGMA_LONG=1 runs it: it moves 100 MB programs")
	}
	head := StartNode(t).figures("cold", "-n", "1")
	for _, f := range head.Rows {
		if strings.HasPrefix(f.Row, "peer") && f.Value <= 0 {
			t.Errorf("row %s: %+v, want a time", f.Row, f)
		}
	}
}

// A program put anywhere in the realm's name space starts on any node by that
// path, and is what the path meant when it was spawned.
func TestPaper33_ProgramByItsPath(t *testing.T) {
	nodes := StartCluster(t, 2)
	const path = "/ux/n1/prog"
	put := func(program string) {
		t.Helper()
		eventually(t, 20*time.Second, "the program is put", func() (bool, string) {
			_, e, code := nodes[0].Ctl("put", Proc(t, program), path)
			return code == 0, e
		})
	}
	put("hello")
	run := func(args ...string) (api.ProcInfo, api.Status) {
		t.Helper()
		c := nodes[1].Client("default")
		id, err := c.Spawn(context.Background(), nodes[1].bound(&api.ProcDesc{Program: path, Args: args}))
		if err != nil {
			t.Fatalf("spawn of %s: %v", path, err)
		}
		st := nodes[1].Await(c, id)
		y, err := c.Why(context.Background(), string(id))
		if err != nil {
			t.Fatal(err)
		}
		return y.Proc, st
	}
	first, st := run()
	if st.State != api.Exited || st.Code != 0 {
		t.Fatalf("the program at %s ended %+v, want exited 0", path, st)
	}
	if again, _ := run(); again.Digest != first.Digest {
		t.Errorf("two spawns of one file are %s and %s", first.Digest, again.Digest)
	}
	if out, e, code := nodes[1].Ctl("run", path); code != 0 || !strings.Contains(out, "hello") {
		t.Errorf("sigmactl run %s: status %d, %q, %q", path, code, out, e)
	}
	put("testproc")
	if other, st := run("exit", "7"); other.Digest == first.Digest || st.Code != 7 {
		t.Errorf("after another program was put: %s ended %+v, want the new one with status 7", other.Digest, st)
	}
	c := nodes[1].Client("default")
	for name, bad := range map[string]string{"missing": "/ux/n1/nothing", "a directory": "/ux/n1", "up": "/../etc/passwd", "no server": "/ux/n9/prog"} {
		if id, err := c.Spawn(context.Background(), nodes[1].bound(&api.ProcDesc{Program: bad})); err == nil {
			t.Errorf("%s: %s is spawned as %s", name, bad, id)
		}
	}
}

// storedPrograms are the programs that the node has whole.
func (n *Node) storedPrograms() []string {
	list, _ := filepath.Glob(filepath.Join(n.Dir, "data", "bin", "*", "s1-*.tree"))
	return list
}
