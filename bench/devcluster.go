package bench

import (
	"bytes"
	"context"
	"errors"
	"fmt"
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

// devCluster is a cluster of several nodes on this machine: sigmad dev --nodes N. It
// is connected to the first node.
type devCluster struct {
	*daemon
	here *lab.Space // with whose end it ends
}

// startDev starts one in a directory, and returns when all nodes are members.
func startDev(ctx context.Context, o Options, dir string, nodes int) (*devCluster, error) {
	here, err := lab.Here()
	if err != nil {
		return nil, err
	}
	run, err := launch(o, fmt.Sprintf("bench-%d", os.Getpid()), dir, benchUIDs,
		func(cmd *exec.Cmd) error { return here.Start(cmd, syscall.SIGTERM) }, "dev", "--nodes", strconv.Itoa(nodes))
	if err != nil {
		here.Close()
		return nil, err
	}
	d := &devCluster{run, here}
	err = d.await(ctx, o, func() error {
		list, err := d.Nodes(ctx)
		if err == nil && len(list) < nodes {
			err = fmt.Errorf("bench: %d of %d nodes are there", len(list), nodes)
		}
		for _, n := range list {
			if err == nil { // its scratch space is there
				_, err = d.Sigma().Names().Stat(ctx, "/ux/"+n.Name+"/")
			}
		}
		return err
	})
	if err != nil {
		return nil, errors.Join(err, d.stop())
	}
	return d, nil
}

func (d *devCluster) stop() error {
	defer d.here.Close()
	return d.daemon.stop(2 * stopTime)
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
