package cgroup

import (
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestMain lets the test binary be the processes that the tests put in groups.
func TestMain(m *testing.M) {
	switch role := os.Getenv("CGROUP_TEST_CHILD"); role {
	case "":
		os.Exit(m.Run())
	case "sleep":
		signal.Ignore() // only SIGKILL ends it
	case "eat", "hold": // waits to be placed, then uses 256 MiB of memory, and holds it
		os.Stdin.Read(make([]byte, 1))
		var keep [][]byte
		for range 64 {
			b := make([]byte, 4<<20)
			for i := range b {
				b[i] = byte(i)
			}
			keep = append(keep, b)
		}
		if role == "hold" {
			time.Sleep(time.Minute)
		}
		fmt.Println("ate", len(keep))
		runtime.KeepAlive(keep)
		os.Exit(0)
	case "spin":
		//lint:ignore SA5002 to use all of a core until it is killed
		for {
		}
	case "fork": // waits to be placed, then starts a process
		os.Stdin.Read(make([]byte, 1))
		if err := exec.Command("/proc/self/exe").Start(); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	time.Sleep(time.Minute)
}

// child starts the test binary in a role; the test's end kills it.
func child(t *testing.T, role string) (cmd *exec.Cmd, proceed func() string) {
	t.Helper()
	cmd = exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), "CGROUP_TEST_CHILD="+role, "GOMAXPROCS=1")
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait := sync.OnceFunc(func() { cmd.Wait() })
	t.Cleanup(func() {
		cmd.Process.Kill()
		wait()
	})
	return cmd, func() string {
		stdin.Write([]byte("x"))
		wait()
		return out.String()
	}
}

func sleeper(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd, _ := child(t, "sleep")
	return cmd
}

// machine is this machine's layout and a root of the test's own in it, which must
// be gone at the end.
func machine(t *testing.T) (Layout, string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	l, err := Detect()
	if err != nil {
		t.Skip(err)
	}
	root := fmt.Sprintf("sigma-cg%d", os.Getpid())
	t.Cleanup(func() {
		for _, d := range l.bases() {
			for _, dir := range []string{l.group(d, root, ""), l.group(d, root, "") + beside} {
				if exists(dir) {
					t.Errorf("%s is left", dir)
					killTree(dir, nil)
					l.rmTree(dir)
				}
			}
		}
	})
	return l, root
}

// deep is the machine's layout, with latency-critical slots as deep as their paths: as
// where cpuacct is mounted with cpu. CPU times cannot be read in it.
func deep(t *testing.T) (Layout, string) {
	t.Helper()
	l, root := machine(t)
	if cpu, ok := l.Dirs["cpu"]; ok {
		l.Dirs["cpuacct"] = cpu
	}
	return l, root
}

func open(t *testing.T, l Layout, root, node string) *Tree {
	t.Helper()
	tree, err := Open(Config{Layout: l, Root: root, Node: node, Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	return tree
}

func group(t *testing.T, tree *Tree, class Class, realm, slot string) *Group {
	t.Helper()
	g, err := tree.NewGroup(class, realm, slot)
	if err != nil {
		t.Fatal(err)
	}
	return g
}

// value reads a file of a group.
func value(t *testing.T, tree *Tree, path, controller, v1, v2 string) string {
	t.Helper()
	dir, is2 := tree.dir(controller, path)
	if is2 {
		v1 = v2
	}
	s, err := read(dir, v1)
	if err != nil {
		t.Fatal(err)
	}
	return s
}
