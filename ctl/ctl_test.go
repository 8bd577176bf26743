package ctl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"sigmaos/api"
	"sigmaos/sigma/admin"
)

type nothing struct{}

func (nothing) Table(w io.Writer) error { return nil }
func (nothing) Plot(w io.Writer) error  { return nil }

// hooks are ways into parts of the system that are not there.
func hooks() Hooks {
	return Hooks{
		Digest: func(string) (string, int64, error) { return "", 0, errors.New("no digest here") },
		Doctor: func(context.Context, bool, string) []api.Check {
			return []api.Check{{Name: "thing", Level: "FAIL", Text: "is missing", Fix: "get one"}}
		},
		Bench:      func(context.Context, string, *admin.Client, BenchOptions) (BenchResult, error) { return nothing{}, nil },
		BenchNames: []string{"start", "rate"},
	}
}

// sigmactl runs a command where no cluster is.
func sigmactl(t *testing.T, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	t.Setenv("SIGMA_CONTEXT", filepath.Join(t.TempDir(), "sock"))
	t.Setenv("SIGMA_REALM", "")
	var out, errw bytes.Buffer
	code = run(context.Background(), args, "v-test", hooks(), &out, &errw)
	return out.String(), errw.String(), code
}

// verbs walks the command tree and calls fn with every verb that does something.
func verbs(fn func(path string, c *cobra.Command)) {
	a := &app{hooks: hooks(), out: io.Discard, err: io.Discard}
	root := a.root("v-test")
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		for _, s := range c.Commands() {
			walk(s)
		}
		if !c.HasSubCommands() {
			fn(strings.TrimPrefix(c.CommandPath(), "sigmactl "), c)
		}
	}
	walk(root)
}

// Verbs that print no data of ours: files as they are, or nothing.
var silent = map[string]string{
	"cat": "a file's own bytes", "put": "nothing", "cp": "nothing", "rm": "nothing", "mkdir": "nothing",
	"sql": "rows, which are JSON anyhow", "realm token": "a file, written where it says", "cluster token": "a file, written where it says", "ep publish": "nothing",
	"ep forward": "runs until interrupted", "mount": "runs until interrupted", "9p-serve": "runs until interrupted",
	"help": "help", "completion bash": "a script", "completion zsh": "a script", "completion fish": "a script", "completion powershell": "a script",
}

func TestEveryVerbThatPrintsDataTakesJSON(t *testing.T) {
	n := 0
	verbs(func(path string, c *cobra.Command) {
		n++
		f := c.Flags().Lookup("output")
		if why, ok := silent[path]; ok == (f != nil) && path != "help" {
			t.Errorf("%s: -o is there: %v; it prints %q", path, f != nil, why)
		}
	})
	if n < 20 {
		t.Errorf("only %d verbs were found", n)
	}
}

func TestEveryVerbHasHelpWithAnExample(t *testing.T) {
	verbs(func(path string, c *cobra.Command) {
		if strings.HasPrefix(path, "completion") || path == "help" {
			return // cobra's own
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: the short help is %q", path, c.Short)
		}
		if !strings.Contains(c.Example, "sigmactl "+path) {
			t.Errorf("%s: no example that calls it: %q", path, c.Example)
		}
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s: --%s has no help", path, f.Name)
			}
		})
		out, e, code := sigmactl(t, append(strings.Fields(path), "--help")...)
		if code != 0 || e != "" || !strings.Contains(out, "Examples:") || !strings.Contains(out, "Usage:") {
			t.Errorf("%s --help: status %d, %q\n%s", path, code, e, out)
		}
	})
	out, _, code := sigmactl(t)
	if code != 0 || !strings.Contains(out, "Available Commands") {
		t.Errorf("sigmactl alone: status %d\n%s", code, out)
	}
}

