package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/bench/lab"
)

const (
	nodePort  = "9460"
	readyTime = 30 * time.Second // for a node to answer, and for both to know each other
	stopTime  = 20 * time.Second
)

// twoNodes is a cluster of two sigmads, each in its own network, with
// directories and cgroups of its own.
type twoNodes struct {
	o    Options
	pair *lab.Pair
	dir  string
	node [2]*node
}

// node is one sigmad of them.
type node struct {
	name    string
	cmd     *exec.Cmd
	err     bytes.Buffer
	done    chan struct{} // closed when it has ended
	Cluster               // its operator's socket
	conn    io.Closer
	pid     int
}

// startNodes starts both and returns when each knows the other. The caller
// closes, whatever happens to ctx.
func startNodes(ctx context.Context, o Options, pair *lab.Pair) (_ *twoNodes, err error) {
	sweep()
	t := &twoNodes{o: o, pair: pair}
	if t.dir, err = os.MkdirTemp("", fmt.Sprintf("%s%d-", dirPrefix, os.Getpid())); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, t.close())
		}
	}()
	if err := t.start(ctx, 0, "--bootstrap"); err != nil {
		return nil, err
	}
	text, err := t.node[0].JoinToken(ctx)
	if err != nil {
		return nil, err
	}
	token := filepath.Join(t.dir, "token")
	if err := os.WriteFile(token, text, 0o600); err != nil {
		return nil, err
	}
	err = t.start(ctx, 1, "--roles", "node,besched,lcsched", "--join", pair.Addr(0)+":"+nodePort, "--token-file", token)
	if err != nil {
		return nil, err
	}
	return t, t.meet(ctx)
}

// start starts sigmad i and waits until it answers.
func (t *twoNodes) start(ctx context.Context, i int, flags ...string) error {
	letter := string(rune('a' + i))
	n := &node{name: fmt.Sprintf("bench-%d-%s", os.Getpid(), letter), done: make(chan struct{})}
	dir := filepath.Join(t.dir, letter)
	n.cmd = exec.Command(t.o.Sigmad, append([]string{
		"--name", n.name, "--node", letter, "--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"),
		"--cgroup-root", "sigma-" + n.name, "--uid-base", strconv.Itoa(1_910_000_000 + i*100_000),
		"--domain", letter, "--listen", t.pair.Addr(i) + ":" + nodePort, "--metrics", "off", "--gateway", "off", "--log-level", "warn",
	}, flags...)...)
	n.cmd.Stderr = &n.err
	if err := t.pair.Side[i].Start(n.cmd, syscall.SIGTERM); err != nil {
		return fmt.Errorf("bench: %s: %w", t.o.Sigmad, err)
	}
	t.node[i] = n
	go func() { n.cmd.Wait(); close(n.done) }()
	err := wait(ctx, func() error {
		select {
		case <-n.done:
			return fatal{fmt.Errorf("bench: node %s ended: %s", letter, strings.TrimSpace(n.err.String()))}
		default:
		}
		var err error
		n.Cluster, n.conn, err = t.o.Connect(ctx, filepath.Join(dir, "run", "sock"))
		return err
	})
	if err != nil {
		return err
	}
	info, err := n.Info(ctx)
	n.pid = info.PID
	return err
}

// meet waits until each node knows both.
func (t *twoNodes) meet(ctx context.Context) error {
	return wait(ctx, func() error {
		for _, n := range t.node {
			list, err := n.Nodes(ctx)
			if err != nil {
				return err
			}
			if len(list) < 2 {
				return fmt.Errorf("bench: node %s does not know the other", n.name)
			}
		}
		return nil
	})
}

// fatal ends a wait at once.
type fatal struct{ error }

// wait tries fn until it succeeds, for readyTime.
func wait(ctx context.Context, fn func() error) error {
	ctx, cancel := context.WithTimeout(ctx, readyTime)
	defer cancel()
	for {
		err := fn()
		if f := (fatal{}); err == nil || errors.As(err, &f) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// link connects a server on node b with a client on node a.
func (t *twoNodes) link(ctx context.Context, path string) (link, error) {
	var program api.Program
	for _, n := range t.node {
		var err error
		if program, err = n.Upload(ctx, path); err != nil {
			return nil, err
		}
	}
	return sigmaLink{server: t.node[1], client: t.node[0], program: program.Digest}, nil
}

// close stops both, the one that joined first, and removes what they had.
func (t *twoNodes) close() (err error) {
	for i := len(t.node) - 1; i >= 0; i-- {
		if n := t.node[i]; n != nil {
			err = errors.Join(err, n.stop())
		}
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}

func (n *node) stop() error {
	if n.conn != nil {
		n.conn.Close()
	}
	n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.done:
		return nil
	case <-time.After(stopTime):
	}
	n.cmd.Process.Kill()
	<-n.done
	return fmt.Errorf("bench: node %s did not stop within %v: %s", n.name, stopTime, strings.TrimSpace(n.err.String()))
}

const dirPrefix = "sigma-bench-"

// sweep removes the directories of benches that were killed. Their sigmads have
// ended with them.
func sweep() {
	list, _ := filepath.Glob(filepath.Join(os.TempDir(), dirPrefix+"*"))
	for _, dir := range list {
		pid, _, _ := strings.Cut(strings.TrimPrefix(filepath.Base(dir), dirPrefix), "-")
		if n, err := strconv.Atoi(pid); err == nil && syscall.Kill(n, 0) == syscall.ESRCH {
			os.RemoveAll(dir)
		}
	}
}
