package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// What an idle node costs: the memory of all its processes, shared pages
// divided, and their CPU, 60 s after its start and over 60 s. make test has a
// quick look at the memory alone.
func TestFootprintOfAnIdleNode(t *testing.T) {
	n := StartNode(t)
	if out, e, code := n.Ctl("run", Proc(t, "hello")); code != 0 { // its slots are part of it
		t.Fatal(out, e)
	}
	time.Sleep(scaled(2*time.Second, 60*time.Second))
	pids := n.processes()
	if len(pids) < 3 {
		t.Fatalf("sigmad, binfs and a slot are expected, there are %v", pids)
	}
	before, begin := make(map[int]time.Duration), time.Now()
	for _, pid := range pids {
		before[pid] = cpuTime(pid)
	}
	time.Sleep(scaled(time.Second, 60*time.Second))
	span := time.Since(begin)
	pids = n.processes() // idle slots may have gone
	var used time.Duration
	for _, pid := range pids {
		used += cpuTime(pid) - before[pid]
	}
	share := 100 * used.Seconds() / span.Seconds()
	var sum int64
	for _, pid := range pids {
		p := pss(t, pid)
		t.Logf("%7d KiB  %d %s", p>>10, pid, comm(pid))
		sum += p
	}
	t.Logf("Σ PSS %.1f MB, %.2f %% of a core over %v", float64(sum)/1e6, share, span.Round(time.Second))
	if raceBuild() {
		t.Skip("the race detector keeps a shadow of the memory that it watches: this is not what a node costs")
	}
	if sum > 150_000_000 {
		t.Errorf("Σ PSS is %.1f MB, want 150 at most", float64(sum)/1e6)
	}
	if long && share > 1.5 {
		t.Errorf("an idle node uses %.2f %% of a core, want 1.5 at most", share)
	}
}

// processes are sigmad, what it started, and what these started.
func (n *Node) processes() []int {
	pids := []int{n.PID()}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for i := 0; i < len(pids); i++ {
		for _, dir := range all {
			if pid, _ := strconv.Atoi(filepath.Base(dir)); pid != 0 && parentOf(pid) == pids[i] {
				pids = append(pids, pid)
			}
		}
	}
	return pids
}

// pss is a process's proportional memory, bytes.
func pss(t *testing.T, pid int) int64 {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0 // a kernel view of a process that ended
	}
	for _, line := range strings.Split(string(b), "\n") {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "Pss:" {
			kb, _ := strconv.ParseInt(f[1], 10, 64)
			return kb << 10
		}
	}
	return 0
}
