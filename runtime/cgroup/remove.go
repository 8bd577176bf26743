package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// dying is how long killed processes may take to leave their group.
const dying = 2 * time.Second

// Roots lists the roots that are there, by their names and what is in them.
func Roots(l Layout) ([]string, error) {
	var out []string
	for _, base := range l.bases() {
		names, err := subdirs(base)
		if err != nil && !vanished(err) {
			return nil, err
		}
		for _, n := range names {
			if r, ok := strings.CutSuffix(n, beside); ok && rootRule.MatchString(r) {
				out = append(out, r)
			}
			if !rootRule.MatchString(n) {
				continue
			}
			if in, err := subdirs(filepath.Join(base, n)); err == nil && !slices.ContainsFunc(in, foreignName) {
				out = append(out, n)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// foreignName reports whether no group in a root has such a name.
func foreignName(name string) bool {
	return !slices.Contains(branches[:], name) && flatNode(name) == ""
}

// Nodes lists the nodes that have groups, dead or alive.
func Nodes(l Layout, root string) ([]string, error) {
	root, err := rootName(root)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, base := range l.bases() {
		for _, b := range branches {
			for _, dir := range l.places(base, root, b) {
				names, err := subdirs(dir)
				if err != nil && !vanished(err) {
					return nil, err
				}
				out = append(out, names...)
			}
		}
		slots, err := l.flatSlots(base, root)
		if err != nil {
			return nil, err
		}
		for _, s := range slots {
			out = append(out, flatNode(s))
		}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// Alive reports whether a node's tree is open in some process.
func Alive(l Layout, root, node string) (bool, error) {
	root, err := rootName(root)
	if err != nil {
		return false, err
	}
	f, err := l.lockNode(root, node)
	switch {
	case err == nil:
		return false, f.Close()
	case errors.Is(err, errAlive):
		return true, nil
	case vanished(err):
		return false, nil
	}
	return false, err
}

// Clean kills whatever a dead node left in its groups and removes them. The
// caller and its ancestors are moved out instead. A node that lives is an error.
func Clean(l Layout, root, node string) error {
	root, err := rootName(root)
	if err != nil {
		return err
	}
	if err := checkName("node", node); err != nil {
		return err
	}
	f, err := l.lockNode(root, node)
	if err != nil && !vanished(err) {
		return err
	}
	defer f.Close() // nil where there is no sys group; that is fine
	spare := lineage()
	var errs []error
	for _, b := range branches {
		for _, base := range l.bases() {
			dirs, err := l.nodeDirs(base, root, b, node)
			errs = append(errs, err)
			for _, dir := range dirs {
				for _, pid := range below(dir) {
					if slices.Contains(spare, pid) {
						errs = append(errs, write(l.ownDir(base), "cgroup.procs", strconv.Itoa(pid)))
					}
				}
				errs = append(errs, killTree(dir, spare))
			}
		}
		errs = append(errs, l.removeNode(root, b, node))
	}
	errs = append(errs, l.removeShared(root))
	return errors.Join(errs...)
}

// A Remain is what nobody uses of a root: the groups of a node that is dead or, where
// no node has any, the shared ones, of which Node is "".
type Remain struct {
	Root, Node string
	l          Layout
}

// Remains lists what is left in a root.
func Remains(l Layout, root string) ([]Remain, error) {
	root, err := rootName(root)
	if err != nil {
		return nil, err
	}
	nodes, err := Nodes(l, root)
	if err != nil {
		return nil, err
	}
	var out []Remain
	if len(nodes) == 0 && l.there(root) {
		out = append(out, Remain{root, "", l})
	}
	var errs []error
	for _, n := range nodes {
		if alive, err := Alive(l, root, n); err != nil {
			errs = append(errs, err)
		} else if !alive {
			out = append(out, Remain{root, n, l})
		}
	}
	return out, errors.Join(errs...)
}

// Clean kills what runs in a node's groups and removes them; of a root without nodes it
// removes what is empty.
func (r Remain) Clean() error {
	if r.Node != "" {
		return Clean(r.l, r.Root, r.Node)
	}
	if err := r.l.removeShared(r.Root); err != nil {
		return err
	}
	// A node may have come meanwhile.
	if nodes, err := Nodes(r.l, r.Root); err != nil || len(nodes) > 0 || !r.l.there(r.Root) {
		return err
	}
	return fmt.Errorf("cgroup: the root %s has no nodes and cannot be removed; processes or groups of something else are in %[1]s or %[1]s.be of some hierarchy (systemd-cgls shows them): end them and try again", r.Root)
}

// there reports whether a root has groups, in any hierarchy.
func (l Layout) there(root string) bool {
	return slices.ContainsFunc(l.bases(), func(base string) bool {
		return exists(filepath.Join(base, root)) || exists(filepath.Join(base, root+beside))
	})
}

// Sweep cleans the roots whose names begin with a prefix and of which gone says that
// nobody will build there any more. One in which a node lives is left alone.
func Sweep(l Layout, prefix string, gone func(root string) bool) error {
	roots, err := Roots(l)
	errs := []error{err}
	for _, root := range roots {
		if !strings.HasPrefix(root, prefix) || !gone(root) {
			continue
		}
		list, err := Remains(l, root)
		errs = append(errs, err)
		for _, r := range list {
			errs = append(errs, r.Clean())
		}
	}
	return errors.Join(errs...)
}

var errAlive = errors.New("a node of that name runs on this machine; stop it, or give this one a --name of its own")

// lockNode takes the lock that says that the node is alive; closing gives it
// back. Without a sys group the error is fs.ErrNotExist.
func (l Layout) lockNode(root, node string) (*os.File, error) {
	base, _ := l.at("cpu")
	f, err := os.Open(filepath.Join(base, root, "sys", node))
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	if err := flock(f, unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if err == unix.EWOULDBLOCK {
			err = errAlive
		}
		return nil, fmt.Errorf("cgroup: locking %s: %w", f.Name(), err)
	}
	return f, nil
}

// lineage is this process and its ancestors.
func lineage() (out []int) {
	for pid := os.Getpid(); pid > 0; pid = parent(pid) {
		out = append(out, pid)
	}
	return out
}

// moveOut empties a node's sys group in one hierarchy into the group where
// sigmad was started.
func (l Layout) moveOut(base, root, node string) error {
	dir, to := filepath.Join(base, root, "sys", node), l.ownDir(base)
	if to == l.Dirs[""] {
		// No group may hold processes while its children have controllers.
		if others, err := Nodes(l, root); err == nil && (len(others) == 0 || slices.Equal(others, []string{node})) {
			l.disable(root)
		}
	}
	var last error
	for range attempts { // they may fork meanwhile
		pids, err := procs(dir)
		if err != nil {
			if vanished(err) {
				err = nil
			}
			return err
		}
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := write(to, "cgroup.procs", strconv.Itoa(pid)); err != nil && !errors.Is(err, syscall.ESRCH) {
				last = fmt.Errorf("moving process %d out of %s: %w", pid, dir, err)
			}
		}
	}
	return last
}

// disable takes the controllers of v2 back when no other node needs them.
func (l Layout) disable(root string) {
	base := l.Dirs[""]
	for _, d := range []string{"sys", "lc", "be", "", ".."} {
		for _, c := range l.v2Controllers() {
			write(filepath.Join(base, root, d), "cgroup.subtree_control", "-"+c)
		}
	}
}

// nodeDirs are the directories that have a node's groups of one branch in the hierarchy
// of base. Not all of them need be there.
func (l Layout) nodeDirs(base, root, branch, node string) ([]string, error) {
	out := l.places(base, root, branch+"/"+node)
	if branch != "lc" {
		return out, nil
	}
	slots, err := l.flatSlots(base, root)
	for _, s := range slots {
		if flatNode(s) == node {
			out = append(out, filepath.Join(base, root, s))
		}
	}
	return out, err
}

// removeNode removes a node's groups in one branch.
func (l Layout) removeNode(root, branch, node string) error {
	var errs []error
	for _, base := range l.bases() {
		dirs, err := l.nodeDirs(base, root, branch, node)
		errs = append(errs, err)
		for _, dir := range dirs {
			errs = append(errs, l.rmTree(dir))
		}
	}
	return errors.Join(errs...)
}

// removeShared removes the branches and the root unless another node is there,
// whose share of the CPU is then set anew.
func (l Layout) removeShared(root string) error {
	for _, base := range l.bases() {
		for _, b := range branches {
			for _, dir := range l.places(base, root, b) {
				l.rmdir(dir)
			}
		}
		l.rmdir(filepath.Join(base, root+beside))
		l.rmdir(l.group(base, root, ""))
	}
	l.tidyRealtime()
	return l.balance(root)
}

// rmTree removes a group and those below it.
func (l Layout) rmTree(dir string) error {
	names, err := subdirs(dir)
	if vanished(err) {
		return nil
	}
	errs := []error{err}
	for _, n := range names {
		errs = append(errs, l.rmTree(filepath.Join(dir, n)))
	}
	return errors.Join(append(errs, l.rmdirWait(dir))...)
}

// rmdirWait removes a group, waiting a little for processes that are dying.
func (l Layout) rmdirWait(dir string) error {
	end := time.Now().Add(dying)
	for wait := time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := l.rmdir(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, syscall.EBUSY) || time.Now().After(end) {
			return fmt.Errorf("cgroup: removing %s, which holds processes %v: %w", dir, below(dir), err)
		}
		time.Sleep(wait)
	}
}

// below are the processes in a group and in those below it.
func below(dir string) []int {
	out, _ := procs(dir)
	names, _ := subdirs(dir)
	for _, n := range names {
		out = append(out, below(filepath.Join(dir, n))...)
	}
	return out
}

// killTree ends every process in a group and below, but for those to spare, and
// waits until they have left.
func killTree(dir string, spare []int) error {
	spared := func(pid int) bool { return slices.Contains(spare, pid) }
	end := time.Now().Add(dying)
	for wait := time.Millisecond; ; wait = min(2*wait, 20*time.Millisecond) {
		pids := slices.DeleteFunc(below(dir), spared)
		if len(pids) == 0 {
			return nil
		}
		if time.Now().After(end) {
			return fmt.Errorf("cgroup: killing %s: processes %v are still there after %v", dir, pids, dying)
		}
		// cgroup.kill is v2's (Linux 5.14) and leaves no chance to fork. One that
		// is to be spared has been moved out, unless that failed.
		if slices.ContainsFunc(below(dir), spared) || write(dir, "cgroup.kill", "1") != nil {
			for _, pid := range pids {
				syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		time.Sleep(wait)
	}
}
