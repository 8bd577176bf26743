package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"sigmaos/internal/cleanup"
)

// realtime is the name of the group for threads of the real-time class, in the root, and
// rtRuntime the file that says how much of a period they may run.
const (
	realtime  = "rt"
	rtRuntime = "cpu.rt_runtime_us"
)

// rtPeriod is the time in which the kernel counts what real-time threads use, µs.
// Where they have used their part of it, they wait for its end: it is short, so that
// neither they nor the others wait long.
const rtPeriod = 10_000

// Realtime is where threads may be of the real-time class.
//
// A kernel that shares out real-time CPU time by groups (RT_GROUP_SCHED) has none for a
// group unless it is said how much, and groups side by side may not have more together
// than the one above. Slots cannot each have nearly all of every CPU, but one group can,
// with the threads in it that are real-time just now: <root>/rt, of all nodes below the
// root. Their memory and processes are counted where they were. Other kernels need no
// such group.
type Realtime struct {
	t    *Tree
	root string
	dir  string   // empty where no group is needed
	lock *os.File // on the root, shared with other nodes
}

// ErrNoRealtime says that this machine gives no real-time CPU time to our groups now.
var ErrNoRealtime = errors.New("no real-time CPU time for our groups")

// OpenRealtime makes room for real-time threads that use up to a part of each CPU. The
// error is ErrNoRealtime where the kernel or the groups above do not allow that; another
// root's part, which counts too, may be free later.
func (t *Tree) OpenRealtime(part float64) (_ *Realtime, err error) {
	base, _ := t.l.at("cpu")
	r := &Realtime{t: t, root: t.l.group(base, t.root, "")}
	if r.lock, err = os.Open(r.root); err != nil {
		return nil, fmt.Errorf("cgroup: %w", err)
	}
	undo := cleanup.Make(func() { r.Close() })
	defer undo.Clean()
	if err := flock(r.lock, unix.LOCK_SH); err != nil {
		return nil, fmt.Errorf("cgroup: locking %s: %w", r.root, err)
	}
	if exists(filepath.Join(r.root, rtRuntime)) {
		if !t.l.flat(base) {
			return nil, fmt.Errorf("%w: cpuacct is mounted with cpu, and what a realm uses would be counted elsewhere", ErrNoRealtime)
		}
		if err := r.make(part); err != nil {
			return nil, err
		}
	}
	undo.Release()
	return r, nil
}

// make makes the group.
func (r *Realtime) make(part float64) error {
	if err := giveRealtime(r.root, part); err != nil {
		return err
	}
	dir := filepath.Join(r.root, realtime)
	if err := r.t.l.mkdir(dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cgroup: making %s: %w", dir, err)
	}
	if err := giveRealtime(dir, part); err != nil {
		return err
	}
	r.dir = dir
	// For threads that were started there and are not of that class.
	_, shares := weightFile(false, 1000*runtime.NumCPU())
	return write(dir, "cpu.shares", strconv.Itoa(shares))
}

// giveRealtime lets a group have a part of each CPU for real-time threads.
func giveRealtime(dir string, part float64) error {
	us := int64(part * rtPeriod)
	if now, err := readInt(dir, rtRuntime); err == nil && now == us {
		return nil
	}
	err := write(dir, "cpu.rt_period_us", strconv.Itoa(rtPeriod))
	if err == nil {
		err = write(dir, rtRuntime, strconv.FormatInt(us, 10))
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w: %w (the group above must have as much in %s of its cpu.rt_period_us, and no other group below that may have it)", ErrNoRealtime, err, rtRuntime)
	}
	return err
}

// Close gives back what was made and limited, unless another node has threads there.
func (r *Realtime) Close() {
	defer r.lock.Close()
	flock(r.lock, unix.LOCK_UN)
	r.t.l.tidyRealtime(r.lock, r.t)
}

// TidyRealtime gives back what a node had made and limited that was killed.
func (t *Tree) TidyRealtime() {
	base, _ := t.l.at("cpu")
	if f, err := os.Open(t.l.group(base, t.root, "")); err == nil {
		defer f.Close()
		t.l.tidyRealtime(f, t)
	}
}

// tidyRealtime does it where no node holds the lock on the root.
func (l Layout) tidyRealtime(lock *os.File, t *Tree) {
	if flock(lock, unix.LOCK_EX|unix.LOCK_NB) != nil {
		return
	}
	t.LimitBestEffort(Unlimited)
	if l.rmdir(filepath.Join(lock.Name(), realtime)) == nil {
		write(lock.Name(), rtRuntime, "0")
	}
}

// Inside lists the threads in the group for them, of all nodes; nobody where there is
// none.
func (r *Realtime) Inside() (map[int]bool, error) {
	if r.dir == "" {
		return nil, nil
	}
	list, err := tids(r.dir, false)
	return set(list), err
}

// Joined lists the threads that have their CPU time as sigmad's (see View.JoinSys).
func (r *Realtime) Joined() (map[int]bool, error) {
	if r.dir == "" {
		return nil, nil
	}
	list, err := tids(r.home(r.t.Sys().Path), false)
	return set(list), err
}

func set(list []int) map[int]bool {
	out := make(map[int]bool, len(list))
	for _, n := range list {
		out[n] = true
	}
	return out
}

func (r *Realtime) home(path string) string {
	dir, _ := r.t.dir("cpu", path)
	return dir
}

// Take moves a thread there, before it becomes real-time. One that has ended is fine.
func (r *Realtime) Take(tid int) error { return moveThread(r.dir, tid) }

// Return moves a thread, which is not real-time any more, back to the group of a path.
// One that has ended is fine, and so is a group.
func (r *Realtime) Return(tid int, path string) error {
	if r.dir == "" {
		return nil
	}
	err := moveThread(r.home(path), tid)
	if err != nil && vanished(err) {
		return nil
	}
	return err
}

func moveThread(dir string, tid int) error {
	if dir == "" {
		return nil
	}
	if err := write(dir, "tasks", strconv.Itoa(tid)); err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("moving thread %d: %w", tid, err)
	}
	return nil
}
