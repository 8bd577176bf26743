// Package realtime lets latency-critical procs run at once while best-effort procs use up
// the machine.
//
// The kernel's ordinary scheduler does not: a thread that wakes up waits for the slice of
// another program to end, or for another latency-critical thread while a CPU beside it
// has best-effort procs alone, or, once its own slice has ended, for the next tick of
// 4 ms. Threads of the real-time class run before all of the ordinary one, and those that
// meet on one CPU are sent to another at once. But they run for as long as they like.
//
// So a [Keeper] makes latency-critical threads real-time for as long as two things hold:
//
//   - best-effort procs run. Without them there are CPUs free, or whoever else runs has as
//     good a claim; and changing between two real-time threads is dearer.
//   - their slot has used no more than it has reserved. Each has a bucket that is filled
//     at the rate of its reservation, and emptied as its CPU time goes. Whose bucket is
//     empty is ordinary, with the weight of his reservation, until it is half full.
//
// sigmad's own threads stay ordinary: as real-time ones they cost a job of many short
// procs a sixth of its time, in interrupts that send them to other CPUs. The thread that
// looks is above all, and looks every 10 ms at what was used. It shares the Go scheduler
// with sigmad's others: where procs spin on all CPUs, these are slow, and an empty bucket
// may be seen later, by as long as the rest of the machine has to wait for its part of the
// CPUs (below).
//
// A virtual machine may stand still as soon as it has used all that its host gives it in a
// time; so best-effort procs leave a little of it idle meanwhile (headroom.go).
//
// Where the kernel shares real-time CPU time out by groups, all of them together get at
// most nine tenths of each CPU in any 10 ms, so that the rest of the machine goes on
// whatever happens to the Keeper. Other kernels let the ordinary class have 5 % of each
// second (sched_rt_runtime_us, or its deadline server).
package realtime

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	goruntime "runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"sigmaos/runtime/cgroup"
	"sigmaos/runtime/threads"
)

const (
	every = 100 * time.Millisecond // between two looks at who is there
	tick  = 10 * time.Millisecond  // between two looks at what was used
	// busy is what best-effort procs use of one CPU if they are there, quiet for how
	// long they must not, to be gone.
	busy  = 0.02
	quiet = time.Second
	// share is the part of a CPU that looking at who is there may take: with very many
	// threads it looks less often, but once in a rest.
	share = 0.02
	rest  = time.Second
	// again is when to ask once more, and to look for what a node has left that was
	// killed.
	again = 5 * time.Second
)

// Priorities among real-time threads.
const (
	procPriority = 1 + iota
	keeperPriority
)

// Keeper keeps the latency-critical threads of a node real-time while that is right. Its
// owner closes it.
type Keeper struct {
	tree  *cgroup.Tree
	slice time.Duration // of latency-critical threads when they are ordinary
	log   *slog.Logger
	stop  context.CancelFunc
	wg    sync.WaitGroup

	self   int // the thread that looks
	room   *cgroup.Realtime
	spare  headroom
	later  time.Time // not to be asked for before
	tidied time.Time
	told   bool // that there is none
	slots  map[string]*claimant
	joined map[int]bool // threads of slots that have their CPU time as sigmad's

	be      time.Duration // used by best-effort procs
	beAt    time.Time
	until   time.Time // taken to be there
	used    time.Duration
	least   time.Duration // in any bucket when used was read
	checked time.Time
	next    time.Time // look at who is there
}

// claimant is a claim that was seen with best-effort procs about.
type claimant struct {
	cgroup.Claim
	bucket
	raised bool // its threads are real-time
}

// Start begins. Slice is what the threads of latency-critical procs have while they are
// ordinary (see slot.Slice).
func Start(tree *cgroup.Tree, slice time.Duration, log *slog.Logger) *Keeper {
	return keeper(tree, slice, log).start()
}

func keeper(tree *cgroup.Tree, slice time.Duration, log *slog.Logger) *Keeper {
	return &Keeper{
		tree: tree, slice: slice, log: log, spare: newHeadroom(tree),
		slots: make(map[string]*claimant), joined: make(map[int]bool),
	}
}

func (k *Keeper) start() *Keeper {
	ctx, stop := context.WithCancel(context.Background())
	k.stop = stop
	k.wg.Go(func() { k.run(ctx) })
	return k
}

// Close ends it; all threads are ordinary then.
func (k *Keeper) Close() {
	k.stop()
	k.wg.Wait()
}

func (k *Keeper) run(ctx context.Context) {
	goruntime.LockOSThread() // the thread ends with this goroutine, and its class with it
	k.self = unix.Gettid()
	defer k.release()
	timer := time.NewTimer(every)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if err := k.look(time.Now()); err != nil {
			k.log.Debug("realtime", "err", err)
		}
		if k.room != nil {
			timer.Reset(tick)
		} else {
			timer.Reset(every)
		}
	}
}

