// Package test runs whole nodes, as a user does, and looks at what they leave.
//
// A test starts a [Node] of its own, or, where it only runs procs, uses the one
// that all hostile procs share. Every node is looked after by the leak checker
// (leaks_test.go) when it has stopped.
package test

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/bench/lab"
	"sigmaos/runtime/binfs"
	"sigmaos/sigma/admin"
)

// bin has what make builds.
var bin = func() string {
	if d := os.Getenv("SIGMA_BIN"); d != "" {
		return d
	}
	return "../bin"
}()

// long says that make test-long runs: full lengths instead of scaled ones.
var long = os.Getenv("SIGMA_LONG") != ""

// scaled is full in make test-long and short otherwise.
func scaled[T any](short, full T) T {
	if long {
		return full
	}
	return short
}

// manyTimes lets a long test run in pieces: `go test ./test -run F8 -args -rounds 100`.
var manyTimes = flag.Int("rounds", 0, "how often tests that repeat themselves do so; 0: as often as they should")

// times is scaled for what is repeated.
func times(short, full int) int {
	if *manyTimes > 0 {
		return *manyTimes
	}
	return scaled(short, full)
}

// TestMain makes this process the parent of every orphan, so that the leak
// checker sees what a node left running, and stops the shared node at the end.
func TestMain(m *testing.M) {
	if what := os.Getenv(withoutVar); what != "" {
		becomeWithout(what)
	}
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		fmt.Fprintln(os.Stderr, "test: subreaper:", err)
		os.Exit(1)
	}
	code := m.Run()
	if !stopShared() && code == 0 {
		code = 1
	}
	if failpointsDir != "" {
		os.RemoveAll(failpointsDir)
	}
	os.Exit(code)
}

// reporter is the part of testing.TB that nodes need; the shared one outlives
// every test.
type reporter interface {
	Helper()
	Logf(string, ...any)
	Errorf(string, ...any)
	Fatalf(string, ...any)
}

var nodes atomic.Int64

// here starts the nodes that need no network of their own.
var here = sync.OnceValues(lab.Here)

// block is a part of the loopback network, 127.block.0.0/16, that is this process's
// as long as it runs: tests of another clone, or the other half of make test, have
// another one.
var block = sync.OnceValues(func() (b int, err error) {
	for i := range 200 {
		b = 20 + (os.Getpid()+i)%200
		if blockHeld, err = net.Listen("unix", fmt.Sprintf("@sigma-test-127.%d", b)); err == nil {
			return b, nil
		}
	}
	return 0, fmt.Errorf("no part of the loopback network is free: %w", err)
})

// blockHeld says to others that the block is taken; it ends with this process.
var blockHeld net.Listener

// firstAddr is where the first node of a cluster listens; the others are beside it,
// at .2, .3 and so on.
func firstAddr(t *testing.T) string {
	t.Helper()
	b, err := block()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.%d.%d.1:9460", b, nodes.Add(1)%250)
}

// Node is one running `sigmad dev` with directories and groups of its own.
type Node struct {
	t    reporter
	Name string
	Dir  string
	args []string
	bin  string     // sigmad, another than make's for tests that build their own
	env  []string   // beyond ours
	in   *lab.Space // where sigmad runs; nil is here
	*running
}

// running is the process; copies of a Node share it.
type running struct {
	cmd  *exec.Cmd
	err  *output
	done chan struct{}
}

// output collects what a process writes while others may read it.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat(filepath.Join(bin, "sigmad")); err != nil {
		t.Fatal("run make first: the tests start bin/sigmad")
	}
}

// newNode prepares a node and starts nothing.
func newNode(t reporter, dir string, args ...string) *Node {
	// No name is the beginning of another: the leak checker looks for it.
	n := &Node{t: t, Name: fmt.Sprintf("t%d-%dn", os.Getpid(), nodes.Add(1)), Dir: dir, bin: filepath.Join(bin, "sigmad"), running: &running{}}
	n.args = append([]string{"dev", "--name", n.Name, "--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"), "--cgroup-root", "sigma-" + n.Name}, args...)
	return n
}

// StartNode starts a node and waits until it answers; the test's end stops it
// and looks for leftovers.
func StartNode(t *testing.T, args ...string) *Node {
	t.Helper()
	needRoot(t)
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	return startIn(t, dir, args...)
}

// startIn is StartNode in a directory that exists.
func startIn(t *testing.T, dir string, args ...string) *Node {
	t.Helper()
	n := tidy(t, newNode(t, dir, args...))
	n.Start()
	return n
}

// tidy has a node stopped, looked after and removed at the test's end.
func tidy(t *testing.T, n *Node) *Node {
	t.Cleanup(func() {
		n.Stop()
		n.AssertNothingLeft()
		os.RemoveAll(n.Dir)
	})
	return n
}

// For is the node as another test uses it.
func (n *Node) For(t reporter) *Node {
	c := *n
	c.t = t
	return &c
}

