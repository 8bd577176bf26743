package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"sigmaos/internal/cleanup"
)

// Class is the branch a slot belongs to.
type Class int

const (
	BE Class = iota // best-effort
	LC              // latency-critical
)

func (c Class) branch() string {
	if c == LC {
		return "lc"
	}
	return "be"
}

// Config of a node's tree.
type Config struct {
	Layout Layout
	Root   string // "sigma" (the default) or "sigma-…", below the layout's directories
	Node   string // unique among the nodes of a machine
	// Pids bounds the threads of all the node's procs, PID 1s included: a quarter
	// of it is for LC. A realm may have three quarters of its class's, so that one
	// leaves some to the others. 0 is no bound.
	Pids   int
	Logger *slog.Logger
}

// Tree is one node's part of the machine's groups.
type Tree struct {
	l    Layout
	root string
	node string
	pids int
	log  *slog.Logger
	lock *os.File // on the sys group; Close ends it

	beMu  sync.Mutex // not mu: lowering a limit takes as long as dropping the pages
	beMem int64

	mu     sync.Mutex               // orders making and removing groups, and what follows
	mcpu   map[string]int           // reserved below each LC group, by path
	spent  map[string]time.Duration // CPU of realm groups removed so far, by path
	closed bool
}

// Open makes the branches and the node's groups in them. It fails if the node
// lives already; what a dead one left is taken over, so Clean first.
func Open(cfg Config) (_ *Tree, err error) {
	root, err := rootName(cfg.Root)
	if err != nil {
		return nil, err
	}
	if err := checkName("node", cfg.Node); err != nil {
		return nil, err
	}
	t := &Tree{
		l: cfg.Layout, root: root, node: cfg.Node, pids: cfg.Pids, log: cfg.Logger,
		mcpu: make(map[string]int), spent: make(map[string]time.Duration), beMem: Unlimited,
	}
	if t.log == nil {
		t.log = slog.New(slog.DiscardHandler)
	}
	if t.lock, err = t.claim(); err != nil {
		return nil, err
	}
	undo := cleanup.Make(func() { t.Close() })
	defer undo.Clean()
	if err := t.vacate(); err != nil {
		return nil, err
	}
	for _, b := range branches {
		if err := t.make(t.top(b)); err != nil {
			return nil, err
		}
	}
	for _, c := range []Class{BE, LC} {
		if err := t.setPids(t.top(c.branch()), t.share(c)); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.setIdle(), t.setRoot(), t.setYield(), t.raiseSys()); err != nil {
		return nil, err
	}
	// A new group weighs as much as 1000 mCPU, which nobody has reserved yet.
	if err := t.setWeight(t.top("lc"), 0); err != nil {
		return nil, err
	}
	if err := t.l.balance(t.root); err != nil {
		return nil, err
	}
	undo.Release()
	return t, nil
}

// top is the path of the node's group in a branch.
func (t *Tree) top(branch string) string { return branch + "/" + t.node }

// dirs are the directories of a group, one per hierarchy that it is in.
func (t *Tree) dirs(path string) (out []string) {
	for _, base := range t.l.bases() {
		if dir := t.l.group(base, t.root, path); dir != "" {
			out = append(out, dir)
		}
	}
	return out
}

// dir is the directory that has a group's files of one controller, "" where the group
// is not in its hierarchy, and whether they are those of v2.
func (t *Tree) dir(controller, path string) (string, bool) {
	d, v2 := t.l.at(controller)
	return t.l.group(d, t.root, path), v2
}

// claim makes the node's sys group and locks it for as long as the node lives.
// The group holds processes, so it needs no controllers enabled.
func (t *Tree) claim() (*os.File, error) {
	for try := 0; ; try++ {
		var err error
		for _, base := range t.l.bases() {
			if err = t.mkdirs(base, t.top("sys")); err != nil {
				break
			}
		}
		var f *os.File
		if err == nil {
			f, err = t.l.lockNode(t.root, t.node)
		}
		if errors.Is(err, errAlive) && try < probes {
			time.Sleep(10 * time.Millisecond)
			continue
		}
		if err == nil || !vanished(err) || try == attempts {
			return f, err
		}
	}
}

// probes are how often the lock may be taken: whoever asks whether the node is Alive
// has it for a moment.
const probes = 5

// attempts to make a group while other nodes remove what is above it. They do
// that once, when they leave; a few in a row are bad luck, so many are not.
const attempts = 100

// Vanished reports whether an error says that a group is not there any more.
func Vanished(err error) bool { return vanished(err) }

// vanished reports whether a group went away under us.
func vanished(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV)
}

// make makes a group and those above it, with controllers enabled.
func (t *Tree) make(path string) error {
	for try := 0; ; try++ {
		var err error
		for _, base := range t.l.bases() {
			if err = t.mkdirs(base, path); err != nil {
				break
			}
		}
		// Once the group is there, nobody can remove those above it.
		if err == nil {
			err = t.enable(path)
		}
		if err == nil || !vanished(err) || try == attempts {
			return err
		}
	}
}

func (t *Tree) mkdirs(base, path string) error {
	dir := base
	for _, next := range t.l.steps(base, t.root, path) {
		dir = filepath.Join(dir, next)
		if err := t.l.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("cgroup: making %s: %w", dir, err)
		}
	}
	return nil
}

