package test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// own are the processes that the tests themselves started and wait for.
var own sync.Map

// left lists everything on the machine that still bears a node's mark: its
// name, its directory, or, for processes, that they became orphans of ours. Procs
// of a node that runs are not orphans.
func (n *Node) left() []string {
	var out []string
	add := func(format string, args ...any) { out = append(out, fmt.Sprintf(format, args...)) }
	marks := []string{n.Dir, "sigma-" + n.Name}
	named := func(s string) bool { return strings.Contains(s, marks[0]) || strings.Contains(s, marks[1]) }
	orphans(add)
	namespaces := make(map[string]string) // mount namespace → a process in it
	pids, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range pids {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if pid == os.Getpid() {
			continue
		}
		if ns, err := os.Readlink(dir + "/ns/mnt"); err == nil && !anothers(pid) {
			namespaces[ns] = dir
		}
		for _, file := range []string{"cgroup", "cmdline", "environ", "maps"} {
			if b, err := os.ReadFile(dir + "/" + file); err == nil && named(string(b)) && !mine(pid) {
				add("process %d: its %s names the node", pid, file)
				break
			}
		}
		fds, _ := filepath.Glob(dir + "/fd/*")
		for _, link := range append(fds, dir+"/cwd", dir+"/exe", dir+"/root") {
			if to, err := os.Readlink(link); err == nil && named(to) && !mine(pid) {
				add("process %d: %s is %s", pid, link, to)
			}
		}
	}
	namespaces["ours"] = "/proc/self"
	for ns, dir := range namespaces {
		b, _ := os.ReadFile(dir + "/mountinfo")
		for _, line := range strings.Split(string(b), "\n") {
			if named(line) {
				add("a mount in %s (of %s): %s", ns, dir, line)
			}
		}
	}
	for _, root := range hierarchies() {
		filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && named(path) {
				add("cgroup %s", path)
				return fs.SkipDir
			}
			return nil
		})
	}
	sockets, _ := os.ReadFile("/proc/net/unix")
	for _, line := range strings.Split(string(sockets), "\n") {
		if named(line) || strings.Contains(line, " @") && strings.Contains(line, n.Name) {
			add("socket %s", line)
		}
	}
	for _, dir := range []string{"/run", "/run/sigma", "/var/lib/sigma", "/tmp", "/dev/shm", "/dev/mqueue", "/var/tmp", "/etc/apparmor.d"} {
		entries, _ := os.ReadDir(dir)
		for _, e := range entries {
			if p := filepath.Join(dir, e.Name()); strings.Contains(p, n.Name) && p != n.Dir {
				add("file %s", p)
			}
		}
	}
	if _, err := os.Lstat(filepath.Join(n.Dir, "run")); err == nil {
		add("%s", filepath.Join(n.Dir, "run"))
	}
	for _, pattern := range []string{"bin/upload-*", "bin/*/put-*", "bin/*.tmp"} {
		half, _ := filepath.Glob(filepath.Join(n.Dir, "data", pattern))
		for _, f := range half {
			add("half of a file: %s", f)
		}
	}
	return out
}

// mine reports whether a process is one that a test started and will wait for;
// a client has the node's directory in its environment.
func mine(pid int) bool {
	_, ok := own.Load(pid)
	return ok || parentOf(pid) == os.Getpid() && comm(pid) == "sigmactl"
}

func comm(pid int) string {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/comm", pid))
	return strings.TrimSpace(string(b))
}

func parentOf(pid int) int {
	b, _ := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	f := strings.Fields(string(b[strings.LastIndexByte(string(b), ')')+1:]))
	if len(f) < 2 {
		return 0
	}
	n, _ := strconv.Atoi(f[1])
	return n
}

// orphans are processes whose parent died: as a subreaper we are their new
// one. The dead among them are reaped.
func orphans(add func(string, ...any)) {
	tasks, _ := filepath.Glob("/proc/self/task/*/children")
	for _, task := range tasks {
		b, _ := os.ReadFile(task)
		for _, f := range strings.Fields(string(b)) {
			pid, _ := strconv.Atoi(f)
			if mine(pid) {
				continue
			}
			var ws syscall.WaitStatus
			if got, err := syscall.Wait4(pid, &ws, syscall.WNOHANG, nil); err == nil && got == 0 {
				add("process %d (%s) is an orphan", pid, comm(pid))
			}
		}
	}
}

// anothers says whether a process does not descend from this one, as all that a test
// starts does, orphans too: other nodes and tests of the machine have namespaces that
// began as copies of what was mounted then, here, too.
func anothers(pid int) bool {
	for pid > 1 && pid != os.Getpid() {
		pid = parentOf(pid)
	}
	return pid != os.Getpid()
}

// hierarchies are the mount points of cgroups, of every version.
func hierarchies() (out []string) {
	b, _ := os.ReadFile("/proc/self/mountinfo")
	for _, line := range strings.Split(string(b), "\n") {
		left, right, ok := strings.Cut(line, " - ")
		if f := strings.Fields(left); ok && strings.HasPrefix(right, "cgroup") && len(f) > 4 {
			out = append(out, f[4])
		}
	}
	return out
}

// AssertNothingLeft fails the test for whatever a stopped node has left.
func (n *Node) AssertNothingLeft() {
	n.t.Helper()
	var left []string
	for end := time.Now().Add(15 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if left = n.left(); len(left) == 0 {
			return
		}
		if time.Now().After(end) {
			n.t.Errorf("left behind:\n  %s", strings.Join(left, "\n  "))
			return
		}
	}
}

// The checker itself must see what it is there for.
func TestLeakCheckerFindsWhatIsThere(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	n.Running(c, sleeper(n.Upload("testproc")))
	all := strings.Join(n.left(), "\n")
	for _, want := range []string{"cgroup /", "a mount in ", "socket ", filepath.Join(n.Dir, "run"), "its cgroup names the node"} {
		if !strings.Contains(all, want) {
			t.Errorf("of a running node, %q is not found in:\n%s", want, all)
		}
	}
	n.Kill()
	if all := strings.Join(n.left(), "\n"); !strings.Contains(all, "cgroup /") {
		t.Errorf("right after kill -9 the cgroups are not found in:\n%s", all)
	}
	n.Start()
}
