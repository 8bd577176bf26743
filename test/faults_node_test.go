package test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// withFailpoints builds sigmad as a release never is, once for all tests that need it.
func withFailpoints(t *testing.T) string {
	t.Helper()
	dir, err := failpoints()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "sigmad")
}

// failpoints makes the directory that TestMain removes.
var failpoints = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "sigma-failpoints")
	if err != nil {
		return "", err
	}
	failpointsDir = dir
	out, err := exec.Command("go", "build", "-tags", "failpoint", "-ldflags", "-s -w", "-o", filepath.Join(dir, "sigmad"), "sigmaos").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, out)
	}
	return dir, err
})

var failpointsDir string

// sigmad dies at each step of a start, as by kill -9. Whoever waits hears of it
// at once, nothing half-started survives, and no proc starts a second time.
func TestFAULTS_F3_SigmadDiesAtEveryStepOfAStart(t *testing.T) {
	needRoot(t)
	exe := withFailpoints(t)
	for _, point := range []string{
		"placed=1", "placed=7", "begin=1", "begin=7", "sent=1", "sent=7", "started=1", "started=3", "ended=1", "ended=3",
		"slot-group=1", "slot-group=3", "slot-pid1=1", "slot-configured=1", "slot-ready=1", "slot-ready=3",
	} {
		t.Run(point, func(t *testing.T) {
			dir, err := os.MkdirTemp("", "sigma-test")
			if err != nil {
				t.Fatal(err)
			}
			n := tidy(t, newNode(t, dir))
			n.bin, n.env = exe, []string{"SIGMA_FAILPOINT=" + point}
			n.Start()
			c := n.Client("default")
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			defer cancel()
			prog := n.mayUpload(c, "testproc")
			var wg sync.WaitGroup
			var mu sync.Mutex
			var ids []api.ProcID
			for i := range 8 {
				wg.Go(func() {
					d := &api.ProcDesc{Program: prog, Memory: 16 << 20}
					if i%2 == 0 {
						d = sleeper(prog)
					}
					id, err := c.Spawn(ctx, d)
					if err != nil {
						if api.KindOf(err) != api.Unavailable {
							t.Errorf("spawn: %v", err)
						}
						return
					}
					mu.Lock()
					ids = append(ids, id)
					mu.Unlock()
					if st, err := c.WaitExit(ctx, id); err == nil && !st.OK() || err != nil && api.KindOf(err) != api.Unavailable {
						t.Errorf("waitexit: %v %v", st, err)
					}
				})
			}
			select {
			case <-n.done:
			case <-time.After(15 * time.Second):
				t.Fatalf("sigmad never came by %s", point)
			}
			wg.Wait()
			n.cmd, n.env = nil, nil
			n.Start()
			c = n.Client("default")
			for _, id := range ids {
				if _, err := c.WaitExit(ctx, id); api.KindOf(err) != api.NotFound {
					t.Errorf("%s after the restart: %v", id, err)
				}
			}
			if procs, err := c.Procs(ctx, api.ProcFilter{All: true}); err != nil || len(procs) != 0 {
				t.Errorf("after the restart there are %v %v", procs, err)
			}
			if st := n.Run(c, &api.ProcDesc{Program: n.mayUpload(c, "testproc")}); !st.OK() {
				t.Errorf("after the restart: %v", st)
			}
		})
	}
}

// mayUpload puts a program into the realm without running it.
func (n *Node) mayUpload(c *admin.Client, name string) string {
	n.t.Helper()
	path := Proc(n.t, name)
	digest, size := sum(n.t, path)
	f, err := os.Open(path)
	if err != nil {
		n.t.Fatalf("%v", err)
	}
	defer f.Close()
	if _, _, err := c.Upload(context.Background(), f, name, digest, size); err != nil {
		n.t.Fatalf("upload %s: %v", name, err)
	}
	return "/bin/" + name
}

// binfs is the pid of a node's process that serves FUSE.
func (n *Node) binfs() int {
	n.t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range all {
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		b, _ := os.ReadFile(file)
		if strings.HasPrefix(string(b), "sigmad-binfs") && parentOf(pid) == n.PID() {
			return pid
		}
	}
	return 0
}