// patience is for what has no bound of its own, on a machine that does much else.
const patience = time.Minute

// Start starts the node's process and waits until it answers.
func (n *Node) Start() {
	n.t.Helper()
	n.spawn()
	n.answers()
}

// answers waits until a node that was spawned answers: one that is stopped before that
// has not come to clean what it left when it was killed.
func (n *Node) answers() {
	n.t.Helper()
	for end := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		c, err := n.connect("default")
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-n.done:
			n.t.Fatalf("sigmad ended: %s", n.err)
		default:
		}
		if time.Now().After(end) {
			n.t.Fatalf("sigmad does not answer: %v\n%s", err, n.err)
		}
	}
}

// spawn starts the process and does not wait.
func (n *Node) spawn() {
	n.t.Helper()
	if n.err != nil { // of a life that ended by other means than Stop and Kill
		n.raced("sigmad", n.err.String())
	}
	n.err = &output{}
	n.cmd = exec.Command(n.bin, n.args...)
	n.cmd.Env = append(os.Environ(), n.env...)
	n.cmd.Stderr = n.err
	// However this process ends, its nodes do too: those of this network stop, and
	// leave nothing; a machine with a network of its own is cut off.
	space, sig := n.in, syscall.SIGKILL
	if space == nil {
		var err error
		if space, err = here(); err != nil {
			n.t.Fatalf("%v", err)
		}
		sig = syscall.SIGTERM
	}
	if err := space.Start(n.cmd, sig); err != nil {
		n.cmd = nil
		n.t.Fatalf("sigmad: %v", err)
	}
	own.Store(n.cmd.Process.Pid, true)
	done := make(chan struct{})
	n.done = done
	go func(cmd *exec.Cmd) {
		cmd.Wait()
		own.Delete(cmd.Process.Pid)
		close(done)
	}(n.cmd)
}

// PID of sigmad.
func (n *Node) PID() int { return n.cmd.Process.Pid }

// Stop asks the node to end and waits.
func (n *Node) Stop() {
	n.t.Helper()
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
		if code := n.cmd.ProcessState.ExitCode(); code != 0 {
			n.t.Errorf("sigmad ended with %v\n%s", n.cmd.ProcessState, n.err)
		}
	case <-time.After(30 * time.Second):
		n.t.Errorf("sigmad does not stop\n%s", n.err)
		n.cmd.Process.Kill()
		<-n.done
	}
	n.cmd = nil
	n.raced("sigmad", n.err.String())
}

// Kill ends sigmad as kill -9 does.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	<-n.done
	n.cmd = nil
	n.raced("sigmad", n.err.String())
}

// hang stops a process and returns when each of its threads stands: until then one
// of them may still answer.
func hang(t reporter, pid int) {
	t.Helper()
	if pid <= 1 { // 0 is this process's group
		t.Fatalf("there is no process to stop")
	}
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatalf("SIGSTOP to %d: %v", pid, err)
	}
	eventually(t, 20*time.Second, fmt.Sprintf("process %d stands still", pid), func() (bool, string) {
		list, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
		for _, name := range list {
			stat, _ := os.ReadFile(name)
			if !strings.Contains(string(stat), ") T ") {
				return false, string(stat)
			}
		}
		return len(list) > 0, "it has ended"
	})
}

// raceBuild says whether the nodes are built with the race detector, which takes
// memory and time that are not theirs.
var raceBuild = sync.OnceValue(func() bool {
	info, err := buildinfo.ReadFile(filepath.Join(bin, "sigmad"))
	return err == nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
})

// raced fails the test where a program that was built with the race detector
// (make test-race) found something.
func (n *Node) raced(what, said string) {
	n.t.Helper()
	if _, race, found := strings.Cut(said, "WARNING: DATA RACE"); found {
		n.t.Errorf("a data race in %s:%s", what, race)
	}
}

func (n *Node) socket() string { return filepath.Join(n.Dir, "run", "sock") }

func (n *Node) connect(realm string) (*admin.Client, error) {
	return admin.Connect(context.Background(), admin.Options{Context: n.socket(), Realm: realm})
}

// Client connects in a realm.
func (n *Node) Client(realm string) *admin.Client {
	n.t.Helper()
	c, err := n.connect(realm)
	if err != nil {
		n.t.Fatalf("connecting: %v", err)
	}
	if t, ok := n.t.(interface{ Cleanup(func()) }); ok {
		t.Cleanup(func() { c.Close() })
	}
	return c
}

// bound has a proc run on this node, where it is one of several: most tests of
// clusters are about a certain node. Those about placement spawn by themselves.
func (n *Node) bound(d *api.ProcDesc) *api.ProcDesc {
	name := n.flag("--node")
	if name == "" || d.Node != "" || d.Domain != "" {
		return d
	}
	c := *d
	if c.Class == api.LC {
		c.Domain = name
	} else {
		c.Node = name
	}
	return &c
}

