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
)

// devCluster is a cluster of several nodes on this machine: sigmad dev --nodes N.
type devCluster struct {
	Cluster // the first node's operator's socket
	conn    io.Closer
	cmd     *exec.Cmd
	err     bytes.Buffer
	done    chan struct{} // closed when it has ended
}

// startDev starts one in a directory, and returns when all nodes are members.
func startDev(ctx context.Context, o Options, dir string, nodes int) (*devCluster, error) {
	name := fmt.Sprintf("bench-%d", os.Getpid())
	d := &devCluster{done: make(chan struct{})}
	d.cmd = exec.Command(o.Sigmad, "dev", "--nodes", strconv.Itoa(nodes), "--name", name, "--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"),
		"--cgroup-root", "sigma-"+name, "--uid-base", "1910000000", "--metrics", "off", "--gateway", "off", "--log-level", "warn")
	d.cmd.Stderr = &d.err
	if err := d.cmd.Start(); err != nil {
		return nil, fmt.Errorf("bench: %s: %w", o.Sigmad, err)
	}
	go func() { d.cmd.Wait(); close(d.done) }()
	err := wait(ctx, func() (err error) {
		select {
		case <-d.done:
			return fatal{fmt.Errorf("bench: the cluster ended: %s", strings.TrimSpace(d.err.String()))}
		default:
		}
		if d.Cluster == nil {
			if d.Cluster, d.conn, err = o.Connect(ctx, filepath.Join(dir, "run", "sock")); err != nil {
				d.Cluster = nil
				return err
			}
		}
		list, err := d.Nodes(ctx)
		if err == nil && len(list) < nodes {
			err = fmt.Errorf("bench: %d of %d nodes are there", len(list), nodes)
		}
		if err == nil {
			_, err = d.Sigma().Names().AbsPath(ctx, "/ux/~local")
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *devCluster) stop() error {
	if d.conn != nil {
		d.conn.Close()
	}
	d.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.done:
		return nil
	case <-time.After(2 * stopTime):
	}
	d.cmd.Process.Kill()
	<-d.done
	return fmt.Errorf("bench: the cluster did not stop within %v: %s", 2*stopTime, strings.TrimSpace(d.err.String()))
}

// jobProcs are the procs that were started since begin.
func (d *devCluster) jobProcs(ctx context.Context, begin time.Time) (out []api.ProcInfo, err error) {
	list, err := d.Procs(ctx, api.ProcFilter{All: true})
	for _, p := range list {
		if p.Created.After(begin) {
			out = append(out, p)
		}
	}
	return out, err
}

// cpu is the CPU time in seconds that sigmad, the processes of its own and the S3
// server have used so far, on all nodes: every descendant but what runs in slots.
func (d *devCluster) cpu() (float64, error) {
	parent, stat := make(map[int]int), make(map[int][]string)
	dirs, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return 0, err
	}
	name := make(map[int]string)
	for _, file := range dirs {
		b, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		begin, end := bytes.IndexByte(b, '('), bytes.LastIndexByte(b, ')')
		f := strings.Fields(string(b[end+1:]))
		pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		ppid, _ := strconv.Atoi(f[1])
		parent[pid], stat[pid], name[pid] = ppid, f, string(b[begin+1:end])
	}
	sum := 0.0
	for pid := range stat {
		if !strings.HasPrefix(name[pid], "sigmad") && !strings.HasPrefix(name[pid], "versitygw") {
			continue
		}
		for p := pid; p > 1; p = parent[p] {
			if p == d.cmd.Process.Pid {
				for _, f := range stat[pid][11:13] { // utime and stime
					n, _ := strconv.ParseFloat(f, 64)
					sum += n / 100
				}
				break
			}
		}
	}
	return sum, nil
}
