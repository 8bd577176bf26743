package bench

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"sigmaos/api"
	"sigmaos/bench/lab"
)

const (
	nodePort  = "9460"
	benchUIDs = 1_910_000_000 // the first uid of a bench's node
)

// twoNodes is a cluster of two sigmads, each in its own network.
type twoNodes struct {
	o    Options
	pair *lab.Pair
	dir  string
	node [2]*node
}

// node is one of them.
type node struct {
	*daemon
	pid int
}

// startNodes starts both and returns when each knows the other. The caller
// closes, whatever happens to ctx.
func startNodes(ctx context.Context, o Options, pair *lab.Pair) (_ *twoNodes, err error) {
	t := &twoNodes{o: o, pair: pair}
	if t.dir, err = newDir(); err != nil {
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
	flags = append(flags, "--node", letter, "--domain", letter, "--listen", t.pair.Addr(i)+":"+nodePort)
	d, err := launch(t.o, fmt.Sprintf("bench-%d-%s", os.Getpid(), letter), filepath.Join(t.dir, letter), benchUIDs+i*100_000,
		func(cmd *exec.Cmd) error { return t.pair.Side[i].Start(cmd, syscall.SIGTERM) }, flags...)
	if err != nil {
		return err
	}
	n := &node{daemon: d}
	t.node[i] = n
	return n.await(ctx, t.o, func() error {
		info, err := n.Info(ctx)
		n.pid = info.PID
		return err
	})
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
			err = errors.Join(err, n.stop(stopTime))
		}
	}
	return errors.Join(err, os.RemoveAll(t.dir))
}
