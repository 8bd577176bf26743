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
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/internal/cleanup"
)

// realtime is the name of the group for threads of the real-time class, beside all roots,
// rtRuntime the file that says how much of a period they may run, and rtPart the part of
// each CPU that this is.
const (
	realtime  = "sigma.rt"
	rtRuntime = "cpu.rt_runtime_us"
	rtPart    = 0.9
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
// with the threads in it that are real-time just now: sigma.rt, of all roots. Their memory
// and processes are counted where they were. Other kernels need no such group.
type Realtime struct {
	t     *Tree
	dir   string     // empty where no group is needed
	locks []*os.File // on the root, and on what that is in: who holds one uses what is there
}

// ErrNoRealtime says that this machine gives no real-time CPU time to our groups.
var ErrNoRealtime = errors.New("no real-time CPU time for our groups")

// OpenRealtime makes room for real-time threads. The error is ErrNoRealtime where the
// kernel or the groups above do not allow that.
func (t *Tree) OpenRealtime() (_ *Realtime, err error) {
	base, _ := t.l.at("cpu")
	root := t.l.group(base, t.root, "")
	r := &Realtime{t: t}
	undo := cleanup.Make(func() { r.Close() })
	defer undo.Clean()
	for _, dir := range []string{root, base} {
		f, err := os.Open(dir)
		if err != nil {
			return nil, fmt.Errorf("cgroup: %w", err)
		}
		r.locks = append(r.locks, f)
		// Who tidies has it for a moment. Anybody on the machine could have it for long.
		for try := 0; ; try++ {
			if err = flock(f, unix.LOCK_SH|unix.LOCK_NB); err == nil {
				break
			}
			if try == probes {
				return nil, fmt.Errorf("%w: some process holds a lock on %s (fuser shows it), and must let go of it: %w", ErrNoRealtime, dir, err)
			}
			time.Sleep(time.Millisecond)
		}
	}
	if exists(filepath.Join(root, rtRuntime)) {
		if !t.l.flat(base) {
			return nil, fmt.Errorf("%w: cpuacct is mounted with cpu, and what a realm uses would be counted elsewhere", ErrNoRealtime)
		}
		r.dir = filepath.Join(base, realtime)
		if err := r.make(); err != nil {
			return nil, err
		}
	}
	undo.Release()
	return r, nil
}

// make makes the group.
func (r *Realtime) make() error {
	if err := r.t.l.mkdir(r.dir); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("cgroup: making %s: %w", r.dir, err)
	}
	const us = rtPart * rtPeriod
	if now, err := readInt(r.dir, rtRuntime); err == nil && now == us {
		return nil
	}
	err := write(r.dir, "cpu.rt_period_us", strconv.Itoa(rtPeriod))
	if err == nil {
		err = write(r.dir, rtRuntime, strconv.Itoa(us))
	}
	if errors.Is(err, syscall.EINVAL) || errors.Is(err, syscall.EPERM) {
		return fmt.Errorf("%w: %w (the group above must have as much in %s of its cpu.rt_period_us, and no other group below that may have it)", ErrNoRealtime, err, rtRuntime)
	}
	if err != nil {
		return err
	}
	// For threads that were started there and are not of that class.
	_, shares := weightFile(false, 1000*runtime.NumCPU())
	return write(r.dir, "cpu.shares", strconv.Itoa(shares))
}

// Close gives back what was made and limited, unless another node uses it.
func (r *Realtime) Close() {
	for _, f := range r.locks {
		flock(f, unix.LOCK_UN)
		f.Close()
	}
	r.t.TidyRealtime()
}

// TidyRealtime gives back what no node uses: a node may have been killed.
func (t *Tree) TidyRealtime() {
	base, _ := t.l.at("cpu")
	ifUnused(t.l.group(base, t.root, ""), t.unlimit)
	t.l.tidyRealtime()
}

// tidyRealtime removes the group where no node of the machine uses it.
func (l Layout) tidyRealtime() {
	base, _ := l.at("cpu")
	ifUnused(base, func() { l.rmdir(filepath.Join(base, realtime)) })
}

// ifUnused calls fn where nobody holds the lock on a directory.
func ifUnused(dir string, fn func()) {
	f, err := os.Open(dir)
	if err != nil {
		return
	}
	defer f.Close()
	if flock(f, unix.LOCK_EX|unix.LOCK_NB) == nil {
		fn()
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
	list, err := tids(r.home(r.t.top("sys")), false)
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

// Return moves a thread, which is not real-time any more, back to its slot's group. One
// that has ended is fine, and so is a group.
func (r *Realtime) Return(tid int, c Claim) error { return r.back(tid, c.Path) }

// ReturnSys moves it to sigmad's.
func (r *Realtime) ReturnSys(tid int) error { return r.back(tid, r.t.top("sys")) }

func (r *Realtime) back(tid int, path string) error {
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
