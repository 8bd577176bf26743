package test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/api"
	"sigmaos/naming/fusemount/posixtest"
)

// mount is a running sigmactl mount.
type mount struct {
	t    *testing.T
	Dir  string
	cmd  *exec.Cmd
	said *output
	done chan struct{}
}

func needFUSE(t *testing.T) {
	t.Helper()
	needRoot(t)
	f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no FUSE: %v", err)
	}
	f.Close()
}

// Mount shows a realm at a new directory; the test's end ends it.
func (n *Node) Mount(t *testing.T, args ...string) *mount {
	t.Helper()
	needFUSE(t)
	dir, err := os.MkdirTemp("", "sigma-mount")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Remove(dir) }) // not what is on it
	return n.mountAt(t, dir, args...)
}

func (n *Node) mountAt(t *testing.T, dir string, args ...string) *mount {
	t.Helper()
	m := &mount{t: t, Dir: dir, said: &output{}, done: make(chan struct{})}
	m.cmd = exec.Command(filepath.Join(bin, "sigmactl"), append(args, "mount", dir)...)
	m.cmd.Env = append(os.Environ(), "SIGMA_CONTEXT="+n.socket())
	m.cmd.Stderr = m.said
	if err := m.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	own.Store(m.cmd.Process.Pid, true)
	go func() {
		m.cmd.Wait()
		own.Delete(m.cmd.Process.Pid)
		close(m.done)
	}()
	t.Cleanup(func() {
		m.cmd.Process.Kill()
		<-m.done
		unix.Unmount(dir, unix.MNT_DETACH)
	})
	eventually(t, 30*time.Second, "the mount", func() (bool, string) {
		select {
		case <-m.done:
			t.Fatalf("sigmactl mount ended: %s", m.said)
		default:
		}
		return strings.Contains(m.said.String(), "is mounted on"), m.said.String()
	})
	return m
}

// End interrupts sigmactl, as a user does, and looks at what it leaves.
func (m *mount) End() {
	m.t.Helper()
	m.cmd.Process.Signal(os.Interrupt)
	m.await()
}

func (m *mount) await() {
	m.t.Helper()
	select {
	case <-m.done:
	case <-time.After(60 * time.Second):
		m.dump()
		m.t.Fatalf("sigmactl mount does not end: %s", m.said)
	}
	if code := m.cmd.ProcessState.ExitCode(); code != 0 {
		m.t.Errorf("sigmactl mount ended with %v: %s", m.cmd.ProcessState, m.said)
	}
	b, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil || strings.Contains(string(b), " "+m.Dir+" ") {
		m.t.Errorf("%s is still mounted (%v)", m.Dir, err)
	}
}

// dump makes a mount that hangs say where, in the kernel and in Go.
func (m *mount) dump() {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", m.cmd.Process.Pid))
	for _, task := range tasks {
		where, _ := os.ReadFile(task + "/wchan")
		stack, _ := os.ReadFile(task + "/stack")
		m.t.Logf("%s: %s\n%s", task, where, stack)
	}
	m.cmd.Process.Signal(syscall.SIGQUIT)
	select {
	case <-m.done:
	case <-time.After(5 * time.Second):
	}
}

// shell runs a line of sh in a directory, and returns what it printed.
func shell(t *testing.T, dir, line string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), scaled(5*time.Minute, 20*time.Minute))
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-ec", line)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C", "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example")
	cmd.WaitDelay = 10 * time.Second
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", line, err, out)
	}
	return string(out)
}

// source makes a tree of n files as a program's sources are, and returns where.
func source(t *testing.T, n int) string {
	t.Helper()
	dir := t.TempDir()
	for i := range n {
		d := filepath.Join(dir, fmt.Sprintf("pkg%d/sub%d", i%7, i%3))
		if err := os.MkdirAll(d, 0o755); err != nil {
			t.Fatal(err)
		}
		data := bytes.Repeat([]byte(fmt.Sprintf("line of file %d\n", i)), 1+i*i%997)
		if i%50 == 0 {
			data = append(data, "a needle\n"...)
		}
		if err := os.WriteFile(filepath.Join(d, fmt.Sprintf("file%d.c", i)), data, os.FileMode([]int{0o644, 0o600, 0o755}[i%3])); err != nil {
			t.Fatal(err)
		}
	}
	os.WriteFile(filepath.Join(dir, "empty"), nil, 0o644)
	os.WriteFile(filepath.Join(dir, "name with\ttab, ü and 'quotes'"), []byte("x"), 0o644)
	os.Symlink("pkg1/sub1", filepath.Join(dir, "link"))
	os.Symlink("nowhere", filepath.Join(dir, "dangling"))
	return dir
}

