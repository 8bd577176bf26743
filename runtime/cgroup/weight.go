package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// The largest weights that the kernel takes.
const (
	maxShares = 262144
	maxWeight = 10000
)

// weightFile names the file and puts mCPU on its scale. A group starts with
// 1024 shares or weight 100; both count as one CPU here.
func weightFile(v2 bool, mcpu int) (name string, weight int) {
	if v2 {
		return "cpu.weight", min(max((mcpu+5)/10, 1), maxWeight)
	}
	return "cpu.shares", min(max(mcpu*1024/1000, 2), maxShares)
}

// branchScale is what sys and lc weigh beside be, per unit of weightFile's scale.
// The idle class is no class of its own: be still weighs 3 shares, and as soon as
// it is behind its part it keeps a CPU for a whole slice, though latency-critical
// procs wait. At 3 to 2,048 that is some milliseconds each second. So the two
// weigh as much as the kernel takes for as many CPUs as there are, and one.
func branchScale(v2 bool) int {
	one, limit := 1024, maxShares
	if v2 {
		one, limit = 100, maxWeight
	}
	return max(1, limit/(one*(runtime.NumCPU()+1)))
}

// setWeight gives a group a share in proportion to mcpu; none to one that is not in the
// cpu controller's hierarchy.
func (t *Tree) setWeight(path string, mcpu int) error {
	dir, v2 := t.dir("cpu", path)
	if dir == "" {
		return nil
	}
	name, w := weightFile(v2, mcpu)
	return write(dir, name, strconv.Itoa(w))
}

// raiseSys makes the sys branch weigh one CPU on the scale of branches, or of slots,
// where those are what is beside it. All nodes, being of one version, write the same.
func (t *Tree) raiseSys() error {
	dir, v2 := t.dir("cpu", "sys")
	if base, _ := t.l.at("cpu"); t.l.flat(base) {
		return t.setWeight("sys", 1000)
	}
	name, w := weightFile(v2, 1000)
	return write(dir, name, strconv.Itoa(w*branchScale(v2)))
}

// setIdle makes the be branch run only when nothing else beside it wants to; where it
// is alone in its group, it has a thread that wakes up sent to a CPU on which nothing
// else runs (see Yield). It is set once the node's own group holds the branch in place.
func (t *Tree) setIdle() error {
	dir, _ := t.dir("cpu", "be")
	err := write(dir, "cpu.idle", "1")
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	t.log.Warn("the kernel has no idle class for cgroups (Linux 5.15); best-effort procs get the smallest weight instead")
	return t.setWeight("be", 0)
}

// reserve adds diff to an LC group and all above it. t.mu must be held.
func (t *Tree) reserve(path string, diff int) error {
	var errs []error
	for up := path; strings.Contains(up, "/"); up = filepath.Dir(up) {
		t.mcpu[up] += diff
		errs = append(errs, t.setWeight(up, t.mcpu[up]))
		if t.mcpu[up] == 0 {
			delete(t.mcpu, up)
		}
	}
	return errors.Join(append(errs, t.l.balance(t.root))...)
}

// balance makes the lc branch weigh what its nodes weigh together, on the scale of
// branches. They may be in different processes, so it is done under a lock on the
// branch. Where there is none, each slot weighs what it has reserved, whosever it is.
func (l Layout) balance(root string) error {
	base, v2 := l.at("cpu")
	lc := l.group(base, root, "lc")
	if lc == "" {
		return nil
	}
	d, err := lockDir(lc)
	if errors.Is(err, fs.ErrNotExist) {
		return nil // the last node has left
	}
	if err != nil {
		return err
	}
	defer d.Close()
	nodes, err := subdirs(lc)
	if err != nil && !vanished(err) {
		return err
	}
	name, sum := weightFile(v2, 0)
	for _, n := range nodes {
		if w, err := readInt(filepath.Join(lc, n), name); err == nil { // else it has just left
			sum += int(w)
		}
	}
	limit := maxShares
	if v2 {
		limit = maxWeight
	}
	if err := write(lc, name, strconv.Itoa(min(sum*branchScale(v2), limit))); err != nil && !vanished(err) {
		return err
	}
	return nil
}

// lockDir takes the lock on a group that several nodes write to; closing gives it back.
func lockDir(dir string) (*os.File, error) {
	d, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	if err := flock(d, unix.LOCK_EX); err != nil {
		d.Close()
		return nil, fmt.Errorf("cgroup: locking %s: %w", dir, err)
	}
	return d, nil
}

func flock(f *os.File, how int) error {
	for {
		if err := unix.Flock(int(f.Fd()), how); err != unix.EINTR {
			return err
		}
	}
}
