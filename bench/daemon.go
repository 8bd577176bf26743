package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

const (
	readyTime = 30 * time.Second // for a node to answer, and for nodes to know each other
	stopTime  = 20 * time.Second
)

// daemon is a sigmad that a bench has started, in directories and cgroups of its own.
type daemon struct {
	Cluster // its operator's socket, once it answers
	conn    io.Closer
	name    string
	sock    string
	cmd     *exec.Cmd
	err     bytes.Buffer
	done    chan struct{} // closed when it has ended
}

// launch has start start one, with its first arguments and what any needs. The caller
// stops it.
func launch(o Options, name, dir string, uids int, start func(*exec.Cmd) error, args ...string) (*daemon, error) {
	d := &daemon{name: name, sock: filepath.Join(dir, "run", "sock"), done: make(chan struct{})}
	d.cmd = exec.Command(o.Sigmad, append(args,
		"--name", name, "--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"), "--cgroup-root", "sigma-"+name,
		"--uid-base", strconv.Itoa(uids), "--metrics", "off", "--gateway", "off", "--log-level", "warn")...)
	d.cmd.Stderr = &d.err
	if err := start(d.cmd); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", o.Sigmad, err)
	}
	go func() { d.cmd.Wait(); close(d.done) }()
	return d, nil
}

// await waits until it answers and ready finds no fault any more.
func (d *daemon) await(ctx context.Context, o Options, ready func() error) error {
	return wait(ctx, func() error {
		select {
		case <-d.done:
			return fatal{fmt.Errorf("bench: sigmad %s ended: %s", d.name, d.said())}
		default:
		}
		if d.conn == nil {
			c, conn, err := o.Connect(ctx, d.sock)
			if err != nil {
				return err
			}
			d.Cluster, d.conn = c, conn
		}
		return ready()
	})
}

func (d *daemon) said() string { return strings.TrimSpace(d.err.String()) }

func (d *daemon) stop(patience time.Duration) error {
	if d.conn != nil {
		d.conn.Close()
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return nil
	case <-time.After(patience):
	}
	d.cmd.Process.Kill()
	<-d.done
	return fmt.Errorf("bench: sigmad %s did not stop within %v: %s", d.name, patience, d.said())
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