// Ordinary programs work on a mounted realm, on its root and on scratch.
func TestMountIsForOrdinaryTools(t *testing.T) {
	n := StartNode(t)
	awaitScratch(t, n.Client("default").Names(), 1)
	m := n.Mount(t)
	src := source(t, scaled(60, 600))
	for name, below := range map[string]string{"root": "", "ux": "ux/~local"} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(m.Dir, below, "tools")
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			t.Run("cp", func(t *testing.T) {
				shell(t, dir, "cp -a "+src+" copy && diff -r --no-dereference "+src+" copy")
				shell(t, dir, "cp -r copy again && diff -r --no-dereference copy again && mv again moved && diff -r --no-dereference "+src+" moved && rm -r moved")
			})
			t.Run("grep", func(t *testing.T) {
				want := strings.Count(shell(t, src, "grep -r needle . | sort"), "\n")
				if got := strings.Count(shell(t, dir, "grep -r needle copy | sort"), "\n"); got != want || want == 0 {
					t.Errorf("grep -r finds %d, want %d", got, want)
				}
			})
			t.Run("find", func(t *testing.T) {
				want, got := shell(t, src, "find . | sort"), shell(t, dir+"/copy", "find . | sort")
				if got != want {
					t.Errorf("find gives %q, want %q", got, want)
				}
			})
			t.Run("tar", func(t *testing.T) {
				shell(t, dir, "mkdir un && tar -C copy -cf - . | tar -C un -xf - && diff -r --no-dereference "+src+" un")
				shell(t, dir, "tar -C "+src+" -czf t.tgz . && mkdir un2 && tar -C un2 -xzf t.tgz && diff -r --no-dereference "+src+" un2 && rm -r un un2")
			})
			t.Run("rsync", func(t *testing.T) {
				needTool(t, "rsync")
				shell(t, dir, "rsync -rlpt "+src+"/ sync && diff -r --no-dereference "+src+" sync")
				if out := shell(t, dir, "rsync -rlpt --itemize-changes "+src+"/ sync"); out != "" {
					t.Errorf("a second rsync changes %q", out)
				}
				shell(t, dir, "echo more >>sync/empty && rsync -rlpt --delete "+src+"/ sync && diff -r --no-dereference "+src+" sync")
			})
			t.Run("git", func(t *testing.T) {
				needTool(t, "git")
				repo := t.TempDir()
				shell(t, repo, "git init -q && cp -r "+src+"/. . && git add -A && git commit -qm first")
				shell(t, dir, "git clone -q "+repo+" clone && cd clone && git status --porcelain && git fsck --strict")
				shell(t, dir+"/clone", "echo changed >empty && git commit -qam second && git checkout -q -b other HEAD~1 && git merge -q master 2>/dev/null || git merge -q main; git gc -q && git fsck --strict")
				if out := shell(t, dir+"/clone", "git status --porcelain; git log --format=%s"); out != "second\nfirst\n" {
					t.Errorf("the clone says %q", out)
				}
			})
			shell(t, m.Dir, "rm -r "+dir)
		})
	}
	m.End()
}

func needTool(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		t.Skipf("%s is not installed (apt-get install %s)", name, name)
	}
}

// What programs expect of a directory, on two mounts of one realm: POSIX as far as
// docs/MOUNT.md says.
func TestMountIsPOSIXish(t *testing.T) {
	n := StartNode(t)
	c := n.Client("default")
	awaitScratch(t, c.Names(), 1)
	n.Running(c, &api.ProcDesc{Program: n.program("memfs"), Args: []string{"/mem"}})
	a, b := n.Mount(t), n.Mount(t)
	for name, tt := range map[string]struct {
		below string
		small bool
	}{"root": {"", true}, "ux": {"ux/~local", false}, "memfs": {"mem", true}} {
		t.Run(name, func(t *testing.T) {
			for _, m := range []*mount{a, b} {
				if _, err := os.Stat(filepath.Join(m.Dir, tt.below)); err != nil {
					t.Fatal(err)
				}
			}
			dir := filepath.Join(tt.below, "posix")
			if err := os.Mkdir(filepath.Join(a.Dir, dir), 0o755); err != nil {
				t.Fatal(err)
			}
			posixtest.Run(t, posixtest.Config{
				Dir: filepath.Join(a.Dir, dir), Other: filepath.Join(b.Dir, dir), Small: tt.small, Big: scaled[int64](64<<20, 1<<30),
			})
		})
	}
	a.End()
	b.End()
}

