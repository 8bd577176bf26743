package schedd

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

	"sigmaos/api"
	"sigmaos/internal/clock"
	"sigmaos/net/control"
	"sigmaos/net/talk"
	"sigmaos/roles/place"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/lsm"
	"sigmaos/runtime/slot"
	"sigmaos/sched/node"
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

var built struct {
	once sync.Once
	dir  string
	path string
	err  error
}

// program is testproc, built once.
func program(t *testing.T) string {
	t.Helper()
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "schedd-test"); built.err != nil {
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

// tenants is the table of realms in memory.
type tenants struct {
	mu  sync.Mutex
	all map[string]api.Realm
}

func (r *tenants) find(match func(api.Realm) bool) (api.Realm, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, v := range r.all {
		if match(v) {
			return v, nil
		}
	}
	return api.Realm{}, api.E(api.NotFound, "realm", "", "no such realm")
}

func (r *tenants) Get(name string) (api.Realm, error) {
	return r.find(func(v api.Realm) bool { return v.Name == name })
}

func (r *tenants) ByID(id string) (api.Realm, error) {
	return r.find(func(v api.Realm) bool { return v.ID == id })
}

func (r *tenants) List() (out []api.Realm) {
	r.find(func(v api.Realm) bool { out = append(out, v); return false })
	return out
}

func (r *tenants) Create(_ context.Context, v api.Realm) (api.Realm, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	v.ID = "id-" + v.Name
	r.all[v.ID] = v
	return v, nil
}

func (r *tenants) Remove(_ context.Context, name string) error {
	v, err := r.Get(name)
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.all, v.ID)
	return err
}

// noEndpoints is for procs that talk to nobody.
type noEndpoints struct{ control.Endpoints }

func (noEndpoints) ProcEnded(api.ProcID)           {}
func (noEndpoints) RemoveRealm(string)             {}
func (noEndpoints) List(string) []api.EndpointInfo { return nil }

const (
	machineCPU    = 2000
	machineMemory = 512 << 20
)

var (
	alice = api.Caller{Node: "n", Realm: "id-a", User: "alice", Operator: true}
	bob   = api.Caller{Node: "n", Realm: "id-b", User: "bob"}
)

// start is a schedd on real slots, with the program in both realms' /bin.
func start(t *testing.T, change func(*Config)) *Schedd {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root")
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	dir, log := t.TempDir(), slog.New(slog.DiscardHandler)
	store, err := binfs.OpenStore(filepath.Join(dir, "bin"))
	must(err)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	holder, err := binfs.Start(ctx, binfs.Config{StoreDir: store.Dir(), RunDir: filepath.Join(dir, "run"), Exe: "/proc/self/exe", Logger: log})
	must(err)
	t.Cleanup(func() { holder.Close() })
	layout, err := cgroup.Detect()
	must(err)
	tree, err := cgroup.Open(cgroup.Config{Layout: layout, Root: fmt.Sprintf("sigma-schedd%d", os.Getpid()), Node: "n", Logger: log})
	must(err)
	t.Cleanup(func() {
		if err := tree.Close(); err != nil {
			t.Error(err)
		}
	})
	out, err := logs.Open(filepath.Join(dir, "logs"), logs.Limits{}, clock.Real(), log)
	must(err)
	t.Cleanup(out.Close)
	maker, err := slot.NewMaker(slot.Config{Cgroups: tree, Layers: lsm.Layers{LandlockABI: lsm.LandlockABI()}, UIDBase: 1_700_000_000, UIDCount: 256, Logs: out, Logger: log})
	must(err)
	t.Cleanup(func() { maker.Close() })
	pool := slot.NewPool(slot.PoolConfig{Logger: log}, maker, func() (slot.Binfs, error) { return holder, nil })
	t.Cleanup(pool.Close)
	realms := &tenants{all: make(map[string]api.Realm)}
	for _, n := range []string{"a", "b"} {
		realms.Create(ctx, api.Realm{Name: n})
	}
	cfg := Config{
		Info: api.ClusterInfo{Node: "n"}, NodeNum: 1, Boot: 1, Pool: pool, Cgroups: tree, Logs: out, Store: store, Realms: realms, Endpoints: noEndpoints{},
		Place: place.Config{
			Self: talk.Peer{Number: 1, Boot: 1}, Table: node.New(machineCPU, machineMemory), Queued: 1000, Logger: log,
			Claim: func(context.Context) (uint64, error) { return 1, nil },
		},
		Sizes:  func() []Size { return []Size{{"n", machineCPU, machineMemory}} },
		Logger: log,
	}
	if change != nil {
		change(&cfg)
	}
	s, err := New(cfg)
	must(err)
	t.Cleanup(s.Close)
	s.Placer().SetMembers([]place.Member{{Number: 1, Boot: 1, Name: "n", Roles: []string{"node", "besched", "lcsched"}}})
	b, err := os.ReadFile(program(t))
	must(err)
	for _, realm := range []string{"id-a", "id-b"} {
		_, err = s.programs.put(realm, "testproc", b, 1)
		must(err)
	}
	return s
}

func (s *Schedd) spawn(t *testing.T, c api.Caller, d api.ProcDesc) api.ProcID {
	t.Helper()
	d.Program = "/bin/testproc"
	if d.Memory == 0 {
		d.Memory = 16 << 20
	}
	id, err := s.Spawn(c, &d)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func (s *Schedd) exit(t *testing.T, c api.Caller, id api.ProcID) api.Status {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	st, err := s.WaitExit(ctx, c, string(id))
	if err != nil {
		t.Fatal(err)
	}
	return st
}

// sleeping is a proc that said Started.
func (s *Schedd) sleeping(t *testing.T, c api.Caller, d api.ProcDesc) api.ProcID {
	t.Helper()
	d.Args = []string{"sleep"}
	id := s.spawn(t, c, d)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if st, err := s.WaitStart(ctx, c, string(id)); err != nil || st != nil {
		t.Fatalf("waitstart: %v %v", st, err)
	}
	return id
}
