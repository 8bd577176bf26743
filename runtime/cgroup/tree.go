package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"sigmaos/internal/cleanup"
)

// Class is the branch a slot belongs to.
type Class int

const (
	BE Class = iota
	LC
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
	Root   string // directory below the layout's; default "sigma"
	Node   string
	Logger *slog.Logger
}

// Tree is one node's part of the machine's groups.
type Tree struct {
	cfg    Config
	mu     sync.Mutex
	mcpu   map[string]int // weight by group path, LC
	joined []int          // pids to move out again at Close
}

var nameRule = regexp.MustCompile(`^[a-z0-9-]{1,40}$`)

// Open makes the branches and the node's groups in them.
func Open(cfg Config) (*Tree, error) {
	if cfg.Root == "" {
		cfg.Root = "sigma"
	}
	for _, n := range []string{cfg.Root, cfg.Node} {
		if !nameRule.MatchString(n) {
			return nil, fmt.Errorf("cgroup: %q cannot name a group; use a-z, 0-9 and -", n)
		}
	}
	t := &Tree{cfg: cfg, mcpu: make(map[string]int)}
	for _, b := range []string{"sys", "lc", "be"} {
		if err := t.mkdir(b + "/" + cfg.Node); err != nil {
			t.Close()
			return nil, err
		}
	}
	if err := t.write("cpu", "be", "cpu.idle", "1"); err != nil {
		t.setWeight("be", 2)
	}
	return t, nil
}

// dirs are the directories of a group, one per hierarchy.
func (t *Tree) dirs(path string) map[string]string {
	out := make(map[string]string, len(t.cfg.Layout.Dirs))
	for c, d := range t.cfg.Layout.Dirs {
		out[c] = filepath.Join(d, t.cfg.Root, path)
	}
	return out
}

func (t *Tree) v2() bool { return t.cfg.Layout.Version == V2 }

// mkdir makes a group and those above it, controllers enabled.
func (t *Tree) mkdir(path string) error {
	for _, d := range t.dirs(path) {
		if err := os.MkdirAll(d, 0o755); err != nil {
			return fmt.Errorf("cgroup: %w", err)
		}
	}
	if !t.v2() {
		return nil
	}
	base := t.cfg.Layout.Dirs[""]
	above := base
	for _, p := range append([]string{t.cfg.Root}, strings.Split(path, "/")...) {
		err := os.WriteFile(filepath.Join(above, "cgroup.subtree_control"), []byte("+cpu +memory +pids"), 0o644)
		if err != nil {
			return fmt.Errorf("cgroup: enabling controllers in %s: %w", above, err)
		}
		above = filepath.Join(above, p)
	}
	return nil
}

// file is the path of a controller's file in a group.
func (t *Tree) file(controller, group, name string) string {
	if t.v2() {
		controller = ""
	}
	return filepath.Join(t.cfg.Layout.Dirs[controller], t.cfg.Root, group, name)
}

func (t *Tree) write(controller, group, name, value string) error {
	f, err := os.OpenFile(t.file(controller, group, name), os.O_WRONLY, 0)
	if err != nil {
		return fmt.Errorf("cgroup: %w", err)
	}
	defer f.Close()
	if _, err := f.WriteString(value); err != nil {
		return fmt.Errorf("cgroup: writing %s: %w", value, err)
	}
	return nil
}

