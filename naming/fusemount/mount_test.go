package fusemount_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/naming/fusemount"
	"sigmaos/naming/fusemount/posixtest"
	"sigmaos/naming/tree"
	"sigmaos/naming/ux"
	"sigmaos/naming/view/viewtest"
)

// The mounts of these tests are served by a process of their own, as a program
// must not touch the mount that it serves: this test binary again.

const serveVar = "FUSEMOUNT_TEST_SERVE"

// TestServeProcess is that process: the directories to mount on are arguments;
// each line of its input is an order.
func TestServeProcess(t *testing.T) {
	points := strings.Fields(os.Getenv(serveVar))
	if len(points) == 0 {
		t.Skip("only for the other tests")
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	r := viewtest.New(t, nil)
	u, err := ux.Open(ux.Config{Dir: points[0], Node: "n1", KeepFree: -1})
	if err != nil {
		t.Fatal(err)
	}
	defer u.Close()
	r.Add("ux", u.FS())
	r.Add("mem", nil)
	r.Add("silent", nil).Mute()
	furnish(t, r)
	ended := make(chan error, len(points))
	for _, p := range points[1:] {
		go func() {
			ended <- fusemount.Run(ctx, fusemount.Options{
				Dir: p, Source: r.As(r.Caller), Name: "test", Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
				Ready: func(_ string, cleaned bool) { fmt.Printf("ready %v\n", cleaned) },
				Busy:  func(string) { fmt.Println("busy") },
			})
		}()
	}
	go obey(r)
	for range points[1:] {
		if err := <-ended; err != nil {
			fmt.Printf("error %v\n", err)
		}
	}
	fmt.Println("over")
}

func furnish(t *testing.T, r *viewtest.Realm) {
	root, err := r.Root(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	make := func(n tree.NewFile, names ...string) {
		f, _, err := root.Create(t.Context(), n, names...)
		if err != nil {
			t.Fatalf("%q: %v", names, err)
		}
		f.Forget()
	}
	make(tree.NewFile{Mode: tree.ModeDir | 0o777}, "svc")
	make(tree.NewFile{Mode: tree.ModeDir | 0o777}, "home")
	for _, name := range []string{"ux", "mem", "silent"} {
		make(tree.NewFile{Mode: tree.ModeEndpoint | 0o666, Target: name}, "svc", name)
	}
	make(tree.NewFile{Mode: tree.ModeSymlink | 0o777, Target: "/svc/mem"}, "abs")
}

// obey does what the test says: VERB TREE.
func obey(r *viewtest.Realm) {
	in := bufio.NewScanner(os.Stdin)
	for in.Scan() {
		verb, name, _ := strings.Cut(in.Text(), " ")
		t := r.Tree(name)
		switch verb {
		case "kill":
			t.Kill()
		case "revive":
			t.Revive()
		case "cut":
			t.Cut()
		}
		fmt.Println("done")
	}
}

// server is a running TestServeProcess.
type server struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Scanner
	dir []string // mount points
}

func needFUSE(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root, to mount")
	}
	if f, err := os.OpenFile("/dev/fuse", os.O_RDWR, 0); err != nil {
		t.Skipf("no FUSE: %v", err)
	} else {
		f.Close()
	}
}

// start serves one realm on mounts at n new directories.
func start(t *testing.T, n int) *server {
	t.Helper()
	needFUSE(t)
	var dirs []string
	for range n {
		dirs = append(dirs, t.TempDir())
	}
	return startAt(t, dirs...)
}

func startAt(t *testing.T, dirs ...string) *server {
	t.Helper()
	s := &server{t: t, dir: dirs}
	s.cmd = exec.Command(os.Args[0], "-test.run=^TestServeProcess$", "-test.v=false")
	s.cmd.Env = append(os.Environ(), serveVar+"="+strings.Join(append([]string{scratch(t)}, dirs...), " "))
	s.cmd.Stderr = os.Stderr
	s.in, _ = s.cmd.StdinPipe()
	out, _ := s.cmd.StdoutPipe()
	s.out = bufio.NewScanner(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		s.cmd.Process.Kill()
		s.cmd.Wait()
		for _, d := range dirs {
			unix.Unmount(d, unix.MNT_DETACH)
		}
	})
	for range dirs {
		if l := s.line(); !strings.HasPrefix(l, "ready") {
			t.Fatalf("the server says %q", l)
		}
	}
	return s
}

// scratch is a directory for the scratch space: in memory where that keeps
// extended attributes, as a busy disk takes its time to sync.
func scratch(t *testing.T) string {
	dir, err := os.MkdirTemp("/dev/shm", "fusemount")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if unix.Setxattr(dir, "user.sigma", []byte("x"), 0) != nil {
		return t.TempDir()
	}
	return dir
}

func (s *server) line() string {
	s.t.Helper()
	c := make(chan string, 1)
	go func() {
		if !s.out.Scan() {
			c <- "its end"
			return
		}
		c <- s.out.Text()
	}()
	select {
	case l := <-c:
		return l
	case <-time.After(30 * time.Second):
		s.dump()
		s.t.Fatal("the server says nothing")
		return ""
	}
}

