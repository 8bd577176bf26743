package slot

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/clock"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/lsm"
)

// TestMain lets the test binary be the process that serves programs.
func TestMain(m *testing.M) {
	if os.Args[0] == binfs.ProcessName {
		os.Exit(binfs.Main())
	}
	code := m.Run()
	if built.dir != "" {
		os.RemoveAll(built.dir)
	}
	os.Exit(code)
}

const testRealm = "realm-a"

// built has the program that the tests run as a proc, made once.
var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "slot-test"); built.err != nil {
			return
		}
		built.path = filepath.Join(built.dir, "testproc")
		cmd := exec.Command("go", "build", "-o", built.path, "sigmaos/apps/testproc")
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			built.err = fmt.Errorf("%w: %s", err, out)
		}
	})
	if built.err != nil {
		t.Fatal(built.err)
	}
	return built.path
}

// env is everything that slots stand on, real.
type env struct {
	t      *testing.T
	holder *binfs.Holder
	store  *binfs.Store
	logs   *logs.Store
	tree   *cgroup.Tree
	maker  *Maker
	digest string
	log    *slog.Logger
}

func newEnv(t *testing.T, layers lsm.Layers) *env {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	e := &env{t: t, log: slog.New(slog.DiscardHandler)}
	dir := t.TempDir()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	e.store, err = binfs.OpenStore(filepath.Join(dir, "bin"))
	must(err)
	for _, realm := range []string{testRealm, "realm-b"} {
		f, err := os.Open(program(t))
		must(err)
		d, err := e.store.Put(realm, f, "", 1<<30)
		f.Close()
		must(err)
		e.digest = string(d)
	}
	e.holder, err = binfs.Start(ctx, binfs.Config{StoreDir: e.store.Dir(), RunDir: filepath.Join(dir, "run"), Exe: "/proc/self/exe", Logger: e.log})
	must(err)
	t.Cleanup(func() { e.holder.Close() })
	layout, err := cgroup.Detect()
	must(err)
	root := fmt.Sprintf("sigma-slot%d", os.Getpid())
	e.tree, err = cgroup.Open(cgroup.Config{Layout: layout, Root: root, Node: "n", Logger: e.log})
	must(err)
	t.Cleanup(func() {
		if err := e.tree.Close(); err != nil {
			t.Error(err)
		}
	})
	e.logs, err = logs.Open(filepath.Join(dir, "logs"), logs.Limits{}, clock.Real(), e.log)
	must(err)
	t.Cleanup(e.logs.Close)
	e.maker, err = NewMaker(Config{Cgroups: e.tree, Layers: layers, UIDBase: 1_800_000_000, UIDCount: 64, Logs: e.logs, Logger: e.log})
	must(err)
	t.Cleanup(func() { e.maker.Close() })
	return e
}

func landlock() lsm.Layers { return lsm.Layers{LandlockABI: lsm.LandlockABI()} }

func (e *env) make(realm string) *Slot {
	e.t.Helper()
	s, err := e.maker.Make(e.holder, realm, cgroup.BE, ExecFD)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() {
		s.Close()
		select {
		case <-s.Gone():
		case <-time.After(10 * time.Second):
			e.t.Error("a slot does not go")
		}
	})
	return s
}

// spec is a run of testproc; the other end of its channel is closed with the
// test.
func (e *env) spec(args ...string) (spec Spec, id string) {
	e.t.Helper()
	p, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		e.t.Fatal(err)
	}
	e.t.Cleanup(func() { unix.Close(p[0]) })
	id = fmt.Sprint(p[1], time.Now().UnixNano())
	return Spec{Program: e.digest, Arg0: "/bin/testproc", Args: args, FDs: 64, Memory: 64 << 20, Threads: 64, Control: Donated(p[1]), Log: e.logs.Proc(testRealm, id)}, id
}

// start starts testproc and returns where its end will come.
func (e *env) start(s *Slot, args ...string) <-chan End {
	e.t.Helper()
	spec, _ := e.spec(args...)
	end := make(chan End, 1)
	if err := s.Start(spec, func(e End) { end <- e }); err != nil {
		e.t.Fatal(err)
	}
	return end
}

func (e *env) await(end <-chan End) End {
	e.t.Helper()
	select {
	case got := <-end:
		return got
	case <-time.After(20 * time.Second):
		e.t.Fatal("the proc does not end")
		return End{}
	}
}

// output runs testproc to its end and returns what it printed.
func (e *env) output(s *Slot, args ...string) (string, End) {
	e.t.Helper()
	spec, id := e.spec(args...)
	end := make(chan End, 1)
	if err := s.Start(spec, func(e End) { end <- e }); err != nil {
		e.t.Fatal(err)
	}
	got := e.await(end)
	b, err := e.logs.Tail(testRealm, id, 1<<20)
	if err != nil {
		e.t.Fatal(err)
	}
	return string(b), got
}

// running waits until the proc of a slot is past its exec.
func (e *env) running(s *Slot) {
	e.t.Helper()
	for end := time.Now().Add(10 * time.Second); time.Now().Before(end); time.Sleep(time.Millisecond) {
		if _, exec := s.Stamps(); exec != 0 {
			return
		}
	}
	e.t.Fatal("the proc does not start")
}