// The process that serves binaries is killed: what runs runs on, what starts at
// that moment starts late or has a reason, and within a second all is as before.
func TestFAULTS_F18_BinfsKilled(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	n.Upload("probe")
	prog := n.Upload("testproc")
	running := n.Running(c, sleeper(prog))
	touching := n.Running(c, probe("F18")) // asks for its pages again and again
	for round := range 3 {
		old := n.binfs()
		if old == 0 {
			t.Fatal("no binfs process")
		}
		ids := make(chan api.ProcID, 64)
		go func() { // starts while it dies
			defer close(ids)
			for range 20 {
				if id, err := c.Spawn(context.Background(), &api.ProcDesc{Program: prog, Memory: 16 << 20}); err == nil {
					ids <- id
				}
				time.Sleep(2 * time.Millisecond)
			}
		}()
		time.Sleep(10 * time.Millisecond)
		syscall.Kill(old, syscall.SIGKILL)
		begin := time.Now()
		eventually(t, time.Second, "binfs is back", func() (bool, string) {
			pid := n.binfs()
			return pid != 0 && pid != old, n.err.String()
		})
		// A program that no slot has opened yet.
		if out, e, code := n.Ctl("run", Proc(t, []string{"hello", "hello-raw", "hello-c"}[round])); code != 0 {
			t.Errorf("round %d: a new program: %s%s", round, out, e)
		}
		t.Logf("round %d: a new program had run %v after the kill", round, time.Since(begin))
		for id := range ids {
			ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
			st, err := c.WaitExit(ctx, id)
			cancel()
			if err != nil || !st.OK() && (st.State != api.Refused || !strings.Contains(st.Message, "spawn again")) && st.Signal != int(syscall.SIGBUS) {
				t.Errorf("round %d: a proc that started meanwhile: %v %v", round, st, err)
			}
		}
	}
	if p := n.info(c, running); p.State != api.Running {
		t.Errorf("the proc that ran: %v", p.State)
	}
	// Its resident pages stay; a page that is gone is SIGBUS.
	if p := n.info(c, touching); p.State != api.Running && (p.Status == nil || p.Status.Signal != int(syscall.SIGBUS)) {
		t.Errorf("the proc that touches its pages: %+v", p.Status)
	}
}

// It hangs: a start that needs it fails with a reason within 20 s and can be
// killed before that; others go on; then it is replaced.
func TestFAULTS_F19_BinfsHangs(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	warm := n.Upload("testproc")
	n.mayUpload(c, "hello")
	n.mayUpload(c, "hello-raw")
	old := n.binfs()
	hang(t, old)
	ctx, cancel := context.WithTimeout(context.Background(), 25*time.Second)
	defer cancel()
	begin := time.Now()
	cold, err := c.Spawn(ctx, &api.ProcDesc{Program: "/bin/hello"})
	if err != nil {
		t.Fatal(err)
	}
	killed, err := c.Spawn(ctx, &api.ProcDesc{Program: "/bin/hello-raw"})
	if err != nil {
		t.Fatal(err)
	}
	// P16: a proc in the middle of a fault that nobody answers can be killed.
	time.Sleep(100 * time.Millisecond)
	if err := c.Kill(ctx, killed, 0); err != nil {
		t.Error(err)
	}
	short, cancel2 := context.WithTimeout(ctx, 5*time.Second) // before binfs is replaced
	if st, err := c.WaitExit(short, killed); err != nil || st.State != api.Killed {
		t.Errorf("kill of a start that hangs: %v %v", st, err)
	}
	cancel2()
	if st := n.Run(c, &api.ProcDesc{Program: warm}); !st.OK() {
		t.Errorf("a warm start meanwhile: %v", st)
	}
	st, err := c.WaitExit(ctx, cold)
	// It was never exec'ed, so it is made again on the new mount.
	if err != nil || !st.OK() {
		t.Errorf("the cold start: %v %v", st, err)
	}
	if d := time.Since(begin); d > 20*time.Second {
		t.Errorf("it took %v", d)
	}
	eventually(t, patience, "binfs is back", func() (bool, string) {
		pid := n.binfs()
		return pid != 0 && pid != old, n.err.String()
	})
	if st := n.Run(c, &api.ProcDesc{Program: "/bin/hello"}); !st.OK() {
		t.Errorf("the same program afterwards: %v", st)
	}
}

