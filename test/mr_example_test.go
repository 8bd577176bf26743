package test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"
)

// The program in docs/MR.md builds as it stands there, and runs as a job.
func TestMRExampleRuns(t *testing.T) {
	doc, err := os.ReadFile("../docs/MR.md")
	if err != nil {
		t.Fatal(err)
	}
	_, src, _ := strings.Cut(string(doc), "```go\n")
	src, _, ok := strings.Cut(src, "```\n")
	if !ok {
		t.Fatal("docs/MR.md has no block of Go")
	}
	dir := t.TempDir()
	file := filepath.Join(dir, "main.go")
	if err := os.WriteFile(file, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	prog := filepath.Join(dir, "lengths")
	cmd := exec.CommandContext(ctx, "go", "build", "-o", prog, file)
	cmd.Dir, cmd.Env = "..", append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	n := StartNode(t)
	putFiles(t, n, "/ux/~local/in", map[string]string{"a": "to be or not\nto be", "b": "question"})
	s, code := mrRun(t, n, "--program", prog, "--in", "/ux/~local/in", "--out", "/ux/~local/out", "--reducers", "2")
	if want := "     2\t5\n     3\t1\n     8\t1\n"; code != 0 || sorted(parts(t, n, "/ux/~local/out")) != want {
		t.Errorf("status %d, %+v: %q, want %q", code, s.State, sorted(parts(t, n, "/ux/~local/out")), want)
	}
}

// warning is a line of sigmad's log.
var warning = regexp.MustCompile(`^\d\d:\d\d:\d\d WRN `)

// make run's script ends with "verified", with status 0, and leaves nothing.
func TestMakeRunVerifies(t *testing.T) {
	needRoot(t)
	small, err := filepath.Abs(corpus)
	if err != nil {
		t.Fatal(err)
	}
	tmp := t.TempDir()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	name := fmt.Sprintf("verifies-%d", os.Getpid()) // others may run it at the same time
	cmd := exec.CommandContext(ctx, "../apps/mr/run.sh", "--name", name, "--cgroup-root", "sigma-"+name)
	cmd.Env = append(os.Environ(), "SIGMA_CORPUS="+small, "TMPDIR="+tmp)
	out, err := cmd.CombinedOutput()
	// What sigmad warns of on a busy machine may come behind all else.
	lines := slices.DeleteFunc(strings.Split(strings.TrimSpace(string(out)), "\n"), warning.MatchString)
	if err != nil || len(lines) == 0 || !strings.HasPrefix(lines[len(lines)-1], "verified: ") {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{"map    [", "reduce [", "from Spawn to the first line", "  1  the "} {
		if !strings.Contains(string(out), want) {
			t.Errorf("no %q in\n%s", want, out)
		}
	}
	if list, err := os.ReadDir(tmp); err != nil || len(list) > 0 {
		t.Errorf("left in its directory: %v, %v", list, err)
	}
	for _, root := range []string{"/sys/fs/cgroup", "/run/sigma"} {
		if left := findNamed(root, name); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
}

// What the job counts wrong is seen.
func TestMRCheckSeesWrongCounts(t *testing.T) {
	n := StartNode(t)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("one Two two"), 0o600); err != nil {
		t.Fatal(err)
	}
	for out, want := range map[string]string{"one\t1\ntwo\t2\n": "", "one\t1\ntwo\t1\n": "not verified", "one\t1\n": "not verified", "one\t1\nthree\t1\ntwo\t2\n": "not verified", "two\t2\none\t1\n": "not in order"} {
		putFiles(t, n, "/out", map[string]string{"part-00000": out})
		o, e, code := n.Shell(Proc(t, "mrcheck"), "--out", "/out", dir)
		if code != 0 != (want != "") || !strings.Contains(e, want) || code == 0 && !strings.Contains(o, "verified: 3 words") {
			t.Errorf("output %q: status %d, %s%s; want %q", out, code, o, e, want)
		}
	}
}
