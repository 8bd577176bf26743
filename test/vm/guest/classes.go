package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"sigmaos/api"
)

// group is where a process is on the v2 tree.
func group(pid int) string {
	_, path, _ := strings.Cut(read(fmt.Sprintf("/proc/%d/cgroup", pid)), "::")
	return "/sys/fs/cgroup" + path
}

// usage is a group's CPU time.
func usage(dir string) (d time.Duration) {
	f, err := os.Open(dir + "/cpu.stat")
	if err != nil {
		return 0
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var us int64
		if n, _ := fmt.Sscanf(s.Text(), "usage_usec %d", &us); n == 1 {
			d = time.Duration(us) * time.Microsecond
		}
	}
	return d
}

// groups: what the kernel was told of an LC and a BE proc.
func (g *guest) groups() (string, error) {
	lc, l, err := g.running(&api.ProcDesc{Args: []string{"sleep"}, Class: api.LC, MCPU: 500, Memory: 48 << 20, Threads: 40})
	if err != nil {
		return "", err
	}
	defer g.end(lc)
	be, b, err := g.running(&api.ProcDesc{Args: []string{"sleep"}, Memory: 32 << 20})
	if err != nil {
		return "", err
	}
	defer g.end(be)
	ld, bd := group(l.PID), group(b.PID)
	if !strings.HasPrefix(ld, "/sys/fs/cgroup/sigma/lc/") || !strings.HasPrefix(bd, "/sys/fs/cgroup/sigma/be/") {
		return "", fmt.Errorf("LC is in %s, BE in %s", ld, bd)
	}
	for file, want := range map[string]string{
		ld + "/memory.max": fmt.Sprint(48<<20 + 1<<20), bd + "/memory.max": fmt.Sprint(32<<20 + 1<<20),
		"/sys/fs/cgroup/sigma/be/cpu.idle": "1", ld + "/cpu.idle": "0", ld + "/memory.swap.max": "0",
	} {
		got := read(file)
		if strings.HasSuffix(file, "swap.max") && got == "" { // no swap in this kernel
			continue
		}
		if got != want {
			return "", fmt.Errorf("%s is %q, want %q", file, got, want)
		}
	}
	// PID 1 counts too.
	if n, err := strconv.Atoi(read(ld + "/pids.max")); err != nil || n <= 40 || n > 44 {
		return "", fmt.Errorf("pids.max of a proc that asked for 40 threads is %d", n)
	}
	return "weights of LC " + read(ld+"/cpu.weight") + ", be is idle class, memory and pids bound", nil
}

// spinning is a hundred threads that do nothing else.
func spinning(class api.Class, mcpu int64) *api.ProcDesc {
	return &api.ProcDesc{Program: "/bin/probe", Args: []string{"R7"}, Class: class, MCPU: mcpu, Memory: 32 << 20, Threads: 120}
}

// shares: a hundred BE threads on two CPUs leave an LC proc of a hundred threads
// nearly all, for the branch of BE is idle class.
func (g *guest) shares() (string, error) {
	be, b, err := g.running(spinning(api.BE, 0))
	if err != nil {
		return "", err
	}
	defer g.end(be)
	time.Sleep(2 * time.Second)
	lc, l, err := g.running(spinning(api.LC, 1000))
	if err != nil {
		return "", err
	}
	defer g.end(lc)
	l0, b0, begin := usage(group(l.PID)), usage(group(b.PID)), time.Now()
	time.Sleep(8 * time.Second)
	took := float64(time.Since(begin))
	mine, theirs := float64(usage(group(l.PID))-l0)/took, float64(usage(group(b.PID))-b0)/took
	if mine < 8*theirs || mine < 0.5 {
		return "", fmt.Errorf("LC had %.2f of a CPU, BE %.2f", mine, theirs)
	}
	return fmt.Sprintf("LC had %.2f of a CPU, BE %.2f", mine, theirs), nil
}

func (g *guest) await(id api.ProcID) (api.Status, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	return g.admin.WaitExit(ctx, id)
}

// outOfMemory: a proc over its limit is ended by the kernel, and says so.
func outOfMemory() (string, error) {
	id, err := ctl("spawn", "--memory", "48MiB", "/procs/testproc", "mem", "200")
	if err != nil {
		return "", err
	}
	out, err := ctl("wait", strings.TrimSpace(id))
	why, _ := ctl("why", strings.TrimSpace(id))
	if err == nil || !strings.Contains(why, "oom") && !strings.Contains(why, "memory") {
		return "", fmt.Errorf("status %v: %s: %s", err, out, tail(why))
	}
	return "oom, told by memory.events", nil
}

// evicts: where BE holds the memory, an LC proc comes in and BE goes.
func (g *guest) evicts() (string, error) {
	be, _, err := g.running(&api.ProcDesc{Args: []string{"sleep"}, Memory: 400 << 20})
	if err != nil {
		return "", err
	}
	lc, p, err := g.running(&api.ProcDesc{Args: []string{"sleep"}, Class: api.LC, MCPU: 100, Memory: 300 << 20})
	if err != nil {
		g.end(be)
		return "", err
	}
	defer g.end(lc)
	st, err := g.await(be)
	if err != nil {
		return "", err
	}
	if st.State != api.Evicted {
		return "", fmt.Errorf("the BE proc came to %v", st)
	}
	bound := "" // on the node's best-effort procs together
	for range 50 {
		all, _ := filepath.Glob("/sys/fs/cgroup/sigma/be/*/memory.max")
		for _, f := range all {
			bound = read(f)
		}
		if n, err := strconv.ParseInt(bound, 10, 64); err == nil && n <= total-300<<20+100<<20 { // and what slots that rest need
			return fmt.Sprintf("evicted; be has %d MiB of %d left, the LC proc %s bytes", n>>20, total>>20, read(group(p.PID)+"/memory.max")), nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return "", fmt.Errorf("evicted, but memory.max of be is %s beside a reservation of 300 MiB of %d", bound, total>>20)
}