// look does what is due.
func (k *Keeper) look(now time.Time) error {
	if k.room != nil && now.Before(k.next) {
		used, slots, err := k.tree.Used()
		if err != nil {
			return err
		}
		err = k.spare.look(now, used, slots)
		if used-k.used >= k.least { // else nobody's bucket can be empty
			err = errors.Join(err, k.check(now, used))
		}
		return err
	}
	defer func() {
		took := time.Since(now)
		k.next = now.Add(took + max(every, min(rest, time.Duration(float64(took)/share))))
	}()
	if k.room == nil && now.Sub(k.tidied) > again {
		k.tidied = now
		k.tree.TidyRealtime()
	}
	claims := k.tree.Claims()
	if len(claims) == 0 {
		k.release()
		return nil
	}
	if err := k.watch(now); err != nil {
		return err
	}
	if now.After(k.until) {
		k.release()
		return nil
	}
	if k.room == nil {
		if err := k.open(now); err != nil || k.room == nil {
			return err
		}
	}
	err := k.adopt(claims)
	used, slots, e := k.tree.Used()
	if err = errors.Join(err, e); e == nil {
		err = errors.Join(err, k.check(now, used), k.spare.look(now, used, slots))
	}
	return errors.Join(err, k.raise())
}

// watch sees whether best-effort procs are there.
func (k *Keeper) watch(now time.Time) error {
	be, err := k.tree.BestEffortCPU()
	if err != nil {
		return err
	}
	if in := now.Sub(k.beAt); !k.beAt.IsZero() && float64(be-k.be) > busy*float64(in) {
		k.until = now.Add(quiet)
	}
	k.be, k.beAt = be, now
	return nil
}

// open asks for real-time CPU time, and puts this thread above the others.
func (k *Keeper) open(now time.Time) error {
	if now.Before(k.later) {
		return nil
	}
	room, err := k.tree.OpenRealtime()
	if err == nil {
		k.room, k.checked = room, now
		if err = k.promote(k.self, keeperPriority, false); err != nil {
			k.release()
		}
	}
	if errors.Is(err, unix.EPERM) {
		err = fmt.Errorf("this sigmad may not make threads real-time; it wants CAP_SYS_NICE, and real-time CPU time for its group where the kernel shares that out: %w", err)
	}
	if err != nil {
		k.later = now.Add(again)
	}
	if err != nil && !k.told {
		k.told = true
		k.log.Info("latency-critical procs are scheduled like other programs and may wait for them", "err", err)
	}
	return err
}

// adopt takes up the claims that are new, and drops those that are no more.
func (k *Keeper) adopt(claims []cgroup.Claim) error {
	var errs []error
	there := make(map[string]bool, len(claims))
	for _, c := range claims {
		there[c.Path] = true
		if s := k.slots[c.Path]; s != nil {
			s.Claim = c
			continue
		}
		if used, err := k.tree.CPU(c); err == nil { // else it has just gone
			s := &claimant{Claim: c}
			s.fill(c.MCPU, used)
			k.slots[c.Path] = s
		}
	}
	for path, s := range k.slots {
		if there[path] {
			continue
		}
		done, err := k.lower(s)
		if errs = append(errs, err); done {
			delete(k.slots, path)
		}
	}
	return errors.Join(errs...)
}

// check empties the buckets by what was used since, and makes the threads of those
// ordinary whose buckets are empty.
func (k *Keeper) check(now time.Time, used time.Duration) error {
	in := now.Sub(k.checked)
	k.used, k.checked, k.least = used, now, limit(1000)
	var errs []error
	for _, s := range k.slots {
		its, err := k.tree.CPU(s.Claim)
		if err != nil {
			continue // it has just gone
		}
		s.pass(s.MCPU, in, its)
		if s.raised && s.spent {
			_, err := k.lower(s)
			errs = append(errs, err)
		}
		if !s.spent {
			k.least = min(k.least, s.level)
		}
	}
	return errors.Join(errs...)
}

// release makes all threads ordinary and gives the time back.
func (k *Keeper) release() {
	if k.room == nil {
		return
	}
	for end := time.Now().Add(rest); ; time.Sleep(tick) {
		var errs []error
		for path, s := range k.slots {
			done, err := k.lower(s)
			if errs = append(errs, err); done {
				delete(k.slots, path)
			}
		}
		if len(k.slots) == 0 {
			break
		}
		if time.Now().After(end) {
			k.log.Warn("some threads of latency-critical procs cannot be made ordinary", "err", errors.Join(errs...))
			break
		}
	}
	if err := errors.Join(threads.Ordinary(k.self, 0), k.room.ReturnSys(k.self)); err != nil {
		k.log.Warn("realtime", "err", err)
	}
	clear(k.slots)
	clear(k.joined)
	k.spare.lift()
	k.room.Close() // and the limit with it
	k.room = nil
}
