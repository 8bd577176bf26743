package test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The verbs for files do what their namesakes do.
func TestFilesFromTheCommandLine(t *testing.T) {
	n := StartNode(t)
	awaitScratch(t, n.Client("default").Names(), 1)
	ok := func(args ...string) string {
		t.Helper()
		out, e, code := n.Ctl(args...)
		if code != 0 || e != "" {
			t.Fatalf("%q: status %d, %s", args, code, e)
		}
		return out
	}
	refused := func(want int, says string, args ...string) {
		t.Helper()
		out, e, code := n.Ctl(args...)
		if code != want || out != "" || !strings.Contains(e, says) {
			t.Errorf("%q: status %d, %q, %q; want %d and %q", args, code, out, e, want, says)
		}
	}
	src := source(t, 40)
	os.WriteFile(filepath.Join(src, "large"), []byte(strings.Repeat("0123456789abcdef", 200_000)), 0o640)
	for _, top := range []string{"/a", "/ux/~local/a"} {
		ok("mkdir", "-p", top+"/b/c")
		refused(1, "", "mkdir", top)
		if _, e, code := n.Shell("/bin/sh", "-c", "echo hello | "+filepath.Join(bin, "sigmactl")+" put - "+top+"/f"); code != 0 {
			t.Fatal(e)
		}
		ok("put", filepath.Join(src, "pkg1/sub1/file1.c"), top+"/b/")
		if got := ok("cat", top+"/f", top+"/b/file1.c"); got != "hello\nline of file 1\nline of file 1\n" {
			t.Errorf("cat gives %q", got)
		}
		if got := ok("ls", top); got != "b\nf\n" {
			t.Errorf("ls gives %q", got)
		}
		line := strings.Fields(strings.Split(ok("ls", "-l", top), "\n")[1])
		if len(line) != 5 || line[0] != "-rw-r--r--" || line[2] != "6" || line[4] != "f" {
			t.Errorf("ls -l gives %q", line)
		}
		var f struct {
			Name, Type, Mode string
			Size             int64
			Version          uint64
		}
		if err := json.Unmarshal([]byte(ok("stat", "-o", "json", top+"/f")), &f); err != nil || f.Name != "f" || f.Type != "file" || f.Mode != "644" || f.Size != 6 || f.Version == 0 {
			t.Errorf("stat gives %+v, %v", f, err)
		}
		refused(1, "rm -r", "rm", top)
		refused(1, "", "rm", top+"/none")
		refused(1, "", "cat", top)
		refused(2, "cp -r", "cp", top, top+"2")
		refused(2, "", "put", src)
	}
	// /a has 1 MiB files at most, so the large one is for scratch alone.
	ok("cp", "-r", "local:"+src, "/ux/~local/a/copy")
	ok("cp", "-r", "/ux/~local/a/copy", "/ux/~local/a/b") // into it
	back := filepath.Join(t.TempDir(), "back")
	ok("cp", "-r", "/ux/~local/a/b/copy", "local:"+back)
	shell(t, src, "diff -r --no-dereference . "+back)
	modes := "find . ! -type l -printf '%m %p\\n' | sort"
	if want, got := shell(t, src, modes), shell(t, back, modes); got != want {
		t.Errorf("copied there and back the modes are\n%s\nwant\n%s", got, want)
	}
	os.Remove(filepath.Join(src, "large"))
	ok("cp", "-r", "local:"+src, "/a/copy")
	os.RemoveAll(back)
	ok("cp", "-r", "/a/copy", "local:"+back)
	shell(t, src, "diff -r --no-dereference . "+back)
	for _, top := range []string{"/a", "/ux/~local/a"} {
		ok("rm", "-r", top)
		refused(1, "", "stat", top)
	}
}

// watch prints what happens, and goes on behind a version.
func TestWatchFromTheCommandLine(t *testing.T) {
	n := StartNode(t)
	names, ctx := n.Client("default").Names(), minute(t)
	if err := names.Mkdir(ctx, "/w", 0o775); err != nil {
		t.Fatal(err)
	}
	before, err := names.Stat(ctx, "/w")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		if _, err := names.PutFile(ctx, fmt.Sprintf("/w/%d", i), nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := names.Rename(ctx, "/w/0", "/w/9"); err != nil {
		t.Fatal(err)
	}
	if err := names.Remove(ctx, "/w/1"); err != nil {
		t.Fatal(err)
	}
	want := []string{"created 0", "created 1", "created 2", "renamed 0", "created 9", "removed 1"}
	watch := func(from uint64, want []string, last uint64, end bool) uint64 {
		t.Helper()
		wctx, cancel := context.WithTimeout(ctx, 20*time.Second)
		defer cancel()
		cmd := exec.CommandContext(wctx, filepath.Join(bin, "sigmactl"), "watch", "--from", fmt.Sprint(from), "-o", "json", "/w")
		cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
		cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+n.socket())
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for _, w := range want {
			if !lines.Scan() {
				t.Fatalf("the watch ends before it told %q", w)
			}
			var e struct {
				Version    uint64
				Kind, Name string
			}
			if err := json.Unmarshal(lines.Bytes(), &e); err != nil || e.Kind+" "+e.Name != w || e.Version <= last {
				t.Errorf("the watch tells %s (%v), want %s of a version over %d", lines.Bytes(), err, w, last)
			}
			last = e.Version
		}
		cancel() // interrupts it
		for lines.Scan() {
			if end {
				t.Errorf("the watch tells %s besides", lines.Bytes())
			}
		}
		if cmd.Wait(); cmd.ProcessState.ExitCode() != 0 {
			t.Errorf("interrupted, it ends with %v", cmd.ProcessState)
		}
		return last
	}
	third := watch(before.Version, want[:3], before.Version, false)
	watch(third, want[3:], third, true)
}
