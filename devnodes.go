package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"sigmaos/roles"
	"sigmaos/roles/config"
	"sigmaos/roles/lock"
)

const (
	maxDevNodes = 16
	devPeers    = 3 // nodes that may host an etcd peer
	// lifeline is the descriptor on which a node of a dev cluster sees the end of
	// the first node, however that ends.
	lifeline    = 3
	lifelineEnv = "SIGMA_LIFELINE"
	devReady    = 30 * time.Second
)

// devNodes is the other nodes of a cluster on one machine: processes of their
// own, in directories below the first one's, with an equal part of the machine.
// All know and trust each other before any of them starts, and the first three
// host etcd's peers from the beginning; so none of them has to be there first.
type devNodes struct {
	nodes []roles.Founder
	cfg   config.Config // of the first
	late  bool          // the others join the first when that is ready: it was alone before

	hold  *os.File // its end is their end
	ready atomic.Bool
	cmds  []*devNode
}

type devNode struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended; err is set then
	err  error
}

// share cuts cfg to one of n equal parts of the machine.
func share(cfg config.Config, n int) config.Config {
	cfg.MCPU, cfg.Memory = max(cfg.MCPU/int64(n), 10), cfg.Memory/int64(n)
	cfg.UIDCount /= int64(n)
	return cfg
}

// planDev says where the nodes are and founds their cluster, if that is new.
func planDev(cfg config.Config, n int) (*devNodes, error) {
	d := &devNodes{cfg: cfg}
	if isFollower() {
		return d, nil
	}
	if _, peer := roles.Founded(filepath.Join(cfg.DataDir, "n2")); peer && n == 1 {
		return nil, fmt.Errorf("%s is of a cluster of several nodes, which needs more than one: start it with --nodes, use another --name, or delete it", cfg.DataDir)
	}
	if n == 1 {
		return d, nil
	}
	files, err := lock.Acquire(cfg.RunDir, cfg.DataDir) // nobody uses the directories now
	if err != nil {
		return nil, err
	}
	defer files.Release()
	d.nodes = []roles.Founder{{Node: cfg.Node, DataDir: cfg.DataDir, Addr: cfg.Listen}}
	for i := 2; i <= n; i++ {
		name := fmt.Sprintf("n%d", i)
		d.nodes = append(d.nodes, roles.Founder{Node: name, DataDir: filepath.Join(cfg.DataDir, name)})
	}
	for i := range d.nodes {
		if a := &d.nodes[i].Addr; *a == "" || strings.HasSuffix(*a, ":0") {
			if *a, err = freePort(); err != nil {
				return nil, err
			}
		}
	}
	member, peer := roles.Founded(cfg.DataDir)
	if !member && !peer {
		return d, roles.Found(d.nodes)
	}
	for _, f := range d.nodes[1:] {
		member, _ := roles.Founded(f.DataDir)
		d.late = d.late || !member
	}
	return d, roles.Relocate(d.nodes)
}

// freePort is an address of this machine that nobody uses; below those that the
// kernel gives to connections.
func freePort() (string, error) {
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", 10_000+rand.IntN(20_000)))
		if err == nil {
			return l.Addr().String(), l.Close()
		}
	}
	return "", errors.New("no free port on 127.0.0.1")
}

// first is the configuration of the first node.
func (d *devNodes) first() config.Config {
	c := d.cfg
	c.Listen = d.nodes[0].Addr
	return c
}

// start starts the other nodes, unless they have to join first; stop is called
// when one of them ends before all are ready.
func (d *devNodes) start(stop func()) (func() error, error) {
	if len(d.nodes) < 2 || d.late {
		return d.stop, nil
	}
	if err := d.spawn(stop); err != nil {
		d.stop()
		return nil, err
	}
	return d.stop, nil
}

// spawn starts nodes 2 to n with these arguments more.
func (d *devNodes) spawn(stop func(), more ...string) error {
	r, w, err := os.Pipe()
	if err != nil {
		return err
	}
	defer r.Close()
	d.hold = w
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	c := d.cfg
	for i, f := range d.nodes[1:] {
		offers := "node"
		if i+1 < devPeers && len(d.nodes) >= devPeers {
			offers = "node,named"
		}
		for _, r := range []string{"besched", "lcsched", "s3", "db"} {
			if slices.Contains(c.Roles, r) {
				offers += "," + r
			}
		}
		args := append([]string{"dev", "--name", c.Name + "-" + f.Node, "--node", f.Node, "--roles", offers, "--s3-dir", "off",
			"--data-dir", f.DataDir, "--run-dir", filepath.Join(c.RunDir, f.Node), "--cgroup-root", c.CgroupRoot,
			"--listen", f.Addr, "--metrics", "off", "--gateway", "off", "--gateway-9p", "off",
			"--mcpu", fmt.Sprint(c.MCPU), "--memory", fmt.Sprint(c.Memory), "--log-level", c.LogLevel,
			"--uid-base", fmt.Sprint(c.UIDBase + int64(i+1)*c.UIDCount), "--uid-count", fmt.Sprint(c.UIDCount)}, more...)
		cmd := exec.Command(exe, args...)
		cmd.Stderr = os.Stderr
		cmd.ExtraFiles = []*os.File{r}
		cmd.Env = append(os.Environ(), lifelineEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the first node, which tells the others
		if err := cmd.Start(); err != nil {
			return err
		}
		n := &devNode{cmd: cmd, done: make(chan struct{})}
		d.cmds = append(d.cmds, n)
		go func() {
			n.err = cmd.Wait()
			close(n.done)
			if !d.ready.Load() {
				stop()
			}
		}()
	}
	return nil
}

// await returns when all nodes are members.
func (d *devNodes) await(ctx context.Context, s *roles.System) error {
	if d.late {
		token := filepath.Join(d.cfg.RunDir, "join")
		if err := s.WriteJoinToken(ctx, token); err != nil {
			return err
		}
		defer os.Remove(token)
		if err := d.spawn(func() {}, "--join", d.nodes[0].Addr, "--token-file", token); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(ctx, devReady)
	defer cancel()
	if err := s.AwaitNodes(ctx, len(d.nodes)); err != nil {
		return err
	}
	d.ready.Store(true)
	return nil
}

// stop ends the nodes, the youngest first, and waits.
func (d *devNodes) stop() error {
	var errs []error
	for i := len(d.cmds) - 1; i >= 0; i-- {
		d.cmds[i].cmd.Process.Signal(syscall.SIGTERM)
	}
	for _, n := range d.cmds {
		select {
		case <-n.done:
		case <-time.After(20 * time.Second):
			n.cmd.Process.Kill()
			<-n.done
			errs = append(errs, errors.New("a node of the dev cluster did not stop in 20 s and was killed"))
			continue
		}
		if n.err != nil {
			errs = append(errs, fmt.Errorf("node of the dev cluster: %w", n.err))
		}
	}
	d.cmds = nil
	if d.hold != nil {
		errs = append(errs, d.hold.Close())
		d.hold = nil
	}
	return errors.Join(errs...)
}

// isFollower reports whether this is a node that the first one of a dev cluster
// started.
func isFollower() bool { return os.Getenv(lifelineEnv) != "" }

// followParent calls stop when the first node of a dev cluster has ended.
func followParent(stop func()) {
	if !isFollower() {
		return
	}
	syscall.CloseOnExec(lifeline)
	f := os.NewFile(lifeline, "lifeline")
	go func() {
		f.Read(make([]byte, 1)) // until its end
		stop()
	}()
}
