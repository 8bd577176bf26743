package slot

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"
)

// nowhere is a thread of sigmad in a network namespace of its own that has
// nothing in it and whose files under /proc/PID/net nobody but root can read.
// PID 1s are started from that thread, so that they and their procs are there
// too. A proc has no socket call; but subset=pid leaves /proc/self/net, and in
// the machine's own namespace that names every connection and Unix socket of
// the host. A namespace for each slot would cost milliseconds; one for all
// connects nothing, since nobody in it can make a socket.
type nowhere struct {
	jobs chan func()
	done chan struct{}
}

// enterNowhere starts the thread.
func enterNowhere() (*nowhere, error) {
	n := &nowhere{jobs: make(chan func()), done: make(chan struct{})}
	ready := make(chan error, 1)
	go n.run(ready)
	if err := <-ready; err != nil {
		return nil, fmt.Errorf("slot: making an empty network namespace: %w", err)
	}
	return n, nil
}

// run never unlocks its thread, which therefore ends with it. The main thread
// cannot end: while that is held, another goroutine gets another.
func (n *nowhere) run(ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == os.Getpid() {
		defer runtime.UnlockOSThread()
		inner := make(chan error, 1)
		go n.run(inner)
		ready <- <-inner
		return
	}
	defer close(n.done)
	err := unix.Unshare(unix.CLONE_NEWNET)
	if err == nil {
		err = hideNet("/proc/thread-self/net")
	}
	ready <- err
	if err != nil {
		return
	}
	for job := range n.jobs {
		job()
	}
}

// hideNet takes every right off the entries of this namespace's net directory;
// some of them (softnet_stat, protocols) count for the whole machine. What a
// kernel module adds later knows this namespace alone, and so nothing.
func hideNet(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Chmod(filepath.Join(dir, e.Name()), 0); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

// start is os.StartProcess in the namespace.
func (n *nowhere) start(path string, argv []string, attr *os.ProcAttr) (p *os.Process, err error) {
	finished := make(chan struct{})
	n.jobs <- func() {
		p, err = os.StartProcess(path, argv, attr)
		close(finished)
	}
	<-finished
	return p, err
}

// close ends the thread; nothing may be started after it.
func (n *nowhere) close() {
	close(n.jobs)
	<-n.done
}
