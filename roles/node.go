package roles

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"sigmaos/internal/clock"
	"sigmaos/roles/schedd"
	"sigmaos/runtime/binfs"
	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/logs"
	"sigmaos/runtime/lsm"
	"sigmaos/runtime/oom"
	"sigmaos/runtime/realtime"
	"sigmaos/runtime/slot"
	"sigmaos/runtime/spread"
	"sigmaos/runtime/yield"
)

// maxQueued bounds the best-effort procs of a realm that wait on this node.
const maxQueued = 200_000

// startNode builds the machine-local parts bottom up: cgroups, programs and
// their mount, logs, slots, schedd.
func startNode(ctx context.Context, s *System) (_ func(context.Context) error, err error) {
	log := s.Log.With("role", "node")
	var undo undoStack
	defer func() {
		if err != nil {
			undo.run()
		}
	}()
	if os.Geteuid() != 0 {
		return nil, errors.New("sigmad needs root to make namespaces, cgroups and mounts; start it as root (sigmactl doctor shows what else is missing)")
	}
	layers, err := lsm.Setup()
	if err != nil {
		return nil, err
	}
	if layers.Note != "" {
		log.Warn("procs are held by Landlock, without AppArmor", "why", layers.Note)
	}
	if layers.None() && s.Config.Insecure {
		log.Warn("procs are held by namespaces and seccomp alone: --insecure, and this kernel has neither Landlock nor AppArmor")
	}
	if layers.None() && !s.Config.Insecure {
		return nil, errors.New("this kernel has neither Landlock (Linux 5.13, lsm=…,landlock) nor AppArmor; procs would be held by namespaces and seccomp alone: boot with one of them, or accept that with --insecure")
	}
	order, err := oom.Protect()
	if err != nil {
		return nil, err
	}
	if slot.Unsafe {
		log.Error("THIS BUILD LEAVES LAYERS OF ISOLATION OUT: it is for one test, and no proc of anybody else's may run on it", "without", os.Getenv("SIGMA_WITHOUT"))
	}
	layout, err := cgroup.Detect()
	if err != nil {
		return nil, err
	}
	if err := cgroup.Clean(layout, s.Config.CgroupRoot, s.cgroupName()); err != nil {
		return nil, err
	}
	tree, err := cgroup.Open(cgroup.Config{Layout: layout, Root: s.Config.CgroupRoot, Node: s.cgroupName(), Pids: cgroup.PidMax() / 2, Logger: log})
	if err != nil {
		return nil, err
	}
	undo.add(func() error { return tree.Close() })
	if err := tree.JoinSys(os.Getpid()); err != nil {
		return nil, err
	}
	store, err := binfs.OpenStore(filepath.Join(s.Config.DataDir, "bin"))
	if err != nil {
		return nil, err
	}
	s.store.Store(store)
	away := newElsewhere(s)
	undo.add(away.stores.ways.close)
	undo.add(away.stores.close)
	s.stores.Store(away.stores)
	m, err := startMount(ctx, s, away.chain)
	if err != nil {
		return nil, err
	}
	undo.add(m.close)
	out, err := logs.Open(filepath.Join(s.Config.DataDir, "logs"), logs.Limits{RealmBytes: s.Config.LogBytes, Rate: s.Config.LogRate}, clock.Real(), log)
	if err != nil {
		return nil, err
	}
	undo.add(func() error { out.Close(); return nil })
	maker, err := slot.NewMaker(slot.Config{
		Cgroups: tree, Layers: layers, OOM: order, UIDBase: uint32(s.Config.UIDBase), UIDCount: uint32(s.Config.UIDCount),
		Logs: out, Logger: log,
	})
	if err != nil {
		return nil, err
	}
	undo.add(maker.Close)
	most := min(s.Config.MaxProcs, slot.MaxSlots())
	if most < s.Config.MaxProcs {
		log.Warn("the hard limit of open files allows fewer σcontainers than max-procs", "allowed", most, "max-procs", s.Config.MaxProcs)
	}
	pool := slot.NewPool(slot.PoolConfig{Warm: s.Config.SlotsWarm, Max: most, Logger: log}, maker, m.current)
	undo.add(func() error { pool.Close(); return nil })
	m.lost(pool.Rebuild)
	even, err := spread.Start(tree, log)
	if err != nil {
		return nil, err
	}
	undo.add(func() error { even.Close(); return nil })
	prompt := realtime.Start(tree, slot.Slice, log)
	undo.add(func() error { prompt.Close(); return nil })
	if tree.Apart() {
		giving := yield.Start(tree, log)
		undo.add(func() error { giving.Close(); return nil })
	}

	s.Info.PID, s.Info.Number = os.Getpid(), s.nodeNum
	s.Info.Layers, s.Info.Cgroup = layers.Names(), layout.Version.String()
	s.startTalk(&undo)
	d, err := schedd.New(schedd.Config{
		Info: s.Info, NodeNum: s.nodeNum, Boot: s.boot, Pool: pool, Cgroups: tree, Logs: out, Store: store, Realms: s.Realms,
		Place: s.placement(tree), Others: s.scheddOthers(), Shares: s.scheddShares(&undo), Sizes: s.sizes, Logger: log,
		Event: s.event, Endpoints: s.Proxy, Methods: s.methods(), DropNames: s.dropNames, ListEndpoints: s.listEndpoints,
		FindProgram: away.find, Favour: away.favour, PathProgram: (&published{s: s, stores: away.stores, chain: away.chain}).program, ColdStart: m.cold, ColdStarts: m.allCold,
	})
	if err != nil {
		return nil, err
	}
	s.Schedd = d
	s.running.Store(d)
	undo.add(func() error { d.Close(); return nil })
	s.followMembers(&undo)
	s.followShares(&undo)
	return func(context.Context) error { return undo.run() }, nil
}

// cgroupName is unique among the instances of a machine.
func (s *System) cgroupName() string { return s.Config.Name }

type undoStack []func() error

func (u *undoStack) add(fn func() error) { *u = append(*u, fn) }

func (u *undoStack) run() error {
	var errs []error
	for i := len(*u) - 1; i >= 0; i-- {
		errs = append(errs, (*u)[i]())
	}
	*u = nil
	return errors.Join(errs...)
}
