package lab

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"syscall"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// Space is a network and the thread that is in it.
type Space struct {
	ns   netns.NsHandle // -1 for Here
	jobs chan func()
	done chan struct{} // closed when the thread has ended
}

// Here is a Space of this process's own network.
func Here() (*Space, error) { return start(false) }

// New makes a Space with an empty network; its loopback is up.
func New() (*Space, error) { return start(true) }

func start(own bool) (*Space, error) {
	s := &Space{ns: -1, jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go s.run(own, ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("lab: a network of its own: %w", err)
	}
	return s, nil
}

// run never unlocks its thread, which therefore ends with it. The main thread
// cannot end, and what is in /proc/self is its: while it is held here, another
// goroutine gets another.
func (s *Space) run(own bool, ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go s.run(own, inner)
		ready <- <-inner
		return
	}
	defer close(s.done)
	var err error
	if own {
		err = s.enter()
	}
	ready <- err
	if err != nil {
		return
	}
	for job := range s.jobs {
		job()
	}
}

// enter moves this thread into a new namespace.
func (s *Space) enter() error {
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	ns, err := netns.Get()
	if err != nil {
		return err
	}
	lo, err := netlink.LinkByName("lo")
	if err == nil {
		err = netlink.LinkSetUp(lo)
	}
	if err != nil {
		ns.Close()
		return err
	}
	s.ns = ns
	return nil
}

// Do runs fn on the Space's thread: sockets and devices that it makes are there.
func (s *Space) Do(fn func() error) (err error) {
	finished := make(chan struct{})
	s.jobs <- func() {
		defer close(finished)
		err = fn()
	}
	<-finished
	return err
}

// Start starts a process in the Space. When this program ends before it, by
// whatever cause, the process gets sig.
func (s *Space) Start(cmd *exec.Cmd, sig syscall.Signal) error {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Pdeathsig = sig
	cmd.SysProcAttr.Setpgid = true // an interrupt is for this program, which ends them in order
	return s.Do(cmd.Start)
}

// Disk mounts an empty disk of so many bytes, in memory, at a directory, where
// only this thread and the processes that it starts from now on see it: they have
// mounts of their own. It goes with the last of them, however they end, so that
// nobody has to unmount it.
func (s *Space) Disk(dir string, size int64) error {
	err := s.Do(func() error {
		if err := ownMounts(); err != nil {
			return err
		}
		return unix.Mount("disk", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=700", size))
	})
	if err != nil {
		return fmt.Errorf("lab: a disk at %s: %w", dir, err)
	}
	return nil
}

// ownMounts takes this thread out of everybody's mounts.
func ownMounts() error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return err
	}
	return unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
}

// Close ends the thread. Processes that still run in the Space get their
// signals.
func (s *Space) Close() {
	close(s.jobs)
	<-s.done
	if s.ns >= 0 {
		s.ns.Close()
	}
}