// Bytes that are not what the digest says never run, and a realm with a damaged
// store does not block another.
func TestFAULTS_F20_DamagedProgramIsRefused(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	if _, err := c.CreateRealm(context.Background(), api.Realm{Name: "other"}); err != nil {
		t.Fatal(err)
	}
	other := n.Client("other")
	for name, harm := range map[string]func(path string) error{
		"hello": func(p string) error { // one bit
			f, err := os.OpenFile(p, os.O_RDWR, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			b := make([]byte, 1)
			f.ReadAt(b, 5000)
			b[0] ^= 1
			_, err = f.WriteAt(b, 5000)
			return err
		},
		"hello-c":   func(p string) error { return os.Truncate(p, 8192) },
		"hello-raw": func(p string) error { return os.Remove(p) },
		"testproc":  func(p string) error { return os.WriteFile(p+".tree", []byte("not a tree"), 0o600) },
	} {
		digest, _ := sum(t, Proc(t, name))
		prog := n.mayUpload(c, name)
		n.mayUpload(other, name)
		files, _ := filepath.Glob(filepath.Join(n.Dir, "data", "bin", "*", digest))
		if len(files) != 2 {
			t.Fatalf("%s is stored as %v", name, files)
		}
		mine := files[0]
		if !strings.Contains(mine, realmID(n, "default")) {
			mine = files[1]
		}
		if err := harm(mine); err != nil {
			t.Fatal(err)
		}
		st := n.Run(c, &api.ProcDesc{Program: prog, Args: []string{"-q"}})
		if st.OK() || st.State != api.Refused && st.Signal != int(syscall.SIGBUS) {
			t.Errorf("damaged %s: %v", name, st)
		}
		if st := n.Run(other, &api.ProcDesc{Program: prog, Args: []string{"-q"}}); !st.OK() {
			t.Errorf("%s of the other realm: %v", name, st)
		}
	}
}

func realmID(n *Node, name string) string {
	n.t.Helper()
	out, _, _ := n.Ctl("realm", "ls")
	m := regexp.MustCompile(`(?m)^` + name + `\s+(\S+)`).FindStringSubmatch(out)
	if m == nil {
		n.t.Fatalf("realm ls:\n%s", out)
	}
	return m[1]
}

// sigmad runs out of descriptors: it refuses with a reason, does not spin, and
// recovers.
func TestFAULTS_F26_DescriptorsOfTheNodeRunOut(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	prog := n.Upload("testproc")
	var limit unix.Rlimit
	if err := unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, nil, &limit); err != nil {
		t.Fatal(err)
	}
	limit.Cur = uint64(n.descriptors() + 130)
	if err := unix.Prlimit(n.PID(), unix.RLIMIT_NOFILE, &limit, nil); err != nil {
		t.Fatal(err)
	}
	var conns []net.Conn
	for range 400 {
		conn, err := net.Dial("unix", n.socket())
		if err != nil {
			break
		}
		conns = append(conns, conn)
	}
	if len(conns) < 100 {
		t.Fatalf("only %d connections", len(conns))
	}
	time.Sleep(200 * time.Millisecond)
	before := cpuTime(n.PID())
	time.Sleep(time.Second)
	if used := cpuTime(n.PID()) - before; used > 500*time.Millisecond {
		t.Errorf("without descriptors sigmad uses %v of CPU in a second", used)
	}
	refused := 0
	for range 10 {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		id, err := c.Spawn(ctx, &api.ProcDesc{Program: prog, Memory: 16 << 20})
		if err != nil {
			t.Fatalf("a connection that was there is not served: %v", err)
		}
		st, err := c.WaitExit(ctx, id)
		cancel()
		if err != nil || !st.OK() && (st.State != api.Refused || !strings.Contains(st.Message, "too many open files")) {
			t.Errorf("without descriptors: %v %v", st, err)
		}
		if !st.OK() {
			refused++
		}
	}
	t.Logf("%d of 10 starts were refused", refused)
	for _, conn := range conns {
		conn.Close()
	}
	eventually(t, 10*time.Second, "it recovers", func() (bool, string) {
		out, e, code := n.Ctl("run", prog)
		return code == 0, out + e
	})
}

