// Package test runs whole nodes, as a user does, and looks at what they leave.
package test

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

const bin = "../bin"

var nodes atomic.Int64

// Node is one running `sigmad dev` with directories and groups of its own.
type Node struct {
	t    *testing.T
	Name string
	Dir  string
	args []string
	cmd  *exec.Cmd
	err  bytes.Buffer
	done chan struct{}
}

// StartNode starts a node and waits until it answers; the test's end stops it
// and looks for leftovers.
func StartNode(t *testing.T, args ...string) *Node {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	if _, err := os.Stat(filepath.Join(bin, "sigmad")); err != nil {
		t.Fatal("run make first: the tests start bin/sigmad")
	}
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	n := &Node{t: t, Name: fmt.Sprintf("t%d-%d", os.Getpid(), nodes.Add(1)), Dir: dir}
	n.args = append([]string{"dev", "--name", n.Name, "--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"), "--cgroup-root", "sigma-" + n.Name}, args...)
	t.Cleanup(func() {
		n.Stop()
		n.AssertNothingLeft()
		os.RemoveAll(dir)
	})
	n.Start()
	return n
}

// Start starts the node's process.
func (n *Node) Start() {
	n.t.Helper()
	n.err.Reset()
	n.cmd = exec.Command(filepath.Join(bin, "sigmad"), n.args...)
	n.cmd.Stderr = &n.err
	if err := n.cmd.Start(); err != nil {
		n.t.Fatal(err)
	}
	done := make(chan struct{})
	n.done = done
	go func() { n.cmd.Wait(); close(done) }()
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
		c, err := n.connect("default")
		if err == nil {
			c.Close()
			return
		}
		select {
		case <-done:
			n.t.Fatalf("sigmad ended: %s", n.err.String())
		default:
		}
		if time.Now().After(end) {
			n.t.Fatalf("sigmad does not answer: %v\n%s", err, n.err.String())
		}
	}
}

// Stop asks the node to end and waits.
func (n *Node) Stop() {
	n.t.Helper()
	if n.cmd == nil {
		return
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
	case <-time.After(20 * time.Second):
		n.t.Errorf("sigmad does not stop\n%s", n.err.String())
		n.cmd.Process.Kill()
		<-n.done
	}
	n.cmd = nil
}

// Kill ends sigmad as kill -9 does.
func (n *Node) Kill() {
	n.cmd.Process.Kill()
	<-n.done
	n.cmd = nil
}

func (n *Node) connect(realm string) (*admin.Client, error) {
	return admin.Connect(context.Background(), admin.Options{Context: filepath.Join(n.Dir, "run", "sock"), Realm: realm})
}

// Client connects in a realm.
func (n *Node) Client(realm string) *admin.Client {
	n.t.Helper()
	c, err := n.connect(realm)
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() { c.Close() })
	return c
}

// Ctl runs sigmactl and returns what it printed and its status.
func (n *Node) Ctl(args ...string) (stdout, stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "sigmactl"), args...)
	cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+filepath.Join(n.Dir, "run", "sock"))
	var out, errb bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errb
	err := cmd.Run()
	if ctx.Err() != nil {
		n.t.Fatalf("sigmactl %v hangs", args)
	}
	if err != nil && cmd.ProcessState == nil {
		n.t.Fatal(err)
	}
	return out.String(), errb.String(), cmd.ProcessState.ExitCode()
}

// Proc is the path of a program of the build; a test that needs one which no
// compiler could make is skipped by its name.
func Proc(t *testing.T, name string) string {
	t.Helper()
	p := filepath.Join(bin, "procs", name)
	if _, err := os.Stat(p); err != nil {
		t.Skipf("%s is not built: no compiler for it here", name)
	}
	return p
}

// Run runs a program to its end through the client.
func (n *Node) Run(c *admin.Client, d *api.ProcDesc) api.Status {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	id, err := c.Spawn(ctx, d)
	if err != nil {
		n.t.Fatal(err)
	}
	st, err := c.WaitExit(ctx, id)
	if err != nil {
		n.t.Fatal(err)
	}
	return st
}

// Upload puts a program into the default realm by sigmactl and returns its path.
func (n *Node) Upload(name string) string {
	n.t.Helper()
	_, e, code := n.Ctl("run", Proc(n.t, name), "-q")
	if code != 0 {
		n.t.Fatalf("upload %s: %s", name, e)
	}
	return "/bin/" + name
}

// left lists what a node's name or directory still has on the machine.
func (n *Node) left() (out []string) {
	mounts, _ := os.ReadFile("/proc/self/mountinfo")
	if strings.Contains(string(mounts), n.Dir) {
		out = append(out, "a mount below "+n.Dir)
	}
	groups, _ := filepath.Glob("/sys/fs/cgroup/*/sigma-" + n.Name)
	more, _ := filepath.Glob("/sys/fs/cgroup/*/*/*/sigma-" + n.Name)
	out = append(out, append(groups, more...)...)
	procs, _ := filepath.Glob("/proc/[0-9]*/cgroup")
	for _, p := range procs {
		if b, err := os.ReadFile(p); err == nil && strings.Contains(string(b), "sigma-"+n.Name) {
			out = append(out, "process "+filepath.Base(filepath.Dir(p)))
		}
	}
	if _, err := os.Stat(filepath.Join(n.Dir, "run")); err == nil {
		out = append(out, filepath.Join(n.Dir, "run"))
	}
	return out
}

// AssertNothingLeft fails the test for each process, mount, cgroup or file.
func (n *Node) AssertNothingLeft() {
	n.t.Helper()
	var left []string
	for end := time.Now().Add(3 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = n.left(); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			n.t.Errorf("left behind: %q", left)
			return
		}
	}
}

// startAndFail runs sigmad with the node's arguments and expects it to end.
func (n *Node) startAndFail() (stderr string, code int) {
	n.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "sigmad"), n.args...)
	var e bytes.Buffer
	cmd.Stderr = &e
	cmd.Run()
	return e.String(), cmd.ProcessState.ExitCode()
}