// A mount ends when it is interrupted, busy or not, when it is unmounted, and when
// it is killed; the next one takes the dead one's place. What was written before
// the end has arrived.
func TestMountEnds(t *testing.T) {
	n := StartNode(t)
	names := n.Client("default").Names()
	has := func(path, want string) {
		t.Helper()
		if b, _, err := names.GetFile(minute(t), path); err != nil || string(b) != want {
			t.Errorf("%s has %q, %v; want %q", path, b, err, want)
		}
	}
	m := n.Mount(t)
	busy, err := os.Create(filepath.Join(m.Dir, "busy"))
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	if _, err := busy.WriteString("not synced"); err != nil {
		t.Fatal(err)
	}
	m.End()
	if !strings.Contains(m.said.String(), "still use") {
		t.Errorf("of who used the mount it says %q", m.said)
	}
	has("/busy", "not synced")
	if _, err := busy.WriteString("x"); !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("a write after the end: %v", err)
	}

	m = n.mountAt(t, m.Dir)
	if err := os.WriteFile(filepath.Join(m.Dir, "written"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := unix.Unmount(m.Dir, 0); err != nil {
		t.Fatal(err)
	}
	m.await()
	has("/written", "x")

	m = n.mountAt(t, m.Dir)
	m.cmd.Process.Kill()
	<-m.done
	if _, err := os.ReadDir(m.Dir); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("the mount point after kill -9: %v", err)
	}
	m = n.mountAt(t, m.Dir)
	if !strings.Contains(m.said.String(), "a dead mount was removed") {
		t.Errorf("it says %q", m.said)
	}
	if b, err := os.ReadFile(filepath.Join(m.Dir, "written")); string(b) != "x" {
		t.Errorf("after a dead mount: %q, %v", b, err)
	}
	m.End()
	for name, args := range map[string][]string{"no directory": {filepath.Join(m.Dir, "none")}, "a file": {"/etc/passwd"}, "nothing": nil} {
		if _, e, code := n.Ctl(append([]string{"mount"}, args...)...); code == 0 || e == "" {
			t.Errorf("mount on %s: status %d, %q", name, code, e)
		}
	}
}

// sigmad is stopped and comes back under a mount: programs get errors in a bounded
// time, and go on with the files that they have open.
func TestFAULTS_F21_MountOutlivesItsNode(t *testing.T) {
	n := StartNode(t)
	awaitScratch(t, n.Client("default").Names(), 1)
	m := n.Mount(t)
	open := make(map[string]*os.File)
	for _, below := range []string{"", "ux/~local"} {
		f, err := os.Create(filepath.Join(m.Dir, below, "open"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := f.WriteString("before"); err != nil {
			t.Fatal(err)
		}
		if err := f.Sync(); err != nil {
			t.Fatal(err)
		}
		open[below] = f
	}
	n.Stop()
	stat := make(chan error, 1)
	go func() { _, err := os.Stat(filepath.Join(m.Dir, "another")); stat <- err }()
	select {
	case err := <-stat:
		if !errors.Is(err, syscall.EHOSTDOWN) && !errors.Is(err, syscall.ETIMEDOUT) {
			t.Errorf("stat with no sigmad: %v", err)
		}
	case <-time.After(60 * time.Second):
		t.Fatal("stat with no sigmad does not end")
	}
	n.Start()
	awaitScratch(t, n.Client("default").Names(), 1)
	for below, f := range open {
		eventually(t, 30*time.Second, "a write in "+below, func() (bool, string) {
			_, err := f.WriteAt([]byte("after!"), 6)
			if err == nil {
				err = f.Sync()
			}
			return err == nil, fmt.Sprint(err)
		})
		if b, err := os.ReadFile(filepath.Join(m.Dir, below, "open")); string(b) != "beforeafter!" {
			t.Errorf("in %q: %q, %v", below, b, err)
		}
	}
	m.End()
}

// A tenant mounts its realm from outside, through the gateway: what it may not, it
// may not there either, and another realm is not there.
func TestMountThroughTheGateway(t *testing.T) {
	n := StartNode(t, "--gateway", "127.0.0.1:0")
	shop := n.realm("shop")
	awaitScratch(t, shop.Names(), 1)
	if _, err := n.Client("default").Names().PutFile(minute(t), "/secret", []byte("of another realm")); err != nil {
		t.Fatal(err)
	}
	if err := shop.Names().Mkdir(minute(t), "/closed", 0o700); err != nil {
		t.Fatal(err)
	}
	token := filepath.Join(t.TempDir(), "token")
	if _, e, code := n.Ctl("realm", "token", "shop", "--user", "ann", "--file", token); code != 0 {
		t.Fatal(e)
	}
	m := n.Mount(t, "--context", token)
	if _, err := os.Stat(filepath.Join(m.Dir, "secret")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("another realm's file: %v", err)
	}
	for what, call := range map[string]func() error{
		"a file in somebody else's directory": func() error { return os.WriteFile(filepath.Join(m.Dir, "closed/f"), nil, 0o644) },
		"a directory of σOS's":                func() error { return os.Mkdir(filepath.Join(m.Dir, "s3/x"), 0o755) },
	} {
		if err := call(); err == nil {
			t.Errorf("%s is made", what)
		}
	}
	src := source(t, 30)
	for _, below := range []string{"", "ux/~local"} {
		shell(t, filepath.Join(m.Dir, below), "cp -r "+src+" copy && diff -r --no-dereference "+src+" copy && rm -r copy")
	}
	if err := os.WriteFile(filepath.Join(m.Dir, "mine"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	if i, err := shop.Names().Stat(minute(t), "/mine"); err != nil || i.Owner != "ann" {
		t.Errorf("the new file is %q's, %v; want ann's", i.Owner, err)
	}
	m.End()
}