// enable gives the controllers of v2 to every group on the way to path.
func (t *Tree) enable(path string) error {
	list := t.l.v2Controllers()
	if len(list) == 0 {
		return nil
	}
	base := t.l.Dirs[""]
	dir := base
	for _, next := range t.l.steps(base, t.root, path) {
		if err := write(dir, "cgroup.subtree_control", "+"+strings.Join(list, " +")); err != nil {
			return err
		}
		dir = filepath.Join(dir, next)
	}
	return nil
}

// vacate moves sigmad's own processes out of the v2 group to build in, since no
// controllers can be enabled below a group that holds processes.
func (t *Tree) vacate() error {
	base, ok := t.l.Dirs[""]
	if !ok || base != t.l.own[""] {
		return nil
	}
	if _, err := os.Stat(filepath.Join(base, "cgroup.type")); err != nil {
		return nil // the machine's root, which may hold processes
	}
	for range attempts { // they may fork meanwhile
		pids, err := procs(base)
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := t.JoinSys(pid); err != nil && !errors.Is(err, syscall.ESRCH) {
				return err
			}
		}
	}
	return fmt.Errorf("cgroup: processes keep appearing in %s", base)
}

// JoinSys moves sigmad or a helper into the node's sys group. Close moves
// whatever is there back to where sigmad came from.
func (t *Tree) JoinSys(pid int) error { return t.add(t.top("sys"), pid) }

// add moves a process into a group of every hierarchy.
func (t *Tree) add(path string, pid int) error {
	for _, d := range t.dirs(path) {
		if err := write(d, "cgroup.procs", fmt.Sprint(pid)); err != nil {
			return fmt.Errorf("moving process %d: %w", pid, err)
		}
	}
	return nil
}

// NewGroup makes the group of a slot, and its realm's if it is the first there.
func (t *Tree) NewGroup(class Class, realm, slot string) (*Group, error) {
	if err := checkName("realm", realm); err != nil {
		return nil, err
	}
	if err := checkName("slot", slot); err != nil {
		return nil, err
	}
	up := t.top(class.branch()) + "/" + realm
	g := &Group{t: t, path: up + "/" + slot, realm: up, class: class, memory: Unlimited, pids: Unlimited}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, fmt.Errorf("cgroup: making %s: the tree is closed", g.path)
	}
	if dir, _ := t.dir("pids", g.path); exists(dir) {
		return nil, fmt.Errorf("cgroup: making %s: it exists", dir)
	}
	undo := cleanup.Make(func() { g.remove() })
	defer undo.Clean()
	if err := t.make(g.path); err != nil {
		return nil, err
	}
	if err := t.setPids(up, t.share(class)*3/4); err != nil {
		return nil, err
	}
	if class == LC {
		if err := errors.Join(t.setWeight(g.path, 0), t.setWeight(up, t.mcpu[up])); err != nil {
			return nil, err
		}
	}
	undo.Release()
	return g, nil
}

func exists(dir string) bool {
	_, err := os.Lstat(dir)
	return err == nil
}

// RealmCPU is the CPU time that a realm's slots used since the tree was opened.
func (t *Tree) RealmCPU(realm string) (time.Duration, error) {
	if err := checkName("realm", realm); err != nil {
		return 0, err
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	var sum time.Duration
	for _, c := range []Class{LC, BE} {
		path := t.top(c.branch()) + "/" + realm
		used, err := t.cpuTime(path)
		if err != nil && !vanished(err) {
			return 0, err
		}
		sum += used + t.spent[path]
	}
	return sum, nil
}

// ProcsCPU is the CPU time that all slots of the node have used.
func (t *Tree) ProcsCPU() time.Duration {
	var sum time.Duration
	for _, c := range []Class{LC, BE} {
		if used, err := t.cpuTime(t.top(c.branch())); err == nil { // else none has been made yet
			sum += used
		}
	}
	return sum
}

func (t *Tree) cpuTime(path string) (time.Duration, error) {
	if dir, v2 := t.dir("cpu", path); v2 {
		return used(dir, true)
	}
	dir, _ := t.dir("cpuacct", path)
	return used(dir, false)
}

// SetBEMemory bounds all best-effort procs of the node together, bytes; see
// Group.SetMemory.
func (t *Tree) SetBEMemory(bytes int64) error {
	t.beMu.Lock()
	defer t.beMu.Unlock()
	if t.beMem == bytes {
		return nil
	}
	if err := t.setMemory(t.top("be"), bytes); err != nil {
		return err
	}
	t.beMem = bytes
	return nil
}

// Close removes the node's groups and, where it is the last, the shared ones.
// Procs should have ended: whatever still runs in slots is killed. Processes in
// sys go back to where sigmad was started. A second call does nothing.
func (t *Tree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil
	}
	t.closed = true
	defer t.lock.Close()
	var errs []error
	for _, b := range []string{"lc", "be"} {
		for _, base := range t.l.bases() {
			dirs, err := t.l.nodeDirs(base, t.root, b, t.node)
			errs = append(errs, err)
			for _, d := range dirs {
				if pids := below(d); len(pids) > 0 {
					t.log.Warn("processes are left in a node's cgroup; killing them", "group", d, "pids", pids)
					errs = append(errs, killTree(d, nil))
				}
			}
		}
		errs = append(errs, t.l.removeNode(t.root, b, t.node))
	}
	for _, d := range t.l.bases() {
		errs = append(errs, t.l.moveOut(d, t.root, t.node))
	}
	errs = append(errs, t.l.removeNode(t.root, "sys", t.node), t.l.removeShared(t.root))
	return errors.Join(errs...)
}
