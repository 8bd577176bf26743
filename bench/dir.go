package bench

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"sigmaos/runtime/cgroup"
)

// ownPrefix begins the names of what a bench has of its own on this machine:
// directories, and roots of cgroups. Its pid follows.
const ownPrefix = "sigma-bench-"

// newDir is a directory of this bench's own; the caller removes it.
func newDir() (string, error) {
	sweep()
	return os.MkdirTemp("", fmt.Sprintf("%s%d-", ownPrefix, os.Getpid()))
}

// sweep removes what benches left that were killed. What they had started ends with
// them.
func sweep() {
	list, _ := filepath.Glob(filepath.Join(os.TempDir(), ownPrefix+"*"))
	for _, dir := range list {
		if killed(filepath.Base(dir)) {
			os.RemoveAll(dir)
		}
	}
	if l, err := cgroup.Detect(); err == nil {
		cgroup.Sweep(l, ownPrefix, killed)
	}
}

// killed reports whether the bench that had something of this name is no more.
func killed(name string) bool {
	pid, _, _ := strings.Cut(strings.TrimPrefix(name, ownPrefix), "-")
	n, err := strconv.Atoi(pid)
	return err == nil && syscall.Kill(n, 0) == syscall.ESRCH
}
