// Package child runs helper processes that belong to this one: each is told what
// to do as a line of JSON on its standard input, and ends when that does; so none
// outlives its parent, however that ends.
package child

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// Process is one that was started. Its owner calls End.
type Process struct {
	cmd  *exec.Cmd
	in   io.WriteCloser
	done chan struct{}
}

// patience is how long a process may take to end by itself.
const patience = 5 * time.Second

// Start starts cmd and tells it the settings. said is called with each line that it
// writes to its standard error, cut where it is very long; ended when it has
// ended, before Done is.
func Start(cmd *exec.Cmd, settings any, said func(line string), ended func()) (*Process, error) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // an interrupt at the terminal is its parent's
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		in.Close()
		return nil, err
	}
	cmd.Stderr = w
	err = cmd.Start()
	w.Close()
	if err != nil {
		in.Close()
		r.Close()
		return nil, err
	}
	p := &Process{cmd: cmd, in: in, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		heard := make(chan struct{})
		go func() { defer close(heard); lines(r, said) }()
		cmd.Wait()
		r.SetReadDeadline(time.Now().Add(time.Second)) // somebody else may have it too
		<-heard
		ended()
	}()
	if err := json.NewEncoder(in).Encode(settings); err != nil {
		p.End()
		return nil, fmt.Errorf("telling it what to do: %w", err)
	}
	return p, nil
}

func lines(r *os.File, said func(string)) {
	defer r.Close()
	in := bufio.NewReaderSize(r, 4096)
	for {
		line, _, err := in.ReadLine()
		if err != nil {
			return
		}
		said(string(line))
	}
}

// PID of the process.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed when it has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Ended says how it ended; ok is false while it runs.
func (p *Process) Ended() (how string, ok bool) {
	select {
	case <-p.done:
		return p.cmd.ProcessState.String(), true
	default:
		return "", false
	}
}

// Ask asks it to end, and does not wait.
func (p *Process) Ask() { p.in.Close() }

// End has it end, by force where it does not by itself, and waits.
func (p *Process) End() {
	p.Ask()
	select {
	case <-p.done:
	case <-time.After(patience):
		p.cmd.Process.Kill()
		<-p.done
	}
}