// dump shows where a server hangs, in the kernel and in Go.
func (s *server) dump() {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", s.cmd.Process.Pid))
	for _, task := range tasks {
		where, _ := os.ReadFile(task + "/wchan")
		stack, _ := os.ReadFile(task + "/stack")
		s.t.Logf("%s: %s\n%s", task, where, stack)
	}
	s.cmd.Process.Signal(syscall.SIGQUIT)
	time.Sleep(time.Second)
}

func (s *server) order(format string, args ...any) {
	s.t.Helper()
	fmt.Fprintf(s.in, format+"\n", args...)
	if l := s.line(); l != "done" {
		s.t.Fatalf("the server says %q", l)
	}
}

// end asks the server to end and waits; it says what came.
func (s *server) end() string {
	s.t.Helper()
	s.cmd.Process.Signal(syscall.SIGTERM)
	var said []string
	for {
		l := s.line()
		said = append(said, l)
		if l == "over" || l == "its end" {
			break
		}
	}
	s.cmd.Wait()
	for _, d := range s.dir {
		if b, _ := os.ReadFile("/proc/self/mountinfo"); strings.Contains(string(b), " "+d+" ") {
			s.t.Errorf("%s is still mounted", d)
		}
	}
	return strings.Join(said, " ")
}

func TestPOSIX(t *testing.T) {
	s := start(t, 2)
	for _, c := range []struct{ name, below string }{{"the realm's root", "home"}, {"behind a link", "svc/mem"}, {"scratch", "svc/ux"}} {
		t.Run(c.name, func(t *testing.T) {
			posixtest.Run(t, posixtest.Config{
				Dir: filepath.Join(s.dir[0], c.below), Other: filepath.Join(s.dir[1], c.below), Big: 32 << 20,
			})
		})
	}
	if said := s.end(); said != "over" {
		t.Errorf("at its end the server says %q", said)
	}
}

// What is behind links looks as it should, and a dead server is an error within
// a bound.
func TestLinks(t *testing.T) {
	s := start(t, 1)
	m := s.dir[0]
	for name, want := range map[string]os.FileMode{"mem": os.ModeDir, "ux": os.ModeDir, "silent": os.ModeSocket} {
		if st, err := os.Lstat(filepath.Join(m, "svc", name)); err != nil || st.Mode().Type() != want {
			t.Errorf("%s is %v (%v), want %v", name, st, err, want)
		}
	}
	if to, err := os.Readlink(filepath.Join(m, "abs")); err != nil || to != filepath.Join(m, "svc/mem") {
		t.Errorf("an absolute link of the realm leads to %q (%v)", to, err)
	}
	if err := os.WriteFile(filepath.Join(m, "abs/f"), []byte("x"), 0o644); err != nil {
		t.Error(err)
	}
	if err := os.Symlink("/svc/mem/f", filepath.Join(m, "home/raw")); err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(m, "home/raw")); string(b) != "x" {
		t.Errorf("a link that was made with a path of the realm: %q, %v", b, err)
	}
	if err := os.Remove(filepath.Join(m, "svc/mem")); !errors.Is(err, unix.EBUSY) {
		t.Errorf("rmdir of the way to a server: %v, want EBUSY", err)
	}
	if err := os.Rename(filepath.Join(m, "abs/f"), filepath.Join(m, "home/f")); !errors.Is(err, unix.EXDEV) {
		t.Errorf("rename to another server: %v, want EXDEV", err)
	}
	os.WriteFile(filepath.Join(m, "svc/mem/g"), []byte("not in the page cache"), 0o644)
	open, err := os.OpenFile(filepath.Join(m, "svc/mem/g"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	s.order("kill mem")
	begin := time.Now()
	for _, c := range []struct {
		what string
		call func() error
	}{
		{"stat", func() error { _, err := os.Stat(filepath.Join(m, "svc/mem/new")); return err }},
		{"ls", func() error { _, err := os.ReadDir(filepath.Join(m, "svc/mem")); return err }},
		{"read", func() error { _, err := open.ReadAt(make([]byte, 10), 0); return err }},
		{"fsync", func() error { open.WriteAt([]byte("y"), 0); return open.Sync() }},
	} {
		if err := c.call(); !errors.Is(err, unix.EHOSTDOWN) {
			t.Errorf("%s with the server dead: %v, want EHOSTDOWN", c.what, err)
		}
	}
	if d := time.Since(begin); d > time.Minute {
		t.Errorf("that took %v", d)
	}
	if _, err := os.ReadDir(filepath.Join(m, "svc")); err != nil {
		t.Errorf("the directory of the link: %v", err)
	}
	s.order("revive mem")
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if _, err = os.ReadDir(filepath.Join(m, "svc/mem")); err == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the server lives again, and the mount says %v", err)
		}
	}
}

