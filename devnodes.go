package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"sigmaos/roles"
	"sigmaos/roles/config"
)

const (
	maxDevNodes = 16
	// lifeline is the descriptor on which a node of a dev cluster sees the end of
	// the first node, however that ends.
	lifeline    = 3
	lifelineEnv = "SIGMA_LIFELINE"
	devReady    = 30 * time.Second
)

// devNodes is the other nodes of a cluster on one machine: processes of their
// own, in directories below the first one's, with an equal part of the machine.
type devNodes struct {
	hold *os.File // its end is their end
	cmds []*exec.Cmd
}

// share cuts cfg to one of n equal parts of the machine.
func share(cfg config.Config, n int) config.Config {
	cfg.MCPU, cfg.Memory = max(cfg.MCPU/int64(n), 10), cfg.Memory/int64(n)
	cfg.UIDCount /= int64(n)
	return cfg
}

// startDevNodes starts nodes 2 to n and returns when all have joined.
func startDevNodes(ctx context.Context, s *roles.System, n int) (_ *devNodes, err error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	d := &devNodes{hold: w}
	defer func() {
		if err != nil {
			d.stop()
		}
	}()
	exe, err := os.Executable()
	if err != nil {
		return nil, err
	}
	token := filepath.Join(s.Config.RunDir, "join")
	if err := s.WriteJoinToken(ctx, token); err != nil {
		return nil, err
	}
	defer os.Remove(token)
	for i := 2; i <= n; i++ {
		c, name := s.Config, fmt.Sprintf("n%d", i)
		cmd := exec.Command(exe, "dev", "--name", c.Name+"-"+name, "--node", name, "--roles", "node,s3,db", "--s3-dir", "off",
			"--data-dir", filepath.Join(c.DataDir, name), "--run-dir", filepath.Join(c.RunDir, name), "--cgroup-root", c.CgroupRoot,
			"--listen", "127.0.0.1:0", "--join", s.Port.Addr().String(), "--token-file", token, "--metrics", "off", "--gateway", "off",
			"--mcpu", fmt.Sprint(c.MCPU), "--memory", fmt.Sprint(c.Memory), "--log-level", c.LogLevel,
			"--uid-base", fmt.Sprint(c.UIDBase+int64(i-1)*c.UIDCount), "--uid-count", fmt.Sprint(c.UIDCount))
		cmd.Stderr = os.Stderr
		cmd.ExtraFiles = []*os.File{r}
		cmd.Env = append(os.Environ(), lifelineEnv+"=1")
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt is for the first node, which tells the others
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		d.cmds = append(d.cmds, cmd)
	}
	ctx, cancel := context.WithTimeout(ctx, devReady)
	defer cancel()
	return d, s.AwaitNodes(ctx, n)
}

// stop ends the nodes, the youngest first, and waits.
func (d *devNodes) stop() error {
	var errs []error
	for i := len(d.cmds) - 1; i >= 0; i-- {
		d.cmds[i].Process.Signal(syscall.SIGTERM)
	}
	for _, cmd := range d.cmds {
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		select {
		case err := <-done:
			if err != nil {
				errs = append(errs, fmt.Errorf("node of the dev cluster: %w", err))
			}
		case <-time.After(20 * time.Second):
			cmd.Process.Kill()
			<-done
			errs = append(errs, errors.New("a node of the dev cluster did not stop in 20 s and was killed"))
		}
	}
	d.cmds = nil
	return errors.Join(append(errs, d.hold.Close())...)
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
