//go:build failpoint

package failpoint

import (
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

// SIGMA_FAILPOINT is NAME or NAME=N: the process is killed as by kill -9 when
// it comes by NAME for the Nth time.
var name, count = func() (string, *atomic.Int64) {
	s, n, ok := strings.Cut(os.Getenv("SIGMA_FAILPOINT"), "=")
	left := new(atomic.Int64)
	left.Store(1)
	if v, err := strconv.ParseInt(n, 10, 64); ok && err == nil {
		left.Store(v)
	}
	return s, left
}()

// Hit ends the process if its turn has come.
func Hit(point string) {
	if point == name && count.Add(-1) == 0 {
		syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {} // until it arrives
	}
}