// cpuTime is what a process has used so far.
func cpuTime(pid int) time.Duration {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 13 {
		return 0
	}
	user, _ := strconv.Atoi(f[11])
	system, _ := strconv.Atoi(f[12])
	return time.Duration(user+system) * 10 * time.Millisecond // clock ticks are 1/100 s
}

// The disk fills up: procs that are there run, whatever writes has an error that
// says why, sigmad lives, and when there is space all goes on.
func TestFAULTS_F27_DiskFull(t *testing.T) {
	needRoot(t)
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mount("sigma-test", data, "tmpfs", 0, "size=320m"); err != nil {
		t.Fatal(err)
	}
	n := newNode(t, dir)
	t.Cleanup(func() {
		n.Stop()
		if err := syscall.Unmount(data, 0); err != nil {
			t.Errorf("something holds the data directory: %v", err)
			syscall.Unmount(data, syscall.MNT_DETACH)
		}
		n.AssertNothingLeft()
		os.RemoveAll(dir)
	})
	n.Start()
	c := n.Client("default")
	prog := n.Upload("testproc")
	running := n.Running(c, sleeper(prog))
	filler := filepath.Join(data, "filler")
	fill := func() {
		f, err := os.Create(filler)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		block := make([]byte, 1<<20)
		for err == nil {
			_, err = f.Write(block)
		}
		for b := block[:4096]; ; {
			if _, err := f.Write(b); err != nil {
				return
			}
		}
	}
	for round := range 2 {
		fill()
		realm := fmt.Sprintf("r%d", round)
		if _, e, code := n.Ctl("realm", "create", realm); code != 1 || !strings.Contains(e, "full") {
			t.Errorf("realm create on a full disk: %d %q", code, e)
		}
		if _, e, code := n.Ctl("run", Proc(t, "hello-rust")); code != 1 || !strings.Contains(e, "disk") {
			t.Errorf("upload on a full disk: %d %q", code, e)
		}
		if st := n.Run(c, &api.ProcDesc{Program: prog}); !st.OK() {
			t.Errorf("a program that is there: %v", st)
		}
		// Output is lost, and its reader is told; the proc does not wait for it.
		out, e, code := n.Ctl("run", prog, "print", "20000", "99")
		if code != 0 || len(out) > 0 && !strings.Contains(e, "dropped") && len(out) < 2_000_000 {
			t.Errorf("output on a full disk: status %d, %d bytes, %q", code, len(out), e)
		}
		if out, e, code := n.Ctl("realm", "ls"); code != 0 || !strings.Contains(out, "default") {
			t.Errorf("reads go on: %s%s", out, e)
		}
		if err := os.Remove(filler); err != nil {
			t.Fatal(err)
		}
		if _, e, code := n.Ctl("realm", "create", realm); code != 0 {
			t.Errorf("with space again: %s", e)
		}
		if out, e, code := n.Ctl("run", prog, "print", "3", "9"); code != 0 || len(out) != 30 {
			t.Errorf("output with space again: %d, %q %q", code, out, e)
		}
	}
	if p := n.info(c, running); p.State != api.Running {
		t.Errorf("the proc that ran is %v", p.State)
	}
	// A start on a full disk says so; what was written is there afterwards.
	n.Stop()
	n.Start()
	if out, _, _ := n.Ctl("realm", "ls"); !strings.Contains(out, "r0") || !strings.Contains(out, "r1") {
		t.Errorf("after a restart the realms are\n%s", out)
	}
	n.Stop()
	fill()
	fresh := newNode(t, dir, "--data-dir", filepath.Join(data, "fresh"))
	if e, code := fresh.startAndFail(); code != 1 || !strings.Contains(e, "disk") && !strings.Contains(e, "no space") {
		t.Errorf("a first start on a full disk: %d %q", code, e)
	}
	os.Remove(filler)
}
