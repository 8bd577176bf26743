package test

import (
	"os"
	"strings"
	"testing"
)

// A shell's usual limit of open files is 1,024, soft; that of this machine's may
// be another. A hard one that is too low is said at the start.
func TestStartsUnderAShellsUsualLimits(t *testing.T) {
	needRoot(t)
	for limits, want := range map[string]string{"ulimit -Sn 1024": "", "ulimit -n 2000": "hard limit of open files is 2000"} {
		dir, err := os.MkdirTemp("", "sigma-test")
		if err != nil {
			t.Fatal(err)
		}
		n := tidy(t, newNode(t, dir))
		n.args = append([]string{"-c", limits + `; exec "$0" "$@"`, n.bin}, n.args...)
		n.bin = "/bin/sh"
		if want != "" {
			if e, code := n.startAndFail(); code != 1 || !strings.Contains(e, want) {
				t.Errorf("%s: status %d, %q; want a text with %q", limits, code, e, want)
			}
			continue
		}
		n.Start()
		if out, e, code := n.Ctl("run", Proc(t, "hello")); code != 0 || out == "" {
			t.Errorf("%s: %d %q %q", limits, code, out, e)
		}
	}
}
