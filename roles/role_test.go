package roles

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"go.uber.org/goleak"

	"sigmaos/api"
	"sigmaos/internal/leaktest"
	"sigmaos/roles/config"
	"sigmaos/runtime/binfs"
	"sigmaos/sigma/admin"
)

// TestMain lets the test binary be the process that serves programs.
func TestMain(m *testing.M) {
	if os.Args[0] == binfs.ProcessName {
		os.Exit(binfs.Main())
	}
	os.Exit(m.Run())
}

func names(list []Role) string {
	var out []string
	for _, r := range list {
		out = append(out, r.Name)
	}
	return strings.Join(out, " ")
}

func TestOrderIsAfterNeeds(t *testing.T) {
	table := []Role{{Name: "roof", Needs: []string{"walls"}}, {Name: "walls", Needs: []string{"floor"}}, {Name: "floor"}, {Name: "door", Needs: []string{"walls", "floor"}}}
	for want, ask := range map[string][]string{
		"floor walls roof": {"roof"}, "floor": {"floor"}, "floor walls roof door": {"roof", "door"}, "floor walls door roof": {"door", "roof", "door"}, "": nil,
	} {
		if got, err := order(table, ask); err != nil || names(got) != want {
			t.Errorf("order %q = %q %v, want %q", ask, names(got), err, want)
		}
	}
	for what, tt := range map[string]struct {
		table []Role
		ask   string
		want  string
	}{
		"unknown":         {table, "cellar", `"cellar" does not exist; there are roof, walls, floor, door`},
		"unknown need":    {[]Role{{Name: "a", Needs: []string{"b"}}}, "a", `"b" does not exist`},
		"each other":      {[]Role{{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"a"}}}, "a", "need each other"},
		"itself":          {[]Role{{Name: "a", Needs: []string{"a"}}}, "a", "need each other"},
		"a longer circle": {[]Role{{Name: "a", Needs: []string{"b"}}, {Name: "b", Needs: []string{"c"}}, {Name: "c", Needs: []string{"a"}}}, "a", "need each other"},
	} {
		if _, err := order(tt.table, []string{tt.ask}); err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want a text with %q", what, err, tt.want)
		}
	}
}

// The table itself: every role can be had, and has a word about it.
func TestTableIsWhole(t *testing.T) {
	for _, r := range Table {
		if _, err := order(Table, []string{r.Name}); err != nil || r.Doc == "" || r.Start == nil {
			t.Errorf("%s: %v, doc %q", r.Name, err, r.Doc)
		}
	}
	if err := Check([]string{"node", "named"}); err != nil {
		t.Error(err)
	}
	if err := Check([]string{"nodes"}); err == nil {
		t.Error("a role that is none passes")
	}
}

// node is a whole node's configuration in directories of the test.
func testConfig(t *testing.T, name string, args ...string) config.Config {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	dir, err := os.MkdirTemp("", "sigma-roles")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	flags := pflag.NewFlagSet("sigmad", pflag.ContinueOnError)
	load := config.Bind(flags, config.Dev())
	all := append([]string{"--name", name, "--data-dir", filepath.Join(dir, "data"), "--run-dir", filepath.Join(dir, "run"), "--cgroup-root", "sigma-" + name}, args...)
	if err := flags.Parse(all); err != nil {
		t.Fatal(err)
	}
	cfg, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func descriptors(t *testing.T) map[string]string {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]string)
	for _, e := range list {
		to, err := os.Readlink("/proc/self/fd/" + e.Name())
		if err == nil && !strings.HasPrefix(to, "anon_inode") && to != "/proc/self/fd" && !strings.Contains(to, "/fd") {
			out[e.Name()] = to
		}
	}
	return out
}

// Two nodes live in one process, each with its own realms, and when they have
// stopped no goroutine and no descriptor of theirs is left.
func TestTwoNodesInOneProcess(t *testing.T) {
	log := slog.New(slog.DiscardHandler)
	one := func(name string) *System {
		t.Helper()
		s, err := Start(context.Background(), testConfig(t, name), "test", log)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	pid := os.Getpid()
	// Once, for what libraries keep for ever.
	if err := one(fmt.Sprintf("r%d-0", pid)).Stop(); err != nil {
		t.Fatal(err)
	}
	before, ignore := descriptors(t), goleak.IgnoreCurrent()
	a, b := one(fmt.Sprintf("r%d-1", pid)), one(fmt.Sprintf("r%d-2", pid))
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	client := func(s *System, realm string) *admin.Client {
		t.Helper()
		c, err := admin.Connect(ctx, admin.Options{Context: filepath.Join(s.Config.RunDir, "sock"), Realm: realm})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ca, cb := client(a, "default"), client(b, "default")
	if _, err := ca.CreateRealm(ctx, api.Realm{Name: "only-a"}); err != nil {
		t.Fatal(err)
	}
	var list []api.Realm
	if err := cb.Call(ctx, api.MRealmList, nil, &list); err != nil || len(list) != 1 {
		t.Errorf("the other node has the realms %+v %v", list, err)
	}
	ca.Close()
	cb.Close()
	for _, s := range []*System{a, b} {
		if err := s.Stop(); err != nil {
			t.Errorf("stopping %s: %v", s.Config.Name, err)
		}
		if _, err := os.Stat(s.Config.RunDir); err == nil {
			t.Errorf("%s is left", s.Config.RunDir)
		}
	}
	if err := leaktest.Find(ignore, goleak.IgnoreTopFunction("os/signal.signal_recv")); err != nil {
		t.Error(err)
	}
	for fd, to := range descriptors(t) {
		if before[fd] != to {
			t.Errorf("descriptor %s is %s", fd, to)
		}
	}
}

// A role that cannot start takes those before it back, and what is said names
// it.
func TestFailedStartTakesEverythingBack(t *testing.T) {
	lis, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer lis.Close()
	cfg := testConfig(t, fmt.Sprintf("r%d-3", os.Getpid()), "--metrics", lis.Addr().String())
	s, err := Start(context.Background(), cfg, "test", slog.New(slog.DiscardHandler))
	if err == nil {
		s.Stop()
		t.Fatal("it started on a port that is taken")
	}
	for _, want := range []string{"role metrics", lis.Addr().String(), "--metrics"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
	if _, err := os.Stat(cfg.RunDir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", cfg.RunDir, err)
	}
	// And the same directories serve at once.
	cfg.Metrics = "127.0.0.1:0"
	s, err = Start(context.Background(), cfg, "test", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(); err != nil {
		t.Error(err)
	}
}
