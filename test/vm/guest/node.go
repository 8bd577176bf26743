package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

// total is what procs may have of the machine's memory.
const total = 512 << 20

// start starts sigmad and connects.
func (g *guest) start() (string, error) {
	g.sigmad = exec.Command("sigmad", "dev", "--name", name, "--memory", fmt.Sprint(total), "--qos-device", "dummy0", "--qos-rate", "1000000000")
	g.sigmad.Stderr = &g.log
	if _, err := run(time.Minute, "ip", "link", "set", "dummy0", "up"); err != nil {
		return "", err
	}
	begin := time.Now()
	if err := g.sigmad.Start(); err != nil {
		return "", err
	}
	var err error
	for time.Since(begin) < 2*time.Minute {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		g.admin, err = admin.Connect(ctx, admin.Options{Context: socket, Realm: "default"})
		cancel()
		if err == nil {
			return "ready", nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return "", fmt.Errorf("it does not answer: %w", err)
}

func (g *guest) layers() (string, error) {
	info, err := g.admin.Info(context.Background())
	if err != nil {
		return "", err
	}
	if !slices.Contains(info.Layers, "apparmor") || info.Cgroup != "v2" {
		return "", fmt.Errorf("layers %v, cgroup %s", info.Layers, info.Cgroup)
	}
	return strings.Join(info.Layers, ", ") + ", cgroup " + info.Cgroup, nil
}

func hello() (string, error) {
	ctl("run", "/procs/probe") // which has no word for this and says so by its status
	for _, p := range []string{"/procs/hello-raw", "/procs/hello-c"} {
		if _, err := ctl("run", p); err != nil {
			return "", err
		}
	}
	if _, err := ctl("run", "/procs/testproc", "-q"); err != nil {
		return "", err
	}
	return "freestanding, glibc, Go", nil
}

func spawnWait() (string, error) {
	id, err := ctl("spawn", "/procs/testproc", "exit", "7")
	if err != nil {
		return "", err
	}
	out, err := run(time.Minute, "sigmactl", "wait", strings.TrimSpace(id))
	var code *exec.ExitError
	if !errors.As(err, &code) || code.ExitCode() != 7 {
		return "", fmt.Errorf("wait of a proc that exits 7: %v: %s", err, out)
	}
	return "exited 7", nil
}

// running spawns testproc and waits for its Started.
func (g *guest) running(d *api.ProcDesc) (api.ProcID, api.ProcInfo, error) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	if d.Program == "" {
		d.Program = "/bin/testproc"
	}
	id, err := g.admin.Spawn(ctx, d)
	if err != nil {
		return id, api.ProcInfo{}, err
	}
	if err := g.admin.WaitStart(ctx, id); err != nil {
		return id, api.ProcInfo{}, err
	}
	list, err := g.admin.Procs(ctx, api.ProcFilter{}) // which tells an operator the pids
	for _, p := range list {
		if p.ID == id && p.PID > 0 {
			return id, p, nil
		}
	}
	return id, api.ProcInfo{}, fmt.Errorf("%s is not among the procs: %v", id, err)
}

func (g *guest) end(ids ...api.ProcID) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for _, id := range ids {
		if err := g.admin.Kill(ctx, id, 0); err != nil && api.KindOf(err) != api.NotFound {
			return err
		}
		if _, err := g.admin.WaitExit(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

// profile: a proc runs under the profile, enforced.
func (g *guest) profile() (string, error) {
	id, info, err := g.running(&api.ProcDesc{Args: []string{"sleep"}, Memory: 32 << 20})
	if err != nil {
		return "", err
	}
	defer g.end(id)
	if got := read(fmt.Sprintf("/proc/%d/attr/current", info.PID)); got != "sigma-proc (enforce)" {
		return "", fmt.Errorf("it is under %q", got)
	}
	return "sigma-proc (enforce)", nil
}

// stop ends sigmad and looks for what it left.
func (g *guest) stop() (string, error) {
	g.admin.Close()
	g.sigmad.Process.Signal(syscall.SIGTERM)
	done := make(chan error, 1)
	go func() { done <- g.sigmad.Wait() }()
	select {
	case err := <-done:
		if err != nil {
			return "", err
		}
	case <-time.After(2 * time.Minute):
		g.sigmad.Process.Kill()
		return "", errors.New("it does not stop")
	}
	var left []string
	filepath.WalkDir("/sys/fs/cgroup", func(path string, d os.DirEntry, err error) error {
		if err == nil && d.IsDir() && strings.HasPrefix(path, "/sys/fs/cgroup/sigma/") {
			left = append(left, path)
		}
		return nil
	})
	if strings.Contains(read("/proc/mounts"), "sigma") || len(left) > 0 {
		return "", fmt.Errorf("groups %v; mounts:\n%s", left, read("/proc/mounts"))
	}
	return "no group, no mount", nil
}