func (t *Tree) read(controller, group, name string) (string, error) {
	b, err := os.ReadFile(t.file(controller, group, name))
	if err != nil {
		return "", fmt.Errorf("cgroup: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

func (t *Tree) readInt(controller, group, name string) (int64, error) {
	s, err := t.read(controller, group, name)
	if err != nil {
		return 0, err
	}
	return strconv.ParseInt(s, 10, 64)
}

// setWeight gives a group a share in proportion to mcpu.
func (t *Tree) setWeight(group string, mcpu int) error {
	if t.v2() {
		return t.write("cpu", group, "cpu.weight", strconv.Itoa(min(max(mcpu/10, 1), 10000)))
	}
	return t.write("cpu", group, "cpu.shares", strconv.Itoa(min(max(mcpu*1024/1000, 2), 262144)))
}

// add moves a process into a group of every hierarchy.
func (t *Tree) add(group string, pid int) error {
	for _, d := range t.dirs(group) {
		if err := os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("cgroup: moving process %d: %w", pid, err)
		}
	}
	return nil
}

// JoinSys moves sigmad or a helper of its into sys; Close moves it out again.
func (t *Tree) JoinSys(pid int) error {
	t.mu.Lock()
	t.joined = append(t.joined, pid)
	t.mu.Unlock()
	return t.add("sys/"+t.cfg.Node, pid)
}

// NewGroup makes the group of a slot.
func (t *Tree) NewGroup(class Class, realm, slot string) (*Group, error) {
	if !nameRule.MatchString(realm) || !nameRule.MatchString(slot) {
		return nil, fmt.Errorf("cgroup: %q/%q cannot name a group", realm, slot)
	}
	up := class.branch() + "/" + t.cfg.Node + "/" + realm
	g := &Group{t: t, path: up + "/" + slot, realm: up, class: class}
	undo := cleanup.Make(func() { g.Close() })
	defer undo.Clean()
	t.mu.Lock()
	err := t.mkdir(g.path)
	t.mu.Unlock()
	if err != nil {
		return nil, err
	}
	undo.Release()
	return g, nil
}

// RealmCPU is the CPU time a realm's slots used on this node since its first.
func (t *Tree) RealmCPU(realm string) (sum time.Duration, err error) {
	for _, b := range []string{"lc/", "be/"} {
		d, err := t.cpu(b + t.cfg.Node + "/" + realm)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return 0, err
		}
		sum += d
	}
	return sum, nil
}

func (t *Tree) cpu(group string) (time.Duration, error) {
	if !t.v2() {
		n, err := t.readInt("cpuacct", group, "cpuacct.usage")
		return time.Duration(n), err
	}
	s, err := t.read("", group, "cpu.stat")
	return time.Duration(field(s, "usage_usec")) * time.Microsecond, err
}

// field finds "name value" in a flat keyed file.
func field(s, name string) int64 {
	for _, line := range strings.Split(s, "\n") {
		if k, v, ok := strings.Cut(line, " "); ok && k == name {
			n, _ := strconv.ParseInt(strings.TrimSpace(v), 10, 64)
			return n
		}
	}
	return 0
}

// SetBEMemory bounds all best-effort procs of the node, bytes.
func (t *Tree) SetBEMemory(bytes int64) error {
	return t.setMemory("be/"+t.cfg.Node, bytes)
}

func (t *Tree) setMemory(group string, n int64) error {
	v := strconv.FormatInt(n, 10)
	if t.v2() {
		t.write("memory", group, "memory.swap.max", "0")
		return t.write("memory", group, "memory.max", v)
	}
	// memory.limit ≤ memsw.limit must hold at every moment.
	err := t.write("memory", group, "memory.limit_in_bytes", v)
	if errors.Is(err, syscall.EINVAL) {
		t.write("memory", group, "memory.memsw.limit_in_bytes", v)
		err = t.write("memory", group, "memory.limit_in_bytes", v)
	}
	if errors.Is(err, syscall.EBUSY) {
		t.write("memory", group, "memory.force_empty", "0")
		err = t.write("memory", group, "memory.limit_in_bytes", v)
	}
	return err
}

// Close removes the node's groups and, where it was the last, the shared ones.
func (t *Tree) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, pid := range t.joined {
		for _, d := range t.cfg.Layout.Dirs {
			os.WriteFile(filepath.Join(d, "cgroup.procs"), []byte(strconv.Itoa(pid)), 0o644)
		}
	}
	t.joined = nil
	return remove(t.cfg.Layout, t.cfg.Root, t.cfg.Node)
}

// Clean ends whatever is left in an earlier run's groups and removes them.
func Clean(l Layout, root, node string) error {
	if root == "" {
		root = "sigma"
	}
	for _, b := range []string{"lc", "be"} {
		for _, d := range l.Dirs {
			if err := killTree(filepath.Join(d, root, b, node)); err != nil {
				return err
			}
		}
	}
	return remove(l, root, node)
}

// Nodes lists the nodes that have groups.
func Nodes(l Layout, root string) ([]string, error) {
	seen := make(map[string]bool)
	var out []string
	for _, d := range l.Dirs {
		for _, b := range []string{"sys", "lc", "be"} {
			list, err := os.ReadDir(filepath.Join(d, root, b))
			if err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			for _, e := range list {
				if e.IsDir() && !seen[e.Name()] {
					seen[e.Name()] = true
					out = append(out, e.Name())
				}
			}
		}
	}
	return out, nil
}

func remove(l Layout, root, node string) error {
	var errs []error
	for _, d := range l.Dirs {
		for _, b := range []string{"sys", "lc", "be"} {
			errs = append(errs, rmTree(filepath.Join(d, root, b, node)))
			os.Remove(filepath.Join(d, root, b)) // fails while another node is there
		}
		os.Remove(filepath.Join(d, root))
	}
	return errors.Join(errs...)
}

// rmTree removes a group and those below it.
func rmTree(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if e.IsDir() {
			if err := rmTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return rmdir(dir)
}

// rmdir waits a little for processes that are dead and not yet reaped.
func rmdir(dir string) error {
	for wait := time.Millisecond; ; wait *= 2 {
		err := syscall.Rmdir(dir)
		if err == nil || err == syscall.ENOENT {
			return nil
		}
		if err != syscall.EBUSY || wait > time.Second {
			pids, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			return fmt.Errorf("cgroup: removing %s (processes %q): %w", dir, strings.Fields(string(pids)), err)
		}
		time.Sleep(wait)
	}
}

// killTree ends every process in a group and below.
func killTree(dir string) error {
	list, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, e := range list {
		if e.IsDir() {
			if err := killTree(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	for end := time.Now().Add(2 * time.Second); ; {
		b, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil || len(b) == 0 {
			return nil
		}
		for _, s := range strings.Fields(string(b)) {
			if pid, err := strconv.Atoi(s); err == nil && pid > 0 && pid != os.Getpid() {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		if time.Now().After(end) {
			return fmt.Errorf("cgroup: %s still has processes %q after SIGKILL", dir, strings.Fields(string(b)))
		}
		time.Sleep(5 * time.Millisecond)
	}
}
