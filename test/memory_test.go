package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/oom"
	"sigmaos/sigma/admin"
)

// memoryLimit is the file that bounds a group of the node in memory, and the one
// that says what it uses.
func (n *Node) memoryLimit(path string) (limit, used string) {
	n.t.Helper()
	l, err := cgroup.Detect()
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	dir, ok := l.Dirs["memory"]
	dir = filepath.Join(dir, "sigma-"+n.Name, path)
	if ok {
		return filepath.Join(dir, "memory.limit_in_bytes"), filepath.Join(dir, "memory.usage_in_bytes")
	}
	dir = filepath.Join(l.Dirs[""], "sigma-"+n.Name, path)
	return filepath.Join(dir, "memory.max"), filepath.Join(dir, "memory.current")
}

func number(t reporter, file string) int64 {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v", err)
	}
	v, err := strconv.ParseInt(strings.TrimSpace(string(b)), 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return v
}

func score(t *testing.T, pid int) int {
	t.Helper()
	n, err := oom.Score(pid)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// holding starts a proc that has so many MiB in use, of a few more.
func (n *Node) holding(c *admin.Client, program string, mib int64) api.ProcID {
	n.t.Helper()
	return n.Running(c, &api.ProcDesc{Program: program, Args: []string{"hold", fmt.Sprint(mib)}, Memory: (mib + 20) << 20})
}

// What the kernel goes by: every process of a BE slot before every one of an LC
// slot, and these before sigmad and its helpers.
func TestFAULTS_F24_BEIsWorthLessThanLCThanSigmad(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	prog := n.Upload("testproc")
	scores := make(map[api.Class]int)
	for _, class := range []api.Class{api.BE, api.LC} {
		d := sleeper(prog)
		d.Class, d.Env = class, []string{"MARK=f24-" + class.String()}
		if class == api.LC {
			d.MCPU = 100
		}
		n.Running(c, d)
		pids := marked(d.Env[0])
		if len(pids) != 1 {
			t.Fatalf("host pids of the %v proc: %v", class, pids)
		}
		scores[class] = score(t, pids[0])
		if p := parentOf(pids[0]); comm(p) != "slotinit" || score(t, p) != scores[class] {
			t.Errorf("PID 1 of the %v proc (%s) has %d, the proc %d", class, comm(p), score(t, p), scores[class])
		}
	}
	own := score(t, n.PID())
	if scores[api.BE] != 1000 || scores[api.LC] >= 1000 || own >= scores[api.LC] || own > score(t, os.Getpid()) {
		t.Errorf("oom_score_adj is %v of procs, %d of sigmad, %d of who started it", scores, own, score(t, os.Getpid()))
	}
	if got := score(t, n.binfs()); got != own {
		t.Errorf("sigmad's helper has %d, sigmad %d", got, own)
	}
}

// The command of sigmad dev is no helper of sigmad's.
func TestFAULTS_F24_DevsCommandIsWorthWhatItsCallerIs(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	n := tidy(t, newNode(t, dir))
	out, err := exec.Command(n.bin, append(n.args, "--", "cat", "/proc/self/oom_score_adj")...).Output()
	if want := fmt.Sprint(score(t, os.Getpid())); err != nil || strings.TrimSpace(string(out)) != want {
		t.Errorf("it has %q, %v; want %s", out, err, want)
	}
}

// Something takes the memory of the machine away — here of the group that sigmad
// and its procs are in. An LC proc touches what it reserved: best-effort procs
// end, and neither it nor sigmad.
func TestFAULTS_F24_WhenMemoryRunsOutBEEndsFirst(t *testing.T) {
	n := StartNode(t, "--memory", fmt.Sprint(1<<30))
	c := n.Client("default")
	prog := n.Upload("testproc")
	be := []api.ProcID{n.holding(c, prog, 40), n.holding(c, prog, 40), n.holding(c, prog, 40)} // less than it has itself by then
	lc := n.Running(c, &api.ProcDesc{Program: prog, Args: []string{"reserve", "160"}, Class: api.LC, MCPU: 100, Memory: 200 << 20})
	limit, used := n.memoryLimit("")
	left := number(t, used) + 80<<20
	if err := os.WriteFile(limit, []byte(fmt.Sprint(left)), 0); err != nil {
		t.Fatal(err)
	}
	if err := c.Kill(context.Background(), lc, time.Minute); err != nil { // it may touch it now
		t.Fatal(err)
	}
	if st := n.Await(c, lc); !st.OK() || string(st.Data) != "touched" {
		t.Errorf("the LC proc: %+v", st)
	}
	ended := 0
	for _, id := range be {
		if i := n.info(c, id); i.Status != nil && i.Status.State == api.OOM {
			ended++
		} else if i.State != api.Running {
			t.Errorf("a BE proc: %+v", i.Status)
		}
	}
	if ended == 0 {
		t.Errorf("160 MiB were touched where 80 were left, and no BE proc ended; the group has %d of %d bytes", number(t, used), left)
	}
	if st := n.Run(c, &api.ProcDesc{Program: prog, Memory: 16 << 20}); !st.OK() {
		t.Errorf("afterwards: %v", st)
	}
}

// BE procs fill what an idle LC proc left them, really; it touches its
// reservation and lives, and so do they. Another LC proc arrives where they hold
// the memory: the newest end, their branch is bounded to what is left, and it
// has what it asked for.
func TestFAULTS_F24_ReservedMemoryIsThere(t *testing.T) {
	const all = 600 // MiB
	n := StartNode(t, "--memory", fmt.Sprint(all<<20))
	c := n.Client("default")
	prog := n.Upload("testproc")
	ctx := context.Background()
	reserve := func(name string) api.ProcID {
		return n.Running(c, &api.ProcDesc{Program: prog, Name: name, Args: []string{"reserve", "130"}, Class: api.LC, MCPU: 100, Memory: 150 << 20})
	}
	idle := reserve("idle")
	var be []api.ProcID
	for range 4 {
		be = append(be, n.holding(c, prog, 90)) // of 110
	}
	fifth, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Args: []string{"hold", "90"}, Memory: 110 << 20})
	if err != nil {
		t.Fatal(err)
	}
	if w, err := c.Why(ctx, string(fifth)); err != nil || w.Proc.State != api.Queued {
		t.Errorf("a fifth of 110 MiB where 10 are not reserved: %v %v", w.Proc.State, err)
	}
	if err := c.Kill(ctx, fifth, 0); err != nil {
		t.Fatal(err)
	}
	touches := func(id api.ProcID) {
		t.Helper()
		if err := c.Kill(ctx, id, time.Minute); err != nil {
			t.Fatal(err)
		}
		if st := n.Await(c, id); !st.OK() || string(st.Data) != "touched" {
			t.Errorf("an LC proc touches its reservation: %+v", st)
		}
	}
	other := reserve("other") // 300 of 600 are reserved, 440 held
	limit, used := n.memoryLimit("be/" + n.Name)
	if got := number(t, limit); got < 300<<20 || got > (300+64+8)<<20 {
		t.Errorf("the BE branch may use %d MiB with 300 of %d reserved", got>>20, all)
	}
	if got := number(t, used); got > (300+64)<<20 {
		t.Errorf("the BE branch uses %d MiB when the LC proc has started", got>>20)
	}
	touches(other)
	touches(idle)
	for i, id := range be {
		want := api.Running
		if i >= 2 {
			want = api.Evicted
		}
		if got := n.info(c, id).State; got != want {
			t.Errorf("BE proc %d of 4 is %v, want %v", i+1, got, want)
		}
	}
	// What was reserved is there for BE procs again.
	be = append(be[:2], n.holding(c, prog, 90), n.holding(c, prog, 90), n.holding(c, prog, 90))
	if got := number(t, limit); got < 550<<20 {
		t.Errorf("the BE branch may use %d MiB with nothing reserved and 550 given", got>>20)
	}
	for _, id := range be {
		if got := n.info(c, id).State; got != api.Running {
			t.Errorf("a BE proc is %v", got)
		}
	}
}
