package named

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"sigmaos/naming/tree"
)

// childEnv makes the test program a node of its own: "SOCKET REALM".
const childEnv = "NAMED_TEST_CHILD"

// child leads a realm through etcd's socket and answers lines: "get NAME",
// "put NAME VALUE".
func child(arg string) error {
	socket, realm, _ := strings.Cut(arg, " ")
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + socket}, DialTimeout: 5 * time.Second, Logger: zap.NewNop()})
	if err != nil {
		return err
	}
	trees, err := NewTrees(Config{Etcd: c, Node: "child", Logger: testLog(), LeaseTTL: time.Second})
	if err != nil {
		return err
	}
	ctx := context.Background()
	fs, err := trees.Tree(ctx, realm)
	if err != nil {
		return err
	}
	root, err := fs.Attach(ctx, as(realm, "u"), "", nil)
	if err != nil {
		return err
	}
	fmt.Println("ready")
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		f := strings.Fields(in.Text())
		var value string
		if f[0] == "get" {
			value, err = get(ctx, root, f[1])
		} else {
			_, err = root.Put(ctx, f[1], tree.Put{NewFile: tree.NewFile{Mode: tree.ModeFile | 0o644}, Create: true, Data: []byte(f[2])})
		}
		if err != nil {
			value = "error " + err.Error()
		}
		fmt.Println(value)
	}
	return in.Err()
}

// process is a child as its test sees it.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.Writer
	out *bufio.Scanner
}

func startChild(t *testing.T, realm string) *process {
	t.Helper()
	etcd(t)
	p := &process{t: t, cmd: exec.Command(os.Args[0])}
	p.cmd.Env = append(os.Environ(), childEnv+"="+filepath.Join(shared.dir, "etcd")+" "+realm)
	p.cmd.Stderr = os.Stderr
	var err error
	if p.in, err = p.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	p.out = bufio.NewScanner(out)
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		p.cmd.Wait()
	})
	if got := p.answer(); got != "ready" {
		t.Fatalf("the child says %q", got)
	}
	return p
}

func (p *process) send(line string) { fmt.Fprintln(p.in, line) }

func (p *process) answer() string {
	p.t.Helper()
	if !p.out.Scan() {
		p.t.Fatalf("the child is gone: %v", p.out.Err())
	}
	return p.out.Text()
}

func (p *process) ask(line string) string {
	p.t.Helper()
	p.send(line)
	return p.answer()
}

// A real process, stopped for three leases while another leads: the first thing
// that it does when it goes on is to read, and then to write.
func TestFAULTS_F10_StoppedLeader(t *testing.T) {
	realm := newRealm(t)
	p := startChild(t, realm)
	for _, f := range []string{"f", "g"} {
		if got := p.ask("put " + f + " old"); got != "" {
			t.Fatalf("put: %s", got)
		}
	}
	if got := p.ask("get f"); got != "old" {
		t.Fatalf("get: %s", got)
	}
	p.cmd.Process.Signal(syscall.SIGSTOP)
	stopped := time.Now()
	h := newHost(t, "nb", nil)
	root := h.root(t, realm, "u")
	put(t, root, "f", "new")
	time.Sleep(time.Until(stopped.Add(3 * time.Second)))
	p.send("get f")
	p.send("put g late")
	p.cmd.Process.Signal(syscall.SIGCONT)
	if got := p.answer(); !strings.HasPrefix(got, "error ") {
		t.Errorf("a leader that slept past its lease reads %q", got)
	}
	if got := p.answer(); !strings.HasPrefix(got, "error ") {
		t.Errorf("a leader that slept past its lease writes: %q", got)
	}
	wantFile(t, root, "f", "new")
	wantFile(t, root, "g", "old")
	h.Close()
	root = newHost(t, "nc", nil).root(t, realm, "u")
	wantFile(t, root, "g", "old")
}

// kill -9: everything acknowledged is there for the next leader.
func TestFAULTS_F9_KilledLeader(t *testing.T) {
	realm := newRealm(t)
	p := startChild(t, realm)
	last := 0
	for i := 1; ; i++ {
		p.send(fmt.Sprintf("put f%d %d", i, i))
		if !p.out.Scan() || p.out.Text() != "" {
			break
		}
		if last = i; last == 50 { // in the middle of one that follows
			defer time.AfterFunc(5*time.Millisecond, func() { p.cmd.Process.Kill() }).Stop()
		}
	}
	if last < 50 {
		t.Fatalf("the child ended after %d writes", last)
	}
	root := newHost(t, "nb", nil).root(t, realm, "u")
	for i := 1; i <= last; i++ {
		wantFile(t, root, fmt.Sprint("f", i), fmt.Sprint(i))
	}
}