// Ctl runs sigmactl and returns what it printed and its status. Where there are
// several nodes, run and spawn are for this one.
func (n *Node) Ctl(args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	if name := n.flag("--node"); name != "" {
		for i, a := range args {
			if i > 0 && (args[i-1] == "mr" || args[i-1] == "img") {
				break // a job is the whole cluster's
			}
			if a == "run" || a == "spawn" {
				args = slices.Insert(slices.Clone(args), i+1, "--on", name)
				break
			}
		}
	}
	return n.Shell(filepath.Join(bin, "sigmactl"), args...)
}

// Shell runs a command with the node as its cluster.
func (n *Node) Shell(name string, args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+n.socket())
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	err := cmd.Run()
	if ctx.Err() != nil {
		n.t.Fatalf("%s %v hangs", name, args)
	}
	if err != nil && cmd.ProcessState == nil {
		n.t.Fatalf("%s: %v", name, err)
	}
	n.raced(name, errb.String())
	return out.String(), errb.String(), cmd.ProcessState.ExitCode()
}

// Proc is the path of a program of the build; a test that needs one which no
// compiler could make is skipped by its name.
func Proc(t reporter, name string) string {
	t.Helper()
	p := filepath.Join(bin, "procs", name)
	if _, err := os.Stat(p); err != nil {
		if s, ok := t.(interface{ Skipf(string, ...any) }); ok {
			s.Skipf("%s is not built: no compiler for it here", name)
		}
		t.Fatalf("%s is not built", name)
	}
	return p
}

// Run runs a program to its end through the client.
func (n *Node) Run(c *admin.Client, d *api.ProcDesc) api.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := c.Spawn(ctx, n.bound(d))
	if err != nil {
		n.t.Fatalf("spawn: %v", err)
	}
	return n.Await(c, id)
}

// Await is WaitExit that fails the test where the wait itself fails.
func (n *Node) Await(c *admin.Client, id api.ProcID) api.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	st, err := c.WaitExit(ctx, id)
	if err != nil {
		n.t.Fatalf("waitexit %s: %v", id, err)
	}
	return st
}

// Running spawns a program and waits until it said Started.
func (n *Node) Running(c *admin.Client, d *api.ProcDesc) api.ProcID {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := c.Spawn(ctx, n.bound(d))
	if err == nil {
		err = c.WaitStart(ctx, id)
	}
	if err != nil {
		n.t.Fatalf("starting %s %q: %v", d.Program, d.Args, err)
	}
	return id
}

// Upload puts a program into the default realm by sigmactl and returns its path.
func (n *Node) Upload(name string) string {
	n.t.Helper()
	return n.UploadTo("default", name)
}

// UploadTo puts a program into a realm and returns its path there.
func (n *Node) UploadTo(realm, name string) string {
	n.t.Helper()
	_, e, code := n.Ctl("--realm", realm, "run", Proc(n.t, name), "-q")
	if code != 0 && name != "probe" { // which has no -q and says so with status 2
		n.t.Fatalf("upload %s: %s", name, e)
	}
	return "/bin/" + name
}

// top samples the node.
func (n *Node) top(c *admin.Client) (t api.Top) {
	n.t.Helper()
	if err := c.Call(context.Background(), api.MTop, nil, &t); err != nil {
		n.t.Fatalf("top: %v", err)
	}
	return t
}

// startAndFail runs sigmad with the node's arguments and expects it to end.
func (n *Node) startAndFail() (stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, n.bin, n.args...)
	var e bytes.Buffer
	cmd.Stderr = &e
	cmd.Run()
	return e.String(), cmd.ProcessState.ExitCode()
}

// eventually waits until ok, and fails with what it said last.
func eventually(t reporter, within time.Duration, what string, ok func() (bool, string)) {
	t.Helper()
	for end := time.Now().Add(within); ; time.Sleep(5 * time.Millisecond) {
		done, said := ok()
		if done {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("%s: not within %v: %s", what, within, strings.TrimSpace(said))
		}
	}
}

// monotonic is CLOCK_MONOTONIC, ns.
func monotonic() int64 {
	var t unix.Timespec
	unix.ClockGettime(unix.CLOCK_MONOTONIC, &t)
	return t.Nano()
}

// findNamed lists what is below root with s in its name.
func findNamed(root, s string) (out []string) {
	filepath.WalkDir(root, func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.Contains(filepath.Base(path), s) {
			out = append(out, path)
		}
		return nil
	})
	return out
}

// sum is a program's digest and size, as sigmactl computes it.
func sum(t reporter, path string) (string, int64) {
	t.Helper()
	f, err := os.Open(path)
	if err != nil {
		t.Fatalf("%v", err)
	}
	defer f.Close()
	tree, err := binfs.Sum(f)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(tree.Digest()), tree.Size
}