// Wrong use is 2 and says how to use it, before anything is asked of a cluster.
func TestWrongUseIsTwo(t *testing.T) {
	for _, line := range []string{
		"frobnicate", "--nope ps", "ps --nope", "ps extra", "ps -o yaml", "why", "why a b", "logs", "logs a b", "logs -n -1 a", "logs -n x a", "wait", "kill", "kill --grace -1s a", "kill --grace soon a",
		"run", "run --class XX p", "run --memory 0 p", "run --memory -5 p", "run --memory NaN p", "run --memory 1.5GiB p", "run --mcpu 0 --class LC p", "run --mcpu NaN p", "run --fds -1 p", "run --threads -1 p",
		"spawn", "spawn --memory 99999999TiB p", "top x", "top -n -1", "top --every 1ms", "dump", "realm", "realm create", "realm create a b", "realm rm", "realm ls x", "realm nope", "programs x", "info x", "doctor x",
		"bench", "bench nope", "bench start -n -1",
	} {
		_, e, code := sigmactl(t, strings.Fields(line)...)
		if code != 2 || !strings.Contains(e, "usage: sigmactl") {
			t.Errorf("sigmactl %s: status %d, %q; want 2 and the usage", line, code, e)
		}
	}
}

// Failure is 1 and says what was asked, what is wrong and what to do.
func TestFailureIsOne(t *testing.T) {
	for _, line := range []string{"ps", "why x", "logs x", "wait x", "kill x", "spawn prog", "run prog", "top", "info", "programs", "dump x", "realm ls", "realm create x", "realm rm x", "bench start"} {
		_, e, code := sigmactl(t, strings.Fields(line)...)
		if code != 1 || !strings.Contains(e, "connect") || !strings.Contains(e, "sigmad") {
			t.Errorf("sigmactl %s without a cluster: status %d, %q", line, code, e)
		}
	}
	out, _, code := sigmactl(t, "doctor")
	if code != 1 || !strings.Contains(out, "FAIL  thing  is missing") || !strings.Contains(out, "→ get one") {
		t.Errorf("doctor with something missing: status %d\n%s", code, out)
	}
	if out, _, code := sigmactl(t, "doctor", "-o", "json"); code != 1 || !strings.Contains(out, `"level": "FAIL"`) {
		t.Errorf("as JSON: status %d\n%s", code, out)
	}
}

func TestCompletionForEveryShell(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish", "powershell"} {
		out, e, code := sigmactl(t, "completion", shell)
		if code != 0 || !strings.Contains(out, "sigmactl") || len(out) < 1000 {
			t.Errorf("completion %s: status %d, %d bytes, %s", shell, code, len(out), e)
		}
	}
	// What the scripts ask. Without a cluster there is nothing to offer, and no noise.
	out, _, code := sigmactl(t, cobra.ShellCompRequestCmd, "why", "")
	if code != 0 || !strings.HasPrefix(out, ":") {
		t.Errorf("ids of procs: status %d, %q", code, out)
	}
	if out, _, _ := sigmactl(t, cobra.ShellCompRequestCmd, "bench", ""); !strings.Contains(out, "start") || !strings.Contains(out, "rate") {
		t.Errorf("names of benches: %q", out)
	}
}

func TestVersion(t *testing.T) {
	if out, _, code := sigmactl(t, "--version"); code != 0 || !strings.Contains(out, "v-test") {
		t.Errorf("%d %q", code, out)
	}
}

func TestSizes(t *testing.T) {
	for in, want := range map[string]int64{"1": 1, "4096": 4096, "1KiB": 1 << 10, "64MiB": 64 << 20, "2GiB": 2 << 30, "1TiB": 1 << 40} {
		if got, err := parseSize(in); err != nil || got != want {
			t.Errorf("parseSize(%q) = %d %v, want %d", in, got, err, want)
		}
	}
	for _, in := range []string{"", "0", "-1", "NaN", "1.5", "1MB", "MiB", "99999999999TiB", "0x10", " 1", "1 MiB"} {
		if got, err := parseSize(in); err == nil {
			t.Errorf("parseSize(%q) = %d", in, got)
		}
	}
}

// A local file that is no program fails before a cluster is asked for it.
func TestLocalFiles(t *testing.T) {
	a := &app{hooks: hooks()}
	dir := t.TempDir()
	file := filepath.Join(dir, "prog")
	os.WriteFile(file, nil, 0o755)
	for path, want := range map[string]string{dir: "directory", "./none": "no such file", file: "no digest here"} {
		d := &api.ProcDesc{Program: path}
		if err := a.local(context.Background(), nil, d); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want a text with %q", path, err, want)
		}
	}
	for _, path := range []string{"/bin/prog", "/ux/n1/prog", "prog", "s1-" + strings.Repeat("0", 64)} {
		d := &api.ProcDesc{Program: path}
		if err := a.local(context.Background(), nil, d); err != nil || d.Program != path {
			t.Errorf("%s in the realm: %v, %s", path, err, d.Program)
		}
	}
}
