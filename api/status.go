package api

import "fmt"

// State is how a proc ended, or where it is before that.
type State string

const (
	Queued   State = "queued"
	Starting State = "starting" // has a slot, not yet Started
	Running  State = "running"  // said Started

	Exited  State = "exited"  // left by itself; Code, and what Exited reported
	Signal  State = "signal"  // ended by a signal that σOS did not send
	OOM     State = "oom"     // met its memory limit
	Evicted State = "evicted" // ended to make room for reserved memory
	Killed  State = "killed"  // somebody called Kill
	Lost    State = "lost"    // its node went silent; final
	Refused State = "refused" // could not be started
)

// Final reports whether the state is an end.
func (s State) Final() bool { return s != Queued && s != Starting && s != Running }

// Status is the one end of a proc.
type Status struct {
	State   State  `json:"state"`
	Code    int    `json:"code"`              // exit code; of Exited's report when there was one
	Signal  int    `json:"signal,omitempty"`  // number of the ending signal
	Message string `json:"message,omitempty"` // from Exited, or the reason of σOS
	Data    []byte `json:"data,omitempty"`    // from Exited, at most MaxData bytes
}

// OK reports an end by exit status 0.
func (s Status) OK() bool { return s.State == Exited && s.Code == 0 }

// ExitCode is what a shell would see: the code, 128+signal, or 1.
func (s Status) ExitCode() int {
	switch {
	case s.State == Exited:
		return s.Code
	case s.Signal != 0:
		return 128 + s.Signal
	}
	return 1
}

func (s Status) String() string {
	t := string(s.State)
	switch {
	case s.State == Exited:
		t = fmt.Sprintf("exited %d", s.Code)
	case s.Signal != 0:
		t = fmt.Sprintf("%s (signal %d)", s.State, s.Signal)
	}
	if s.Message != "" {
		t += ": " + s.Message
	}
	return t
}

// Stamps are moments of one start, in ns of CLOCK_MONOTONIC of the machine
// where they were taken; 0 means not reached.
type Stamps struct {
	Spawn   int64 `json:"spawn"`   // Spawn was read by its home
	Placed  int64 `json:"placed"`  // a node was chosen and has admitted it
	Slot    int64 `json:"slot"`    // handed to a slot
	Exec    int64 `json:"exec"`    // the slot's child is about to exec
	Started int64 `json:"started"` // the proc said Started
	Ended   int64 `json:"ended"`   // its status is final
}
