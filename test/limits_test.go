package test

import (
	"os"
	"os/exec"
	"path/filepath"
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

// Wrong use of sigmad is 2 and nothing is made; failure is 1.
func TestSigmadsStatuses(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	places := []string{"--data-dir", dir + "/data", "--run-dir", dir + "/run"}
	for line, code := range map[string]int{
		"--nope": 2, "frobnicate": 2, "dev frobnicate": 2, "dev --memory NaN": 2, "--memory=-1": 2, "--roles nodes": 2, "--roles=": 2, "--log-level loud": 2, "--uid-base 0": 2, "--mcpu 1.5": 2,
		"--config /nonexistent": 2, "dev --nodes 0": 2, "--help": 0, "--version": 0, "dev --help": 0,
	} {
		cmd := exec.Command(filepath.Join(bin, "sigmad"), append(strings.Fields(line), places...)...)
		out, _ := cmd.CombinedOutput()
		if got := cmd.ProcessState.ExitCode(); got != code || code == 2 && !strings.Contains(string(out), "usage: sigmad") {
			t.Errorf("sigmad %s: status %d, want %d\n%s", line, got, code, out)
		}
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("wrong use has made %v", left)
	}
}

// sigmad dev -- CMD has CMD's status, and CMD's own output alone on stdout.
func TestDevRunsACommand(t *testing.T) {
	needRoot(t)
	for line, code := range map[string]int{"true": 0, "exit 7": 7, "kill -9 $$": 128 + 9, "echo out; echo err >&2": 0, `test -S "$SIGMA_CONTEXT"`: 0} {
		dir, err := os.MkdirTemp("", "sigma-test")
		if err != nil {
			t.Fatal(err)
		}
		n := tidy(t, newNode(t, dir))
		cmd := exec.Command(n.bin, append(n.args, "--", "/bin/sh", "-c", line)...)
		out, _ := cmd.Output()
		if got := cmd.ProcessState.ExitCode(); got != code || line != "true" && strings.HasPrefix(line, "echo") != (string(out) == "out\n") {
			t.Errorf("%s: status %d and %q on stdout, want %d", line, got, out, code)
		}
	}
}