// When the connection with the realm is lost, programs do not notice.
func TestLostConnection(t *testing.T) {
	s := start(t, 1)
	dir := filepath.Join(s.dir[0], "home")
	f, err := os.Create(filepath.Join(dir, "f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for i := range 10 {
		s.order("cut ")
		if _, err := f.WriteAt([]byte{byte('0' + i)}, int64(i)); err != nil {
			t.Fatalf("write %d: %v", i, err)
		}
		if i%2 == 0 {
			s.order("cut ")
			if err := f.Sync(); err != nil {
				t.Fatalf("fsync %d: %v", i, err)
			}
		}
		if _, err := os.Stat(dir); err != nil {
			t.Fatalf("stat %d: %v", i, err)
		}
	}
	if b, err := os.ReadFile(filepath.Join(dir, "f")); string(b) != "0123456789" {
		t.Errorf("the file has %q (%v)", b, err)
	}
}

// Programs that still use the mount when it ends are cut off; what they wrote is
// not lost.
func TestEndWhileBusy(t *testing.T) {
	s := start(t, 1)
	f, err := os.Create(filepath.Join(s.dir[0], "home/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.WriteString("x"); err != nil {
		t.Fatal(err)
	}
	if said := s.end(); said != "busy over" {
		t.Errorf("at its end the server says %q", said)
	}
	if _, err := f.WriteString("y"); !errors.Is(err, unix.ENOTCONN) && !errors.Is(err, unix.ECONNABORTED) {
		t.Errorf("a write after the end: %v, want ENOTCONN", err)
	}
}

// After kill -9 the next mount takes the dead one away.
func TestDeadMount(t *testing.T) {
	s := start(t, 1)
	m := s.dir[0]
	if err := os.WriteFile(filepath.Join(m, "home/f"), []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
	err := fusemount.Run(t.Context(), fusemount.Options{Dir: m, Log: slog.New(slog.DiscardHandler)})
	if err == nil || !strings.Contains(err.Error(), "umount") {
		t.Errorf("a second mount in the same place: %v; want what to do", err)
	}
	s.cmd.Process.Kill()
	s.cmd.Wait()
	if _, err := os.ReadDir(m); !errors.Is(err, unix.ENOTCONN) {
		t.Errorf("the mount point after kill -9: %v, want ENOTCONN", err)
	}
	s = startAt(t, m)
	if _, err := os.Stat(filepath.Join(m, "home")); err != nil {
		t.Error(err)
	}
	if said := s.end(); said != "over" {
		t.Errorf("at its end the server says %q", said)
	}
}

func TestUnmountFromOutside(t *testing.T) {
	s := start(t, 1)
	if err := unix.Unmount(s.dir[0], 0); err != nil {
		t.Fatal(err)
	}
	if l := s.line(); l != "over" {
		t.Errorf("after umount the server says %q", l)
	}
}

// Whoever makes a mount namespace has a copy of the mount from then on, and does
// not know: the mount ends all the same, by whatever ended it.
func TestCopiesInOtherNamespaces(t *testing.T) {
	for name, end := range map[string]func(*server) string{
		"interrupted": (*server).end,
		"unmounted": func(s *server) string {
			if err := unix.Unmount(s.dir[0], 0); err != nil {
				s.t.Fatal(err)
			}
			return s.line()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, 1)
			path := filepath.Join(s.dir[0], "home/f")
			other := exec.Command("/bin/sh", "-c", "cat; cat "+path)
			other.SysProcAttr = &syscall.SysProcAttr{Unshareflags: unix.CLONE_NEWNS}
			in, _ := other.StdinPipe()
			out := &strings.Builder{}
			other.Stdout, other.Stderr = out, out
			if err := other.Start(); err != nil {
				t.Fatal(err)
			}
			defer other.Wait()
			defer other.Process.Kill()
			f, err := os.Create(path)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := f.WriteString("x"); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}
			if said := end(s); said != "over" {
				t.Errorf("at its end the server says %q", said)
			}
			in.Close()
			if other.Wait(); !strings.Contains(out.String(), "not connected") {
				t.Errorf("the copy gives %q", out)
			}
		})
	}
}

// Programs go on with what they have open on a mount that was taken from its place.
func TestLazyUnmount(t *testing.T) {
	s := start(t, 1)
	f, err := os.Create(filepath.Join(s.dir[0], "home/f"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := unix.Unmount(s.dir[0], unix.MNT_DETACH); err != nil {
		t.Fatal(err)
	}
	for range 30 { // longer than a glance
		if _, err := f.WriteString("x"); err != nil {
			t.Fatalf("write: %v", err)
		}
		time.Sleep(100 * time.Millisecond)
	}
	if err := f.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if l := s.line(); l != "over" {
		t.Errorf("when nothing is open any more the server says %q", l)
	}
}

func TestMountErrors(t *testing.T) {
	needFUSE(t)
	file := filepath.Join(t.TempDir(), "f")
	os.WriteFile(file, nil, 0o644)
	for name, c := range map[string]struct{ dir, want string }{
		"none": {file + "none", "mkdir"}, "a file": {file, "no directory"}, "below a file": {file + "/x", "directory"},
	} {
		err := fusemount.Run(t.Context(), fusemount.Options{Dir: c.dir, Log: slog.New(slog.DiscardHandler)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v; want that it says %q", name, err, c.want)
		}
	}
}
