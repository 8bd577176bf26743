package test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// section returns the code blocks of a language under a heading of the README.
func section(t *testing.T, heading, language string) (blocks []string) {
	t.Helper()
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, ok := strings.Cut(string(b), "\n## "+heading+"\n")
	if !ok {
		t.Fatalf("README has no section %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n## ")
	for _, m := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllStringSubmatch(rest, -1) {
		blocks = append(blocks, m[1])
	}
	if len(blocks) == 0 {
		t.Fatalf("section %q has no block of %s", heading, language)
	}
	return blocks
}

// The README's two commands and first proc, typed as they stand there. Names and
// places come from the environment, so that a sigmad of the machine's user is
// left alone.
func TestReadmeCommandsWork(t *testing.T) {
	needRoot(t)
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if long { // from a clean clone, with make
		clone := t.TempDir()
		if out, err := exec.Command("git", "clone", "-q", root, clone).CombinedOutput(); err != nil {
			t.Fatalf("%v %s", err, out)
		}
		root = clone
	}
	dir, err := os.MkdirTemp("", "sigma-test")
	if err != nil {
		t.Fatal(err)
	}
	n := newNode(t, dir)
	runs := filepath.Join(dir, "runs")
	env := append(os.Environ(), "SIGMA_NAME="+n.Name, "SIGMA_DATA_DIR="+dir+"/data", "SIGMA_RUN_DIR="+filepath.Join(runs, n.Name), "SIGMA_RUN="+runs, "SIGMA_CGROUP_ROOT=sigma-"+n.Name, "SIGMA_CONTEXT=")
	shell := func(line string) *exec.Cmd {
		cmd := exec.Command("/bin/sh", "-c", "exec "+line)
		cmd.Dir, cmd.Env = root, env
		return cmd
	}
	two := strings.Split(strings.TrimSpace(section(t, "Two commands", "sh")[0]), "\n")
	if len(two) != 2 || two[0] != "make" {
		t.Fatalf("the two commands are %q", two)
	}
	if long {
		if out, err := shell(two[0]).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", two[0], err, out)
		}
	}
	sigmad := shell(two[1])
	said := &output{}
	sigmad.Stderr = said
	if err := sigmad.Start(); err != nil {
		t.Fatal(err)
	}
	own.Store(sigmad.Process.Pid, true)
	t.Cleanup(func() {
		own.Delete(sigmad.Process.Pid)
		n.AssertNothingLeft()
		os.RemoveAll(dir)
	})
	begin := time.Now()
	eventually(t, 30*time.Second, "sigmad says that it is ready", func() (bool, string) {
		return strings.Contains(said.String(), "is ready"), said.String()
	})
	if d := time.Since(begin); d > 3*time.Second {
		t.Logf("ready after %v; the README says seconds less", d)
	}
	for _, line := range strings.Split(strings.TrimSpace(section(t, "A first proc", "sh")[0]), "\n") {
		out, err := shell(line).CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v\n%s", line, err, out)
		}
	}
	sigmad.Process.Signal(os.Interrupt)
	done := make(chan error, 1)
	go func() { done <- sigmad.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			t.Errorf("interrupted, it ends with %v\n%s", err, said)
		}
	case <-time.After(20 * time.Second):
		sigmad.Process.Signal(syscall.SIGKILL)
		t.Error("interrupted, it does not end")
	}
}

// The README's Go compiles, as the body of a program.
func TestReadmeGoCompiles(t *testing.T) {
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for i, block := range section(t, "A first proc", "go") {
		src := "package main\n\nimport (\n\t\"context\"\n\n\t\"sigmaos/sigma\"\n)\n\nfunc main() {\n\tctx := context.Background()\n" + block + "\n\t_, _ = st, err\n}\n"
		file := filepath.Join(dir, "main.go")
		if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay, err := json.Marshal(map[string]map[string]string{"Replace": {filepath.Join(root, "apps", "readme", "main.go"): file}})
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, "overlay.json"), overlay, 0o600); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		cmd := exec.CommandContext(ctx, "go", "build", "-overlay", filepath.Join(dir, "overlay.json"), "-o", os.DevNull, "sigmaos/apps/readme")
		cmd.Dir = root
		out, err := cmd.CombinedOutput()
		cancel()
		if err != nil {
			t.Errorf("block %d: %v\n%s\n%s", i, err, out, src)
		}
	}
}

// Every directory of the tree has its line.
func TestReadmeNamesEveryDirectory(t *testing.T) {
	b, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.IsDir() && !strings.HasPrefix(e.Name(), ".") && e.Name() != "bin" && !strings.Contains(string(b), "| `"+e.Name()+"/` |") {
			t.Errorf("README has no line for %s/", e.Name())
		}
	}
}
